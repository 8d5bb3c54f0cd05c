//! Incidents at night, and a stranger who has only what cron mailed: it says what failed, on what, why, whose move it is
//! and what is stored; and whoever does literally what its lines say, from another folder, has repaired it.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::mall_sync::order;
use crate::support::{
    Batchctl, Cafe24, Customers, Database, MailServer, Manners, Order, Ran, Sandbox, Shop, eventually,
    on_both_databases, run_on,
};

on_both_databases![
    a_wrong_password,
    a_database_that_does_not_answer,
    a_database_of_another_environment,
    a_misspelt_environment,
    a_wrong_key_in_the_configuration,
    a_variable_that_makes_no_sense,
    a_mall_whose_time_zone_does_not_exist,
    an_amount_with_thousands_separators,
    an_amount_in_full_width_digits,
    an_amount_that_is_none,
    a_file_without_a_column,
    a_file_that_is_not_there,
    a_file_with_another_delimiter,
    a_file_in_another_encoding,
    a_file_in_another_encoding_than_the_one_that_was_given,
    a_file_of_a_day_on_which_nothing_happened,
    a_file_that_does_not_name_its_mall,
    a_mall_that_is_not_known,
    a_shop_that_does_not_answer,
    a_shop_whose_owner_has_to_authorise_the_app,
    a_missing_secret_key,
    a_mail_server_that_refuses_the_password,
    a_missing_address_for_developers,
    a_missing_folder_of_templates,
    a_misspelt_variable_in_a_template,
    a_deadline_that_was_too_short,
    a_run_that_another_one_keeps_waiting,
];

const REPORT: [&str; 4] = ["report", "daily-sales", "--date", "2026-11-19"];

/// The night's environment: cron's, and that of the stranger who types.
struct Night<'a> {
    sandbox: &'a Sandbox,
    variables: Vec<(&'static str, String)>,
    unset: Vec<&'static str>,
}

impl<'a> Night<'a> {
    fn of(sandbox: &'a Sandbox) -> Self {
        Self { sandbox, variables: Vec::new(), unset: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// The variable is set in a file, if at all.
    fn without(mut self, name: &'static str) -> Self {
        self.unset.push(name);
        self
    }

    fn dressed(&self, command: Batchctl) -> Batchctl {
        let command = self.unset.iter().fold(command, |command, name| command.unset(name));
        self.variables.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    /// Cron starts a command, which fails with this code.
    #[track_caller]
    fn fails<A: AsRef<str>>(&'a self, code: i32, words: impl IntoIterator<Item = A>) -> Mail<'a> {
        let ran = self.dressed(self.sandbox.batchctl(words)).run().exits(code);
        Mail { night: self, text: ran.stderr }
    }

    /// The stranger types a line in another folder.
    #[track_caller]
    fn types(&self, line: &str) -> Ran {
        self.dressed(self.sandbox.typed_elsewhere(line)).run()
    }
}

/// What cron mailed.
struct Mail<'a> {
    night: &'a Night<'a>,
    text: String,
}

impl Mail<'_> {
    #[track_caller]
    fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.text.contains(text), "no `{text}` in\n{}", self.text);
        }
        assert!(self.text.lines().count() <= 20, "{}", self.text);
        self
    }

    #[track_caller]
    fn never_says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(!self.text.contains(text), "`{text}` in\n{}", self.text);
        }
        self
    }

    /// The line with this label.
    #[track_caller]
    fn line(&self, label: &str) -> &str {
        let mut lines = self.text.lines().filter_map(|line| line.trim_start().strip_prefix(label));
        let line = lines.next().unwrap_or_else(|| panic!("no line `{label}` in\n{}", self.text));
        assert_eq!(lines.next(), None, "one line is to be typed:\n{}", self.text);
        line.trim()
    }

    /// Types the command of `retry:`, comment and all.
    #[track_caller]
    fn retry(&self) -> Ran {
        self.night.types(self.line("retry:"))
    }

    /// Types the only command of the hint.
    #[track_caller]
    fn follow(&self) -> Ran {
        let hint = self.line("hint:");
        let from = hint.find("cd ").unwrap_or_else(|| panic!("no command in `{hint}`"));
        let command = hint[from..].split(['`', ';']).next().unwrap_or_default();
        self.night.types(command)
    }

    /// What the mail says between two texts.
    #[track_caller]
    fn between(&self, before: &str, after: &str) -> &str {
        let rest = self.text.split_once(before).map(|(_, rest)| rest);
        let found = rest.and_then(|rest| rest.split_once(after)).map(|(found, _)| found);
        found.unwrap_or_else(|| panic!("nothing between `{before}` and `{after}` in\n{}", self.text))
    }

    /// The path that the mail says between two texts: who reads it is in another folder.
    #[track_caller]
    fn path_between(&self, before: &str, after: &str) -> PathBuf {
        let path = Path::new(self.between(before, after));
        assert!(path.is_absolute(), "from which folder is {}?\n{}", path.display(), self.text);
        path.to_owned()
    }

    /// The file and the line that the mail says between two texts: `/srv/shop/.env.dev line 2`.
    #[track_caller]
    fn place_between(&self, before: &str, after: &str) -> (PathBuf, usize) {
        let place = self.between(before, after);
        let (_, line) = place.rsplit_once(" line ").unwrap_or_else(|| panic!("no line: {place}"));
        let file = self.path_between(before, &format!(" line {line}{after}"));
        (file, line.parse().expect("a number"))
    }

    /// The file and the line behind a variable: `NAME (/srv/shop/.env.dev line 2)`.
    #[track_caller]
    fn place_of(&self, name: &str) -> (PathBuf, usize) {
        self.place_between(&format!("{name} ("), ")")
    }

    /// Gives the variable another value, in the file and line that the mail names.
    #[track_caller]
    fn correct(&self, name: &str, value: &str) {
        correct_line(&self.place_of(name), &format!("{name}="), &format!("{name}='{value}'"));
    }
}

