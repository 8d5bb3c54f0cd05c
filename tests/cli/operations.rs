//! What `docs/operations.md` says, done as it says it.

use crate::bookkeeping::repository_file;
use crate::support::{Database, Fate, MailServer, Manners, Sandbox};

/// The blocks of SQL of the page.
fn blocks() -> Vec<String> {
    let page = repository_file("docs/operations.md");
    let blocks = page.split("```sql\n").skip(1);
    blocks.map(|rest| rest.split_once("```").unwrap().0.to_owned()).collect()
}

/// The roles of the page suffice for what it says, and for no more.
#[test]
fn the_roles_of_the_page_suffice_and_can_do_no_more() {
    if !Database::Postgres.is_available() {
        return;
    }
    let sandbox = Sandbox::without_schema(Database::Postgres);
    let database = sandbox.scalar("SELECT current_database()");
    // Roles belong to the whole server, which other tests use too.
    let own = |text: &str| {
        ["batchctl_owner", "shop_app", "batchctl"].iter().fold(text.to_owned(), |text, role| {
            let renamed = format!("{}_{database}", role.replace("batchctl", "runs"));
            text.replace(&format!("{role} "), &format!("{renamed} "))
                .replace(&format!("{role},"), &format!("{renamed},"))
                .replace(&format!("{role};"), &format!("{renamed};"))
        })
    };
    let own = |text: &str| own(text).replace("DATABASE shop ", &format!("DATABASE {database} "));
    let [roles, rights, application, _] = <[String; 4]>::try_from(blocks()).unwrap();
    for statement in roles.lines().filter(|line| line.starts_with("CREATE ROLE")) {
        sandbox.execute(&own(statement));
    }
    let [owner, runs, app] = ["batchctl_owner", "batchctl", "shop_app"]
        .map(|role| own(&format!("{role};")).trim_end_matches(';').to_owned());
    sandbox.execute(&format!("ALTER DATABASE {database} OWNER TO {owner}"));
    let url = |role: &str, password: &str| {
        let mut url = url::Url::parse(sandbox.database_url()).unwrap();
        url.set_username(role).unwrap();
        url.set_password(Some(password)).unwrap();
        url.to_string()
    };
    let as_role = |role: &str, text: &str| {
        let statements = own(text);
        sandbox.execute(&format!("SET ROLE {role}; {statements}; RESET ROLE"));
    };
    as_role(&owner, &rights);
    sandbox
        .batchctl(["db", "migrate"])
        .env("BATCHCTL_DATABASE_URL", url(&owner, "change-me-1"))
        .run()
        .succeeds();
    as_role(&owner, &application);

    let command = |words: &[&str]| {
        sandbox
            .batchctl(words.iter().copied())
            .env("BATCHCTL_DATABASE_URL", url(&runs, "change-me-2"))
            .env("BATCHCTL_MAIL_FROM", "shop@example.jp")
            .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
    };
    command(&["demo"]).run().succeeds();
    as_role(
        &app,
        "INSERT INTO mails (kind, recipient, subject, text_body, dedup_key, due_at, queued_at)
         VALUES ('order', 'hanako@example.jp', 'Thank you', 'text', 'order.1', '2026-11-19T10:00:00Z', '2026-11-19T10:00:00Z')
         RETURNING id;
         INSERT INTO mail_suppressions (address, scope, reason, created_at)
         VALUES ('taro@example.jp', 'MARKETING', 'UNSUBSCRIBE', '2026-11-19T10:00:00Z') ON CONFLICT DO NOTHING;
         INSERT INTO batch_retry_request (execution_id, reason, requested_by, requested_at)
         VALUES (1, 'again', 'admin', '2026-11-19T10:00:00Z');
         INSERT INTO mail_attachments (mail_id, name, content_type, content) VALUES (1, 'a.txt', 'text/plain', 'x')",
    );
    let page = repository_file("docs/mail.md");
    let upsert = page.find("INSERT INTO mail_consents").map(|start| &page[start..]).unwrap();
    let upsert = upsert.split_once("```").unwrap().0.trim_end().trim_end_matches(';');
    for _ in 0..2 {
        as_role(&app, upsert);
    }
    for job in [
        &["report", "daily-cancellations"] as &[&str],
        &["report", "weekly-signups"],
        &["stats", "refresh"],
        &["report", "executive"],
        &["mail", "payment-notice"],
        &["mail", "flush"],
        &["mail", "purge"],
        &["runs", "process-requests"],
        &["runs", "purge"],
    ] {
        command(job).run().succeeds();
    }
    command(&["db", "check"]).run().succeeds().prints("may not migrate: that is for the tables' owner");
    assert_eq!(sandbox.scalar("SELECT status FROM mails"), "SENT");
    assert_eq!(
        sandbox.scalar("SELECT COUNT(*) FROM batch_retry_request WHERE processed_at IS NOT NULL"),
        "1"
    );
    for (role, refused) in [
        (&runs, "CREATE TABLE public.mine (id BIGINT)"),
        (&runs, "DROP TABLE orders"),
        (&app, "SELECT recipient FROM mails"),
        (&app, "UPDATE mails SET status = 'SENT'"),
        (&app, "DELETE FROM orders"),
        (&app, "SELECT COUNT(*) FROM daily_sales"),
    ] {
        let error = sandbox.refuses(&format!("SET ROLE {role}; {refused}"));
        assert!(error.contains("permission denied") || error.contains("must be owner"), "{refused}: {error}");
    }
    sandbox.execute(&own("REVOKE TEMPORARY ON DATABASE shop FROM batchctl;"));
    command(&["db", "check"]).run().exits(78).prints("GRANT TEMPORARY ON DATABASE to this user");
    for role in [&runs, &app, &owner] {
        sandbox.execute(&format!(
            "REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}"
        ));
    }
}