/// Writes a line of a file anew, which began like this; the others stay.
#[track_caller]
fn correct_line((file, line): &(PathBuf, usize), beginning: &str, corrected: &str) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut lines: Vec<&str> = text.lines().collect();
    assert!(lines[line - 1].starts_with(beginning), "{lines:?}");
    lines[line - 1] = corrected;
    std::fs::write(file, lines.join("\n") + "\n").unwrap();
}

/// Adds a line to a file, which need not be there yet.
#[track_caller]
fn add_line(file: &Path, line: &str) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    std::fs::write(file, format!("{text}{line}\n")).unwrap();
}

/// A mall with an order of the day.
fn tokyo(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let paid_at = "2026-11-19T03:00:00+00:00";
    let _ = shop.order(Order { mall, order_no: "A1", paid_at: Some(paid_at), ..Order::default() });
}

#[track_caller]
fn assert_reported(shop: &Sandbox) {
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM daily_sales WHERE orders = 1"), "1");
}

// ---------------------------------------------------------------- before a run

fn a_wrong_password(shop: &Shop) {
    tokyo(shop);
    let right = shop.database_url().to_owned();
    let wrong = shop.refused_database_url();
    shop.write(".env.dev", format!("# the shop's\nBATCHCTL_DATABASE_URL='{wrong}'\n"));
    let night = Night::of(shop).without("BATCHCTL_DATABASE_URL");
    let mail = night
        .fails(78, REPORT)
        .says(&[
            "report daily-sales did not start (exit 78): failed to connect to ",
            "data:  nothing was changed",
        ])
        .never_says(&["hunter2"]);
    mail.correct("BATCHCTL_DATABASE_URL", &right);
    mail.retry().succeeds();
    assert_reported(shop);
}

fn a_database_that_does_not_answer(shop: &Shop) {
    tokyo(shop);
    shop.write(".env.dev", "BATCHCTL_DATABASE_URL=postgres://shop:hunter2@127.0.0.1:1/shop\n");
    let night = Night::of(shop).without("BATCHCTL_DATABASE_URL");
    let mail = night
        .fails(75, REPORT)
        .says(&[
            "did not start (exit 75)",
            "PostgreSQL at `127.0.0.1:1/shop`",
            "wait until it is back",
            "# once the database answers",
        ])
        .never_says(&["hunter2"]);
    mail.correct("BATCHCTL_DATABASE_URL", shop.database_url());
    mail.retry().succeeds();
    assert_reported(shop);
}

fn a_database_of_another_environment(shop: &Shop) {
    tokyo(shop);
    shop.write(".env.staging", format!("BATCHCTL_DATABASE_URL='{}'\n", shop.database_url()));
    let night = Night::of(shop).without("BATCHCTL_DATABASE_URL").with("BATCHCTL_ENV", "staging");
    let mail = night
        .fails(77, REPORT)
        .says(&["is the database of `dev`", "runs in `staging` (from BATCHCTL_ENV)", "nothing was changed"])
        .never_says(&["--env dev"]);
    mail.correct("BATCHCTL_DATABASE_URL", "sqlite:staging.db");
    mail.retry().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_execution"), "0", "dev's is left alone");
}

/// SQLite alone: PostgreSQL has no file.
#[test]
fn a_disk_that_is_not_mounted() {
    run_on(Database::Sqlite, |shop: &Shop| {
        let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
        let paid_at = "2024-03-05T03:00:00+00:00";
        let _ = shop.order(Order { mall: tokyo, order_no: "A1", paid_at: Some(paid_at), ..Order::default() });
        shop.execute("UPDATE batch_environment SET name = 'prod'");
        shop.write(".env.prod", "BATCHCTL_DATABASE_URL=sqlite:disk/batchctl.db\n");
        // prod refuses a fixed clock.
        let night = Night::of(shop).without("BATCHCTL_DATABASE_URL").without("BATCHCTL_NOW");
        let report = ["--env", "prod", "report", "daily-sales", "--date", "2024-03-05"];
        let mail = night.fails(78, report).says(&[
            "report daily-sales did not start (exit 78): ",
            "does not exist",
            "hint: is its disk mounted, and is this the right folder?",
            "# once the file is there",
        ]);
        let file = mail.path_between("the SQLite file `", "`");
        assert!(!file.exists());
        std::os::unix::fs::symlink(".", file.parent().unwrap()).unwrap();
        mail.retry().succeeds();
        assert_reported(shop);
    });
}

fn a_misspelt_environment(shop: &Shop) {
    shop.write(".env.staging", "BATCHCTL_DATABASE_URL=sqlite:staging.db\n");
    let night = Night::of(shop).without("BATCHCTL_DATABASE_URL");
    let mail = night
        .fails(78, ["--env", "stagin", "report", "daily-sales", "--date", "2026-11-19"])
        .says(&["nothing is known of the environment `stagin`", "did you mean --env staging?"]);
    mail.retry().succeeds();
    assert!(shop.path("staging.db").exists());
}

fn a_wrong_key_in_the_configuration(shop: &Shop) {
    tokyo(shop);
    shop.write("batchctl.toml", "[report]\nlocal = 'ja'\n");
    let night = Night::of(shop);
    let mail = night.fails(78, REPORT).says(&[
        "report daily-sales did not start (exit 78): ",
        "unknown key `local` in `report`: did you mean `locale`?",
        "data:  nothing was changed",
    ]);
    let place = mail.place_between("did not start (exit 78): ", ": unknown key");
    correct_line(&place, "local =", "locale = 'ja'");
    mail.retry().succeeds();
    assert_reported(shop);
}

fn a_variable_that_makes_no_sense(shop: &Shop) {
    tokyo(shop);
    shop.write(".env", "BATCHCTL_MAIL_FROM=shop@example.jp\nBATCHCTL_TZ=Asia/Tokio\n");
    let night = Night::of(shop);
    let mail = night.fails(78, REPORT).says(&["BATCHCTL_TZ: `Asia/Tokio` is not a time zone name"]);
    let place = mail.place_between("write one like Asia/Tokyo (", ")");
    correct_line(&place, "BATCHCTL_TZ=", "BATCHCTL_TZ=Asia/Tokyo");
    mail.retry().succeeds();
    assert_reported(shop);
}

// ---------------------------------------------------------------- data

fn a_mall_whose_time_zone_does_not_exist(shop: &Shop) {
    let seoul = shop.mall("seoul", "Asia/Seoul", "KRW");
    let paid_at = "2026-11-19T03:00:00+00:00";
    let _ = shop.order(Order { mall: seoul, order_no: "A1", paid_at: Some(paid_at), ..Order::default() });
    shop.execute("UPDATE malls SET time_zone = 'Asia/Soul'");
    let night = Night::of(shop);
    let mail = night.fails(1, REPORT).says(&[
        "report daily-sales 2026-11-19 failed (run 1, exit 1",
        "mall `seoul` has the time zone `Asia/Soul`, which does not exist",
        "data:  nothing was changed",
    ]);
    mail.follow().succeeds();
    assert_eq!(shop.scalar("SELECT time_zone FROM malls"), "Asia/Seoul");
    mail.retry().succeeds();
    assert_reported(shop);
}