/// A role of an application that changes orders, in a session of its own.
struct OrderingApplication<'s> {
    sandbox: &'s Sandbox,
    role: String,
}

impl<'s> OrderingApplication<'s> {
    fn new(sandbox: &'s Sandbox) -> Self {
        let database = sandbox.scalar("SELECT current_database()");
        let role = format!("ordering_{database}");
        sandbox.execute(&format!(
            "CREATE ROLE {role}; GRANT TEMPORARY ON DATABASE {database} TO {role}; GRANT USAGE ON SCHEMA public TO {role};
             GRANT SELECT, INSERT, UPDATE ON orders TO {role}"
        ));
        Self { sandbox, role }
    }

    fn does(&self, sql: &str) {
        self.sandbox.execute(&format!("SET ROLE {}; {sql}; RESET ROLE", self.role));
    }

    fn may_not(&self, sql: &str) -> String {
        self.sandbox.refuses(&format!("SET ROLE {}; {sql}", self.role))
    }
}

impl Drop for OrderingApplication<'_> {
    fn drop(&mut self) {
        self.sandbox.execute(&format!("RESET ROLE; DROP OWNED BY {0} CASCADE; DROP ROLE {0}", self.role));
    }
}

/// The triggers of its tables run as their owner, and nothing that belongs to an application may run with them.
#[test]
fn an_application_that_changes_orders_runs_nothing_as_their_owner() {
    if !Database::Postgres.is_available() {
        return;
    }
    let sandbox = Sandbox::of_environment(Database::Postgres, "dev");
    let at = "'2026-11-19T10:00:00Z'";
    sandbox.execute(&format!(
        "INSERT INTO malls (id, code, name, platform, time_zone, currency, is_active, created_at, updated_at)
         VALUES (1, 'tokyo', 'tokyo', 'file', 'Asia/Tokyo', 'JPY', TRUE, {at}, {at});
         INSERT INTO orders (id, mall_id, order_no, status, currency, total_amount, discount_amount, shipping_amount,
             tax_amount, ordered_at, paid_at, created_at, updated_at)
         VALUES (1, 1, '1', 'PAID', 'JPY', 1, 0, 0, 0, {at}, {at}, {at}, {at});
         DELETE FROM sales_changes"
    ));
    let application = OrderingApplication::new(&sandbox);
    // Tables of the names that the triggers use, with a trigger that tells who runs it.
    application.does(
        "CREATE TEMPORARY TABLE ran_as (name TEXT);
         GRANT ALL ON pg_temp.ran_as TO PUBLIC;
         CREATE TEMPORARY TABLE sales_changes (mall_id BIGINT, subject TEXT, changed_hour TIMESTAMPTZ);
         GRANT ALL ON pg_temp.sales_changes TO PUBLIC;
         CREATE TEMPORARY TABLE refunds (mall_id BIGINT, order_id BIGINT, refunded_at TIMESTAMPTZ);
         GRANT ALL ON pg_temp.refunds TO PUBLIC;
         CREATE FUNCTION pg_temp.tell() RETURNS TRIGGER LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO pg_temp.ran_as VALUES (current_user); RETURN NEW; END $$;
         CREATE TRIGGER tell BEFORE INSERT ON pg_temp.sales_changes FOR EACH ROW EXECUTE FUNCTION pg_temp.tell();
         UPDATE public.orders SET total_amount = 2, payment_method = 'card'",
    );
    assert_eq!(sandbox.sql("SELECT name FROM pg_temp.ran_as"), Vec::<Vec<String>>::new());
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM public.sales_changes"), "1");
    // A table of its own, whose types have casts of its own.
    let refused = application.may_not(
        "CREATE TEMPORARY TABLE mine (mall_id BIGINT, refunded_at TIMESTAMPTZ);
         CREATE TRIGGER noted AFTER INSERT ON mine REFERENCING NEW TABLE AS noted FOR EACH STATEMENT
             EXECUTE FUNCTION public.note_refunds()",
    );
    assert!(refused.contains("permission denied for function"), "{refused}");
    let open = sandbox.sql(
        "SELECT p.proname FROM pg_proc p WHERE p.prosecdef AND p.pronamespace = CAST('public' AS regnamespace)
             AND (has_function_privilege('public', p.oid, 'EXECUTE')
                  OR NOT p.proconfig @> ARRAY['search_path=pg_catalog, public, pg_temp'])",
    );
    assert_eq!(open, Vec::<Vec<String>>::new());
}