const HEADER: &str =
    "mall,order_no,status,ordered_at,paid_at,total_amount,product_code,quantity,unit_price_amount\n";
const IMPORT: [&str; 5] = ["data", "import", "--kind", "orders", "orders.csv"];

fn order_with(amount: &str) -> String {
    format!("{HEADER}tokyo,A1,PAID,2026-11-19 10:00,2026-11-19 10:05,{amount},P1,1,1200\n")
}

/// An amount in the file is wrong; the mail says what to write instead.
fn an_amount_to_correct(shop: &Shop, amount: &str, as_read: &str) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.write("orders.csv", order_with(amount));
    let night = Night::of(shop);
    let mail = night.fails(65, IMPORT).says(&[
        "data import orders ",
        "/orders.csv failed (run 1, exit 65",
        "orders.csv:2: ",
        &format!("`{as_read}` is not a number: write `1200`"),
        "data:  nothing was changed",
    ]);
    shop.write("orders.csv", shop.read("orders.csv").replace(amount, "1200"));
    mail.retry().succeeds();
    assert_eq!(shop.sql("SELECT order_no, total_amount FROM orders"), [["A1", "1200"]]);
    let open = shop.batchctl(["runs", "list", "--open"]).run().succeeds();
    assert_eq!(open.stdout.matches("FAILED").count(), 0, "{}", open.stdout);
}

fn an_amount_with_thousands_separators(shop: &Shop) {
    an_amount_to_correct(shop, "\"1,200\"", "1,200");
}

fn an_amount_in_full_width_digits(shop: &Shop) {
    an_amount_to_correct(shop, "１２００", "１２００");
}

fn an_amount_that_is_none(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.write("orders.csv", order_with("\"12,3x0\""));
    let night = Night::of(shop);
    let mail = night
        .fails(65, IMPORT)
        .says(&["`12,3x0` is not a number", "fix the file"])
        .never_says(&["separator", "write `"]);
    shop.write("orders.csv", order_with("1230"));
    mail.retry().succeeds();
    assert_eq!(shop.sql("SELECT order_no, total_amount FROM orders"), [["A1", "1230"]]);
}

fn a_file_without_a_column(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.write("orders.csv", order_with("1200").replace("total_amount", "合計"));
    let night = Night::of(shop);
    let config = shop.path("batchctl.toml").display().to_string();
    let mail = night.fails(65, IMPORT).says(&[
        "total_amount",
        "合計",
        &config,
        "[import.orders.columns] ours = \"theirs\"",
    ]);
    shop.write("batchctl.toml", "[import.orders.columns]\ntotal_amount = \"合計\"\n");
    mail.retry().succeeds();
    assert_eq!(shop.sql("SELECT order_no, total_amount FROM orders"), [["A1", "1200"]]);
}

fn a_file_that_is_not_there(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let night = Night::of(shop);
    let path = shop.path("orders.csv").display().to_string();
    let mail = night.fails(65, IMPORT).says(&["data import did not start", &path, "nothing was changed"]);
    shop.write("orders.csv", order_with("1200"));
    mail.retry().succeeds();
    assert_eq!(shop.sql("SELECT order_no, total_amount FROM orders"), [["A1", "1200"]]);
}

fn a_file_with_another_delimiter(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.write("orders.csv", order_with("1200").replace(',', "\t"));
    let night = Night::of(shop);
    let mail = night.fails(65, IMPORT).says(&["hint: the fields seem to be separated by '\\t'"]);
    mail.retry().succeeds();
    assert_eq!(shop.sql("SELECT order_no, total_amount FROM orders"), [["A1", "1200"]]);
}

fn a_file_in_another_encoding(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let text = order_with("1200").replace("A1", "ソーダ");
    shop.write("orders.csv", encoding_rs::SHIFT_JIS.encode(&text).0);
    let night = Night::of(shop);
    let mail = night.fails(65, IMPORT).says(&["line 2 is not valid utf-8"]);
    mail.retry().succeeds();
    assert_eq!(shop.sql("SELECT order_no, total_amount FROM orders"), [["ソーダ", "1200"]]);
}

fn a_file_in_another_encoding_than_the_one_that_was_given(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let text = order_with("1200").replace("A1", "회원");
    shop.write("orders.csv", encoding_rs::EUC_KR.encode(&text).0);
    let night = Night::of(shop);
    let words = ["data", "import", "--kind", "orders", "--encoding", "shift_jis", "orders.csv"];
    let mail = night.fails(65, words).says(&["line 2 is not valid shift_jis"]);
    mail.retry().succeeds();
    assert_eq!(shop.sql("SELECT order_no, total_amount FROM orders"), [["회원", "1200"]]);
}

fn a_file_of_a_day_on_which_nothing_happened(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.write("orders.csv", HEADER);
    let night = Night::of(shop);
    // The export may as well have failed, so that the line says when it helps.
    let mail = night
        .fails(65, IMPORT)
        .says(&["has a header and no lines", " -- --allow-empty  # if nothing happened that day\n"]);
    mail.retry().succeeds();
    let open = shop.batchctl(["runs", "list", "--open"]).run().succeeds();
    assert_eq!(open.stdout.matches("FAILED").count(), 0, "{}", open.stdout);
}

fn a_file_that_does_not_name_its_mall(shop: &Shop) {
    shop.mall("tokyo", "Asia/Tokyo", "JPY");
    shop.write("orders.csv", order_with("1200").replace("mall,", "").replace("tokyo,", ""));
    let night = Night::of(shop);
    let mail = night.fails(65, IMPORT).says(&["hint: name the mall of the whole file: add --mall tokyo"]);
    mail.retry().succeeds();
    assert_eq!(shop.sql("SELECT order_no, total_amount FROM orders"), [["A1", "1200"]]);
}

fn a_mall_that_is_not_known(shop: &Shop) {
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.write("orders.csv", order_with("1200"));
    let night = Night::of(shop);
    let mail =
        night.fails(65, IMPORT).says(&["orders.csv:2: ", "unknown mall `tokyo`", "the malls are osaka"]);
    let add = mail.between("or add the mall with `", "`");
    assert!(add.contains("CURRENCY") && add.contains("ZONE"), "{add}");
    night.types(&add.replace("CURRENCY", "JPY").replace("ZONE", "Asia/Tokyo")).succeeds();
    mail.retry().succeeds();
    assert_eq!(
        shop.sql("SELECT code, order_no, total_amount FROM orders JOIN malls ON malls.id = orders.mall_id"),
        [["tokyo", "A1", "1200"]]
    );
}

// ---------------------------------------------------------------- outside systems

fn with_cafe24(sandbox: &Sandbox) -> Cafe24 {
    let cafe24 = Cafe24::start();
    cafe24.configure(sandbox, "tries = 2\nredirect_uri = \"https://shop.example.jp/back\"");
    cafe24.control("shop1", "settings", &json!({ "throttle": "none" }));
    let bought = order("20261119-0000001", "kim01", "2026-11-19T10:05:06+09:00", 30_000);
    cafe24.control("shop1", "data", &json!({ "orders": [bought] }));
    let add = [
        "mall",
        "add",
        "tokyo",
        "--platform",
        "cafe24",
        "--account",
        "shop1",
        "--currency",
        "KRW",
        "--time-zone",
        "Asia/Seoul",
    ];
    sandbox.batchctl(add).run().succeeds();
    let tokens = cafe24.tokens("shop1").to_string();
    sandbox.batchctl(["mall", "token", "set", "tokyo"]).stdin(tokens).run().succeeds();
    cafe24
}

/// The order of [`with_cafe24`] is there.
#[track_caller]
fn assert_synchronised(sandbox: &Sandbox) {
    let orders = sandbox.sql("SELECT order_no, total_amount FROM orders");
    assert_eq!(orders, [["20261119-0000001", "30000"]]);
}

const SYNC: [&str; 8] = ["mall", "sync", "--domain", "order", "--from", "2026-11-19", "--to", "2026-11-19"];