/// Without its environment a command would answer from a development database, and an empty one looks like a quiet one.
#[test]
fn every_command_of_the_page_names_its_environment() {
    let page = repository_file("docs/operations.md").split_whitespace().collect::<Vec<_>>().join(" ");
    // Those that follow a backquote or stand in a block; the others are the program's name.
    let commands: Vec<&str> = page.split("batchctl ").skip(1).collect();
    let groups = ["mail ", "report ", "runs ", "db ", "config ", "schedule ", "alerts ", "mall ", "data "];
    let bare: Vec<&&str> =
        commands.iter().filter(|rest| groups.iter().any(|group| rest.starts_with(group))).collect();
    assert!(commands.iter().filter(|rest| rest.starts_with("--env prod ")).count() >= 12, "{commands:?}");
    assert!(bare.is_empty(), "{bare:?}");
}

/// Mails of a restored database may have been sent since.
#[test]
fn what_a_restored_database_would_send_again_waits_for_a_person() {
    for database in [Database::Sqlite, Database::Postgres] {
        if !database.is_available() {
            continue;
        }
        let sandbox = Sandbox::of_environment(database, "dev");
        let at = "2026-11-19T10:00:00+00:00";
        for (number, status) in [(1, "QUEUED"), (2, "SENDING"), (3, "SENT")] {
            sandbox.execute(&format!(
                "INSERT INTO mails (kind, recipient, subject, text_body, status, due_at, queued_at)
                 VALUES ('order', 'm{number}@example.jp', 's', 't', '{status}', '{at}', '{at}')"
            ));
        }
        sandbox.execute(blocks().last().unwrap().trim_end().trim_end_matches(';'));
        let server = MailServer::start(Manners::default());
        server.fate("m1@example.jp", [Fate::Accept]);
        let command = |words: &[&str]| {
            sandbox
                .batchctl(words.iter().copied())
                .env("BATCHCTL_SMTP_URL", format!("smtp://{}", server.address()))
                .env("BATCHCTL_MAIL_FROM", "shop@example.jp")
                .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
        };
        command(&["mail", "flush"]).run().succeeds();
        assert_eq!(server.count_taken(), 0);
        let held = command(&["mail", "list", "--held"]).run().succeeds().stdout;
        assert!(held.matches("UNKNOWN").count() == 2 && !held.contains("SENT"), "{held}");
        command(&["mail", "requeue", "1"]).run().succeeds();
        command(&["mail", "cancel", "2"]).run().succeeds();
        command(&["mail", "flush"]).run().succeeds();
        assert_eq!(server.count_taken(), 1);
        assert_eq!(
            sandbox.sql("SELECT status FROM mails WHERE id <= 2 ORDER BY id").concat(),
            ["SENT", "CANCELLED"]
        );
    }
}