fn a_shop_that_does_not_answer(sandbox: &Sandbox) {
    let cafe24 = with_cafe24(sandbox);
    let down = json!({ "rules": [{ "path": "orders", "fault": "status", "status": 503, "times": -1 }] });
    cafe24.control("shop1", "faults", &down);
    let night = Night::of(sandbox);
    let mail = night.fails(75, SYNC).says(&[
        "mall sync tokyo order ",
        "HTTP 503",
        "2 tries from ",
        "data:  nothing was changed",
        "next:  it will be tried again at 20",
        "# once Cafe24 answers again",
    ]);
    cafe24.control("shop1", "faults", &json!({ "rules": [] }));
    mail.retry().succeeds();
    assert_synchronised(sandbox);
}

fn a_shop_whose_owner_has_to_authorise_the_app(sandbox: &Sandbox) {
    let cafe24 = with_cafe24(sandbox);
    let rejected = json!({ "rules": [{ "path": "orders", "fault": "status", "status": 401, "times": -1 }] });
    cafe24.control("shop1", "faults", &rejected);
    let night = Night::of(sandbox);
    let mail = night.fails(1, SYNC).says(&[
        "let the shop's owner authorise the app: ",
        "mall token authorize tokyo",
        "# once the shop's owner has authorised the app",
    ]);
    let command = mail.line("hint:").split_once("app: ").map(|(_, command)| command.to_owned()).unwrap();
    let answer = sandbox.path("answer");
    let mut running = night
        .dressed(sandbox.typed_elsewhere(&format!("mkfifo '{}'; {command} <>answer", answer.display())))
        .spawn();
    eventually(|| running.has_ended() || running.so_far().stdout.ends_with('\n'), "the address is printed");
    let address = running.so_far().stdout;
    let path = address.trim().split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    let (status, back) = cafe24.ask("GET", path.expect("an address"), "");
    assert_eq!(status, 302, "{back}");
    std::fs::OpenOptions::new()
        .write(true)
        .open(&answer)
        .and_then(|mut file| std::io::Write::write_all(&mut file, format!("{back}\n").as_bytes()))
        .unwrap();
    running.wait().succeeds();
    cafe24.control("shop1", "faults", &json!({ "rules": [] }));
    mail.retry().succeeds();
    assert_synchronised(sandbox);
}

fn a_missing_secret_key(sandbox: &Sandbox) {
    let _cafe24 = with_cafe24(sandbox);
    let text = sandbox.read(".env");
    // It was in `.env`; the mail names the file where a setting of the environment belongs.
    let (key, others): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("BATCHCTL_SECRET_KEY"));
    sandbox.write(".env", others.join("\n") + "\n");
    let night = Night::of(sandbox);
    let mail = night.fails(78, SYNC).says(&[
        "mall sync did not start",
        "`BATCHCTL_SECRET_KEY` is not set",
        "nothing was changed",
        "# once the key is set",
    ]);
    let file = mail.path_between("set that one again in ", ": a new one makes the stored tokens unreadable");
    add_line(&file, key[0]);
    mail.retry().succeeds();
    assert_synchronised(sandbox);
}

const FLUSH: [&str; 2] = ["mail", "flush"];

fn queue(sandbox: &Sandbox) {
    let at = "2026-11-19T00:00:00+00:00";
    sandbox.execute(&format!(
        "INSERT INTO mails (kind, recipient, subject, text_body, due_at, queued_at)
         VALUES ('kind', 'emma@example.jp', 'Order', 'Thank you.', '{at}', '{at}')"
    ));
}

fn a_mail_server_that_refuses_the_password(sandbox: &Sandbox) {
    let server = MailServer::start(Manners {
        offers: vec!["AUTH PLAIN"],
        login: Some(("shop", "right")),
        ..Manners::default()
    });
    queue(sandbox);
    let url = |password: &str| format!("smtp://shop:{password}@{}?tls=none", server.address());
    sandbox.write(
        ".env.dev",
        format!("BATCHCTL_MAIL_REDIRECT_TO=dev@example.jp\nBATCHCTL_MAIL_FROM=shop@example.jp\nBATCHCTL_SMTP_URL='{}'\n", url("hunter2")),
    );
    let night = Night::of(sandbox);
    let mail = night
        .fails(1, FLUSH)
        .says(&["mail flush failed", "failed to log in", "the user `shop`", "the mails stay queued"])
        .never_says(&["hunter2"]);
    mail.correct("BATCHCTL_SMTP_URL", &url("right"));
    mail.retry().succeeds();
    assert_eq!(server.count_taken(), 1);
}

fn a_missing_address_for_developers(sandbox: &Sandbox) {
    queue(sandbox);
    sandbox.write(".env.dev", "BATCHCTL_MAIL_FROM=shop@example.jp\n");
    let night = Night::of(sandbox);
    let mail = night.fails(78, FLUSH).says(&[
        "mail flush did not start",
        "BATCHCTL_MAIL_REDIRECT_TO is not set",
        "# once it is set",
    ]);
    let file = mail.path_between("such as developer@example.jp, in ", "\n");
    add_line(&file, "BATCHCTL_MAIL_REDIRECT_TO=developer@example.jp");
    mail.retry().succeeds();
    assert_eq!(sandbox.scalar("SELECT status FROM mails"), "SENT");
}

fn a_missing_folder_of_templates(shop: &Customers) {
    shop.member("emma");
    shop.article("A1", "2026-11-19T00:00:00+00:00");
    std::fs::remove_dir_all(shop.path("mails")).unwrap();
    let night = Night::of(shop).with("BATCHCTL_SECRET_KEY", "a key of this test, 32 bytes long");
    let mail = night.fails(78, ["mail", "digest"]).says(&[
        "mail digest failed (run 1, exit 78",
        "it does not exist",
        "create the folder",
    ]);
    std::fs::create_dir(mail.path_between("failed to use `", "`")).unwrap();
    mail.retry().succeeds();
    // From the built-in template: the folder is empty.
    assert_eq!(shop.mails(), ["Hello emma,"]);
}

fn a_misspelt_variable_in_a_template(shop: &Customers) {
    shop.member("emma");
    shop.article("A1", "2026-11-19T00:00:00+00:00");
    for locale in ["en", "ja", "ko"] {
        let file = format!("mails/digest.{locale}.txt");
        let text = shop.read(&file).replace("subscribe_url if", "subscrib_url if");
        shop.write(&file, text);
    }
    let night = Night::of(shop).with("BATCHCTL_SECRET_KEY", "a key of this test, 32 bytes long");
    let mail = night
        .fails(65, ["mail", "digest"])
        .says(&["subscrib_url", "did you mean `subscribe_url` instead of `subscrib_url`?"]);
    let (file, _) = mail.place_between("failed to render ", ": ");
    // The mail's language is not the only one: the command of the hint finds the others.
    let found = mail.follow().exits(65).stderr;
    assert_eq!(found.matches("unknown variable `subscrib_url`").count(), 3, "{found}");
    assert!(found.contains(&file.display().to_string()), "{found}");
    for found in found.lines().filter(|line| line.contains("unknown variable `subscrib_url`")) {
        let found = found.strip_prefix("error: ").unwrap_or(found);
        let (file, _) = found.split_once(" line ").unwrap();
        let text = std::fs::read_to_string(file).unwrap().replace("subscrib_url", "subscribe_url");
        std::fs::write(file, text).unwrap();
    }
    mail.retry().succeeds();
    assert_eq!(shop.mails().len(), 1);
}

// ---------------------------------------------------------------- time

fn a_deadline_that_was_too_short(shop: &Shop) {
    tokyo(shop);
    let night = Night::of(shop);
    let mail = night
        .fails(124, ["report", "daily-sales", "--date", "2026-11-19", "--timeout", "0ms"])
        .says(&["the deadline passed", "nothing was changed"]);
    mail.retry().succeeds();
    assert_reported(shop);
}

fn a_run_that_another_one_keeps_waiting(shop: &Shop) {
    tokyo(shop);
    let mut holder = shop.batchctl(REPORT).hold_at("after-lease");
    holder.wait_until_reached();
    let night = Night::of(shop);
    let words = REPORT.into_iter().chain(["--on-overlap", "fail"]);
    let mail = night.fails(75, words).says(&[
        "report daily-sales 2026-11-19 is already running (run 2, exit 75): run 1 holds it",
        "its last heartbeat was ",
        "its lease ends at 2",
        " JST, and the next start takes over by itself",
    ]);
    assert!(!mail.text.contains("retry:"), "{}", mail.text);
    holder.release().wait().succeeds();
    assert_reported(shop);
}
