//! What applies to every command: help, usage, configuration, the database's state and the environment guard.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use batchctl::jobs::specs;

use crate::support::{Arranged, Batchctl, Database, Sandbox, on_both_databases, run_on};

on_both_databases![
    a_migrated_database_is_accepted_and_migrating_it_again_changes_nothing,
    another_environments_database_is_refused_and_left_alone,
    migrating_another_environments_database_is_refused_and_leaves_it_alone,
    a_database_with_data_whose_environment_is_unknown_is_given_to_nobody,
    a_bug_ends_with_1_and_one_line,
];

#[test]
fn the_version_is_printed() {
    let ran = Sandbox::new().batchctl(["--version"]).run().succeeds();
    assert_eq!(ran.stdout, concat!("batchctl ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn help_lists_every_job() {
    let sandbox = Sandbox::new();
    let is_listed = |help: &str, command: &str| {
        help.lines().any(|line| line.starts_with("  ") && line.split_whitespace().next() == Some(command))
    };
    for spec in specs() {
        let words: Vec<&str> = spec.name.split(' ').collect();
        for place in 0..words.len() {
            let arguments = words[..place].iter().chain(&["--help"]);
            let help = sandbox.batchctl(arguments).run().succeeds().stdout;
            assert!(is_listed(&help, words[place]), "{} is not in:\n{help}", words[place]);
        }
    }
}

#[test]
fn the_flags_of_every_command_are_explained_once() {
    let sandbox = Sandbox::new();
    let help = |words: &[&str]| sandbox.batchctl(words).run().succeeds().stdout;
    assert!(help(&["--help"]).contains("--log-format <FORMAT>"));
    for words in [
        ["report", "daily-sales", "--help"].as_slice(),
        &["mail", "suppress", "add", "-h"],
        &["db", "--help"],
    ] {
        let help = help(words);
        assert!(!help.contains("--log-format <FORMAT>"), "{help}");
        assert_eq!(
            help.contains("Every command: --env, --log-format and --verbose"),
            !words.contains(&"-h"),
            "{help}"
        );
    }
    // They are accepted where they always were.
    sandbox.batchctl(["env", "show", "--env", "dev", "--log-format", "json", "-v"]).run().succeeds();
}

#[test]
fn help_needs_neither_a_good_configuration_nor_a_database() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.batchctl(["report", "daily-sales", "--help"]).env("BATCHCTL_TZ", "Mars").run().succeeds();
    assert!(!sandbox.path("batchctl.db").exists());
}

#[test]
fn an_unknown_flag_is_wrong_usage() {
    let sandbox = Sandbox::new();
    sandbox.batchctl(["--no-such-flag"]).run().exits(2).says("unexpected argument '--no-such-flag'");
    sandbox.batchctl(["report", "daily-sales", "--no-such-flag"]).run().exits(2).says("--no-such-flag");
}

#[test]
fn an_unknown_command_is_wrong_usage() {
    let sandbox = Sandbox::new();
    sandbox.batchctl(["no-such-group"]).run().exits(2).says("unrecognized subcommand 'no-such-group'");
    sandbox.batchctl(["report", "no-such-job"]).run().exits(2).says("unrecognized subcommand 'no-such-job'");
}

#[test]
fn env_show_masks_a_password() {
    Sandbox::new()
        .batchctl(["env", "show"])
        .env("BATCHCTL_DATABASE_URL", "postgres://shop:hunter2@db.example.jp/shop")
        .env("BATCHCTL_SECRET_KEY", "hunter3-hunter3-hunter3-hunter3-")
        .run()
        .succeeds()
        .prints("postgres://shop:***@db.example.jp/shop  (process)")
        .never_shows("hunter");
}

#[test]
fn a_wrong_time_zone_is_bad_configuration_and_named() {
    let command = ["report", "daily-sales"];
    Sandbox::new().batchctl(command).env("BATCHCTL_TZ", "Mars").run().exits(78).says("BATCHCTL_TZ: `Mars`");
}

#[test]
fn an_unknown_key_is_bad_configuration_and_named_with_its_line() {
    let sandbox = Sandbox::new();
    sandbox.write("batchctl.toml", "# Ours.\n[report]\nlocal = \"ja\"\n");
    let ran = sandbox.batchctl(["report", "daily-sales"]).run().exits(78);
    ran.says(
        "error: report daily-sales did not start (exit 78): \
         ",
    )
    .says("/batchctl.toml line 3: unknown key `local` in `report`: did you mean `locale`?\n")
    .says(&format!("(exit 78): {}", sandbox.path("batchctl.toml").display()));
}

#[test]
fn a_name_that_no_job_knows_is_bad_configuration_for_every_command() {
    let sandbox = Sandbox::new();
    for (text, message) in [
        (
            "[import.order]\nmall = 'main'\n",
            "line 1: unknown key `order` in `import`: did you mean `orders`?",
        ),
        (
            "[jobs.'mail flush']\nenabled = false\n[jobs.'report daily-sale']\nenabled = false\n",
            "line 3: unknown key `report daily-sale` in `jobs`: did you mean `report daily-sales`?",
        ),
        (
            "[[report.delivery]]\nto = ['a@example.jp']\nreport = 'daily-sale'\n",
            "line 3: `report.delivery.report` is not the name of a report: did you mean `daily-sales`?",
        ),
        (
            "[[report.delivery]]\nreport = 'hunter22'\nto = ['a@example.jp']\n",
            "line 2: `report.delivery.report` is not the name of a report: known are daily-sales, \
             daily-cancellations, weekly-signups, executive",
        ),
    ] {
        sandbox.write("batchctl.toml", text);
        let ran = sandbox.batchctl(["runs", "list"]).run().exits(78);
        let file = sandbox.path("batchctl.toml").display().to_string();
        assert_eq!(ran.stderr, format!("error: {file} {message}\n"));
        // At a terminal the reader is in that folder.
        let seen = sandbox.batchctl(["runs", "list"]).run_on_terminal("").exits(78).screen();
        assert!(seen.contains("error: batchctl.toml line ") && !seen.contains(&file), "{seen}");
    }
}

#[test]
fn sqlite_is_created_on_first_use() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.batchctl(["runs", "list"]).run().succeeds();
    assert_eq!(sandbox.scalar("SELECT name FROM batch_environment"), "dev");
}

/// A command in prod as cron starts it: what it needs to know is in `.env.prod`, and the clock is the machine's.
fn in_prod(sandbox: &Sandbox, words: &[&str]) -> Batchctl {
    let words = ["--env", "prod"].iter().chain(words);
    sandbox.batchctl(words).real_clock().unset("BATCHCTL_DATABASE_URL")
}

/// Each kind of command that opens the database.
const OPENING: [&[&str]; 6] = [
    &["report", "daily-sales"],
    &["runs", "purge"],
    &["runs", "list"],
    &["mall", "add", "tokyo", "--currency", "JPY", "--time-zone", "Asia/Tokyo"],
    &["mall", "token", "status"],
    &["db", "check"],
];

#[test]
fn in_prod_a_missing_sqlite_file_is_never_replaced_by_an_empty_one() {
    for (setting, file) in
        [("BATCHCTL_DATABASE_URL=sqlite:disk/my%20shop.db\n", "disk/my shop.db"), ("", "batchctl.db")]
    {
        for words in OPENING {
            let sandbox = Sandbox::without_schema(Database::Sqlite);
            sandbox.write(".env.prod", setting);
            sandbox.write("disk/readme", "where the disk is mounted");
            let path = sandbox.path(file);
            in_prod(&sandbox, words)
                .run()
                .exits(78)
                .says(&format!("the SQLite file `{}` does not exist\n", path.display()))
                .says("  hint: is its disk mounted, and is this the right folder? ")
                .says(&format!("only for a first set-up: `{}`\n", sandbox.command("prod", "db migrate")));
            assert!(!path.exists(), "{words:?} has created it");
        }
    }
}

#[test]
fn in_prod_a_sqlite_file_without_a_schema_is_left_alone() {
    for words in OPENING.into_iter().filter(|words| words[0] != "db") {
        let sandbox = Sandbox::without_schema(Database::Sqlite);
        let in_prod = || in_prod(&sandbox, words).run().exits(78).says("  hint: is its disk mounted");
        let file = sandbox.path("batchctl.db").display().to_string();
        sandbox.write("batchctl.db", "");
        in_prod().says(&format!("the SQLite file `{file}` is empty\n"));
        assert_eq!(sandbox.read("batchctl.db"), "");
        // Tables there are none, but a header.
        sandbox.execute("PRAGMA user_version = 1");
        // A second start in the same outage would be silent.
        sandbox.forget_outages();
        in_prod().says(&format!("the SQLite file `{file}` holds no batchctl schema\n"));
        assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM sqlite_master"), "0");
    }
}

#[test]
fn in_prod_db_migrate_creates_the_sqlite_file_and_config_check_misses_it() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    sandbox.write(".env.prod", "BATCHCTL_DATABASE_URL=sqlite:shop.db\n");
    // Otherwise the check warns of others who can read it.
    std::fs::set_permissions(sandbox.path(".env.prod"), Permissions::from_mode(0o600)).unwrap();
    let missing = format!("the SQLite file `{}` does not exist\n", sandbox.path("shop.db").display());
    in_prod(&sandbox, &["config", "check"]).run().exits(78).prints(&missing);
    in_prod(&sandbox, &["db", "migrate"]).run().succeeds();
    in_prod(&sandbox, &["config", "check"]).run().succeeds();
    in_prod(&sandbox, &["runs", "list"]).run().succeeds();
}

#[test]
fn beside_a_database_of_another_environment_that_one_is_proposed_and_retried() {
    let sandbox = Sandbox::of_environment(Database::Sqlite, "prod");
    let command = ["report", "daily-sales", "--date", "2026-11-18"];
    let ran = sandbox.batchctl(command).unset("BATCHCTL_DATABASE_URL").run().exits(78);
    ran.says("nothing is known of the environment `dev`: ")
        .says("is that of `prod`\n")
        .says("hint: did you mean --env prod? ")
        .says(&format!("retry: {}", sandbox.command("prod", "report daily-sales --date 2026-11-18")))
        // The file is there, and is not to be created.
        .never_shows("db migrate");
}

#[test]
fn only_another_environment_that_the_folder_knows_is_proposed() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    let unknown = "nothing is known of the environment `prod`: ";
    // `.env.example` is a template.
    sandbox.write(".env.example", "");
    in_prod(&sandbox, &["runs", "list"]).run().exits(78).says(unknown).never_shows("did you mean");
    sandbox.write(".env.staging", "");
    in_prod(&sandbox, &["runs", "list"]).run().exits(78).says(unknown).says("did you mean --env staging? ");
    sandbox.write(".env.qa", "");
    in_prod(&sandbox, &["runs", "list"]).run().exits(78).says(unknown).never_shows("did you mean");
    let misspelt = sandbox.batchctl(["--env", "stagin", "runs", "list"]).unset("BATCHCTL_DATABASE_URL");
    misspelt.run().exits(78).says("did you mean --env staging? ");
}

#[test]
fn a_forgotten_env_beside_the_settings_of_prod_creates_no_database() {
    let sandbox = Sandbox::without_schema(Database::Sqlite);
    let by_default = |words: &[&str]| sandbox.batchctl(words).unset("BATCHCTL_DATABASE_URL");
    let missing = "--env is missing: this folder has `.env.prod`, and neither settings nor a database of `dev`, the default; \
                   write --env prod, or --env dev if `dev` is meant\n";
    sandbox.write("batchctl.toml", "");
    sandbox.write(".env.prod", "BATCHCTL_DATABASE_URL=sqlite:shop.db\n");
    for words in OPENING.into_iter().chain([["schedule", "crontab"].as_slice()]) {
        // A second start in the same outage would be silent.
        sandbox.forget_outages();
        by_default(words).run().exits(78).says(missing);
    }
    by_default(&["config", "check"]).run().exits(78).prints(missing);
    let retry = format!("retry: {}", sandbox.command("prod", "report daily-sales --date 2026-11-19"));
    sandbox.forget_outages();
    by_default(&["report", "daily-sales"]).run().exits(78).says(&retry);
    assert!(!sandbox.path("batchctl.db").exists());
    sandbox.write(".env.staging", "");
    by_default(&["runs", "list"])
        .run()
        .exits(78)
        .says("has `.env.prod` and `.env.staging`, and")
        .says("; write --env prod or --env staging, or --env dev if");
}

#[test]
fn whoever_means_the_default_environment_is_let_in_beside_the_settings_of_prod() {
    type Chosen = fn(&Sandbox) -> Batchctl;
    let chosen: [(&str, Chosen); 6] = [
        ("the flag", |sandbox| sandbox.batchctl(["--env", "dev", "runs", "list"])),
        ("the variable", |sandbox| sandbox.batchctl(["runs", "list"]).env("BATCHCTL_ENV", "dev")),
        ("a container's database", |sandbox| {
            sandbox.batchctl(["runs", "list"]).env("BATCHCTL_DATABASE_URL", "sqlite:batchctl.db")
        }),
        ("a file of its own", |sandbox| {
            sandbox.write(".env.dev", "");
            sandbox.batchctl(["runs", "list"])
        }),
        ("a file of all", |sandbox| {
            sandbox.write(".env", "");
            sandbox.batchctl(["runs", "list"])
        }),
        ("the example", |sandbox| sandbox.batchctl(["demo"])),
    ];
    for (by, command) in chosen {
        let sandbox = Sandbox::without_schema(Database::Sqlite);
        sandbox.write(".env.prod", "");
        let command = command(&sandbox);
        let command =
            if by == "a container's database" { command } else { command.unset("BATCHCTL_DATABASE_URL") };
        command.run().succeeds();
        assert!(sandbox.path("batchctl.db").exists(), "{by}");
        // Now it is in use.
        sandbox.batchctl(["runs", "list"]).unset("BATCHCTL_DATABASE_URL").run().succeeds();
    }
}

#[test]
fn a_hint_names_the_configuration_that_is_used() {
    let sandbox = Sandbox::new();
    sandbox.write("conf/shop.toml", "");
    sandbox.write("orders.csv", "mall\n");
    let import = || {
        let words = ["data", "import", "--kind", "orders", "orders.csv"];
        sandbox.batchctl(words).env("BATCHCTL_CONFIG", "conf/shop.toml")
    };
    let told = |file: &str| format!("hint: map the file's column names in {file}: [import.orders.columns]");
    let path = sandbox.path("conf/shop.toml").display().to_string();
    import().run().exits(65).says(&told(&path)).never_shows("batchctl.toml");
    let seen = import().run_on_terminal("").exits(65).screen();
    assert!(seen.contains(&told("conf/shop.toml")), "{seen}");
}

#[test]
fn postgres_without_a_schema_is_bad_configuration_and_left_alone() {
    // Not `Sandbox::on`: this one starts without the schema.
    run_on(Database::Postgres, |empty: &Empty| {
        let ran = empty.0.batchctl(["report", "daily-sales"]).run().exits(78);
        ran.says(
            "error: report daily-sales did not start (exit 78): the database has no batchctl schema yet\n",
        )
        .says("  data:  nothing was changed\n")
        .says(&format!("  hint: run `{}`\n", empty.0.command("dev", "db migrate")))
        .says(&format!("  retry: {}", empty.0.command("dev", "report daily-sales --date 2026-11-19")));
        assert_eq!(empty.0.dump(), "");
    });
}

/// A sandbox without tables.
struct Empty(Sandbox);

impl Arranged for Empty {
    fn on(database: Database) -> Self {
        Self(Sandbox::without_schema(database))
    }
}

fn a_migrated_database_is_accepted_and_migrating_it_again_changes_nothing(sandbox: &Sandbox) {
    let before = sandbox.dump();
    sandbox.batchctl(["db", "migrate"]).run().succeeds().is_silent();
    sandbox.batchctl(["db", "check"]).run().succeeds();
    assert_eq!(sandbox.dump(), before);
}

fn another_environments_database_is_refused_and_left_alone(sandbox: &Sandbox) {
    let before = sandbox.dump();
    for command in [["report", "daily-sales"], ["runs", "purge"], ["runs", "list"], ["mall", "list"]] {
        let command = ["--env", "prod"].into_iter().chain(command);
        let ran = sandbox.batchctl(command).real_clock().run().exits(77);
        ran.says(" is the database of `dev`, but the command runs in `prod` (from --env)\n")
            .says("point BATCHCTL_DATABASE_URL (the environment of the process) at the database of `prod`")
            .never_shows("--env dev");
    }
    assert_eq!(sandbox.dump(), before);
}

fn migrating_another_environments_database_is_refused_and_leaves_it_alone(sandbox: &Sandbox) {
    let before = sandbox.dump();
    sandbox.batchctl(["--env", "prod", "db", "migrate"]).real_clock().run().exits(77).says("`dev`");
    assert_eq!(sandbox.dump(), before);
}

fn a_database_with_data_whose_environment_is_unknown_is_given_to_nobody(sandbox: &Sandbox) {
    let job = ["report", "daily-sales"];
    let mall = ["mall", "add", "tokyo", "--name", "本店", "--time-zone", "Asia/Tokyo", "--currency", "JPY"];
    sandbox.execute("DELETE FROM batch_environment");
    // Nothing is in it yet: as good as a new one.
    sandbox.batchctl(["db", "migrate"]).run().succeeds();
    sandbox.batchctl(mall).run().succeeds();
    sandbox.execute("DELETE FROM batch_environment");
    let before = sandbox.dump();
    for command in [&["db", "migrate"][..], &job] {
        for environment in ["dev", "prod"] {
            let words = ["--env", environment].into_iter().chain(command.iter().copied());
            let ran = sandbox.batchctl(words).real_clock().run();
            // PostgreSQL's schema is made by `db migrate` alone, which the job asks for.
            if command[0] == "db" || sandbox.database() == Database::Sqlite {
                ran.exits(77)
                    .says("which environment it belongs to is gone")
                    .says("INSERT INTO batch_environment");
            } else {
                ran.exits(78);
            }
        }
    }
    assert_eq!(sandbox.dump(), before);
}

fn a_bug_ends_with_1_and_one_line(sandbox: &Sandbox) {
    // Outside the job's own work, which the runner guards.
    let ran = sandbox.batchctl(["runs", "purge"]).failpoint("before-lease=panic").run().exits(1);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("bug in batchctl: ") && lines[0].contains("a bug at the point before-lease")
    );
    assert!(lines[0].ends_with(r"\u{1b}[31m"), "{lines:?}");
    sandbox.batchctl(["runs", "purge"]).run().succeeds();
}

#[test]
fn settings_that_others_can_change_are_refused_in_prod_and_reported_elsewhere() {
    let sandbox = Sandbox::new();
    let in_prod = || sandbox.batchctl(["--env", "prod", "config", "check"]).real_clock();
    in_prod().run().succeeds();
    for file in [".env", ".env.prod", "batchctl.toml"] {
        sandbox.write(file, "");
        let chmod =
            |mode| std::fs::set_permissions(sandbox.path(file), Permissions::from_mode(mode)).unwrap();
        for mode in [0o602, 0o620] {
            chmod(mode);
            in_prod().run().exits(78).says("other users of this machine can change `").says("chmod go-w ");
            let elsewhere = sandbox.batchctl(["config", "check"]).run();
            if file == ".env.prod" {
                elsewhere.succeeds();
            } else {
                elsewhere.exits(78).prints("other users of this machine can change `");
            }
        }
        chmod(0o600);
        in_prod().run().succeeds();
    }
    // Whoever can change the folder can put other files in their place; whoever can change a template, its text.
    sandbox.write("batchctl.toml", "[mail]\ntemplate_dir = \"texts\"\ntransport = \"folder\"\n");
    sandbox
        .write("texts/own.en.txt", "+++\nsubject = \"s\"\ndescription = \"d\"\nowner = \"o\"\n+++\ntext\n");
    std::fs::set_permissions(sandbox.path("batchctl.toml"), Permissions::from_mode(0o600)).unwrap();
    let in_prod = || in_prod().env("BATCHCTL_MAIL_FROM", "shop@example.jp").run();
    in_prod().succeeds();
    for (path, mode) in [("texts/own.en.txt", 0o644), ("texts", 0o755), ("", 0o755)] {
        let path = sandbox.path(path);
        std::fs::set_permissions(&path, Permissions::from_mode(mode | 0o020)).unwrap();
        in_prod()
            .exits(78)
            .prints(&format!("can change `{}", path.display().to_string().trim_end_matches('/')));
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    in_prod().succeeds();
}

#[test]
fn a_new_database_file_and_its_log_are_its_owners_alone() {
    let sandbox = Sandbox::new();
    sandbox
        .batchctl([
            "mall",
            "add",
            "tokyo",
            "--name",
            "本店",
            "--time-zone",
            "Asia/Tokyo",
            "--currency",
            "JPY",
        ])
        .env("BATCHCTL_DATABASE_URL", "sqlite:new.db")
        .run()
        .succeeds();
    let mode = std::fs::metadata(sandbox.path("new.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn no_core_dump_is_written() {
    let sandbox = Sandbox::new();
    let mut held = sandbox.batchctl(["runs", "purge"]).hold_at("before-lease");
    held.wait_until_reached();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", held.process().pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    held.release().wait().succeeds();
}

#[test]
fn what_a_command_line_holds_is_printed_so_that_a_terminal_does_not_obey_it() {
    let hostile = "\u{1b}[31m\u{202e}x\u{9b}2J";
    for words in [&[hostile][..], &["runs", "show", hostile], &["--env", hostile, "runs", "list"]] {
        let ran = Sandbox::new().batchctl(words).run();
        assert!(matches!(ran.code, Some(2 | 78)), "{words:?}");
        ran.says(r"\u{202e}x\u{9b}2J").never_shows("\u{202e}").never_shows("\u{1b}").never_shows("\u{9b}");
    }
    let forged = "7\nerror: the database is gone";
    let ran = Sandbox::new().batchctl(["runs", "show", forged]).run();
    ran.exits(2).says(r"7\nerror: the database is gone").never_shows(forged);
    let crontab = ["schedule", "crontab", "--directory", "/etc\n* * * * * root id"];
    Sandbox::new().batchctl(crontab).run().exits(2).says("--directory");
}

#[test]
fn an_unreachable_database_is_worth_another_attempt_later() {
    // Nobody listens there: only root may.
    let port = 1;
    Sandbox::new()
        .batchctl(["report", "daily-sales"])
        .env("BATCHCTL_DATABASE_URL", format!("postgres://shop:hunter2@127.0.0.1:{port}/shop"))
        .run()
        .exits(75)
        .says(&format!("failed to connect to PostgreSQL at `127.0.0.1:{port}/shop`"))
        .never_shows("hunter2");
}

#[test]
fn a_wrong_password_is_bad_configuration_and_not_shown() {
    run_on(Database::Postgres, |sandbox: &Sandbox| {
        // scripts/servers creates this user; on a server without it, the user name is what is wrong.
        let mut url = url::Url::parse(sandbox.database_url()).unwrap();
        url.set_username("with_password").unwrap();
        url.set_password(Some("hunter2")).unwrap();
        sandbox
            .batchctl(["report", "daily-sales"])
            .env("BATCHCTL_DATABASE_URL", url)
            .run()
            .exits(78)
            .says("with_password")
            .says("BATCHCTL_DATABASE_URL")
            .never_shows("hunter2");
    });
}

#[test]
fn a_server_elsewhere_that_has_no_tls_is_bad_configuration_and_hears_nothing() {
    // To a client the address is that of another machine; it is this one all the same.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let url = format!("postgres://shop:hunter2@0.0.0.0:{}/shop", listener.local_addr().unwrap().port());
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(b"N").unwrap();
        let mut packet = [0; 1024];
        stream.read(&mut packet).unwrap_or_default()
    });
    let sandbox = Sandbox::new();
    sandbox
        .batchctl(["report", "daily-sales"])
        .env("BATCHCTL_DATABASE_URL", &url)
        .run()
        .exits(78)
        .says("server does not support TLS")
        .says("or, if everything on the way is trusted, write `?sslmode=disable`")
        .never_shows("hunter2");
    assert_eq!(heard.join().unwrap(), 0, "bytes in the clear");
    for (more, in_force) in [
        ("", "TLS, certificate and host name verified (sslmode=verify-full)"),
        ("?sslmode=require", "TLS, but the server is not verified (sslmode=require)"),
    ] {
        sandbox
            .batchctl(["config", "check"])
            .env("BATCHCTL_DATABASE_URL", format!("{url}{more}"))
            .run()
            .succeeds()
            .prints(&format!("/shop`: {in_force}"))
            .never_shows("hunter2");
    }
}

#[test]
fn a_shop_without_mail_needs_no_mail_settings() {
    let sandbox = Sandbox::new();
    sandbox.batchctl(["config", "check"]).run().succeeds().prints("the configuration of `dev` is valid");
    sandbox.batchctl(["--env", "prod", "config", "check"]).real_clock().run().succeeds();
    sandbox.batchctl(["mail", "flush"]).run().exits(78);
}

#[test]
fn the_configuration_is_invalid_if_the_mail_commands_would_fail() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "batchctl.toml",
        "[mail]\ntransport = 'sendgrid'\ntemplate_dir = 'none'\n\
         [mail.unsubscribe]\nurl = 'https://shop.example.jp/unsubscribe?t={token}'\n",
    );
    let lines = |problems: &str| problems.lines().map(str::to_owned).collect::<Vec<_>>();
    let problems = lines(&sandbox.batchctl(["config", "check"]).run().exits(78).stdout);
    let begin = |line: &String, text: &str| assert!(line.starts_with(text), "{line}");
    assert_eq!(problems.len(), 6, "{problems:?}");
    begin(&problems[0], "`mail.template_dir`: failed to use");
    begin(&problems[1], "BATCHCTL_MAIL_REDIRECT_TO is not set");
    assert!(problems[2].contains("`SENDGRID_API_KEY` is not set"), "{}", problems[2]);
    begin(&problems[3], "variable `BATCHCTL_SECRET_KEY` is not set");
    begin(&problems[4], "`mail.shop.address` is not set: advertising in this language (`en`)");
    begin(&problems[5], "BATCHCTL_MAIL_FROM is not set");
    let config = sandbox.read("batchctl.toml");
    sandbox.write("batchctl.toml", format!("{config}[mail.shop]\naddress = '1-2-3 Minatocho, Yokohama'\n"));

    assert!(!sandbox.path("mail").exists());

    sandbox.write("none/readme", "");
    let check = || {
        sandbox
            .batchctl(["config", "check"])
            .env("BATCHCTL_MAIL_FROM", "shop@example.jp")
            .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
            .env("BATCHCTL_SECRET_KEY", "0123456789abcdef0123456789abcdef")
            .env("SENDGRID_API_KEY", "SG.a-key-of-this-test")
            .run()
    };
    check().succeeds();

    let front_matter =
        "+++\nsubject = 's'\ndescription = 'd'\nowner = 'o'\n[sample]\nday = '2026-11-20'\n+++\n";
    sandbox.write("none/welcome.en.txt", format!("{front_matter}{{{{ dya | date }}}}\n"));
    let file = sandbox.path("none/welcome.en.txt").display().to_string();
    check().exits(78).prints(&format!(
        "{file} line 8: unknown variable `dya`: the sample does not have it; did you mean `day`?\n"
    ));
}

#[test]
fn in_prod_mail_without_a_transport_is_a_problem() {
    Sandbox::new()
        .batchctl(["--env", "prod", "config", "check"])
        .env("BATCHCTL_MAIL_FROM", "shop@example.jp")
        .real_clock()
        .run()
        .exits(78)
        .prints("BATCHCTL_SMTP_URL is not set");
}

#[test]
fn a_disabled_job_is_a_comment_in_the_crontab() {
    let sandbox = Sandbox::new();
    sandbox.write("batchctl.toml", "[jobs.\"mail flush\"]\nenabled = false\n");
    let crontab = sandbox.batchctl(["schedule", "crontab"]).run().succeeds().stdout;
    let line = crontab.lines().find(|line| line.ends_with(" mail flush")).unwrap();
    assert!(line.starts_with("# disabled: "), "{line}");
}

#[test]
fn a_job_that_lacks_what_it_needs_is_a_comment_in_the_crontab_that_says_so() {
    let sandbox = Sandbox::new();
    let line = |job: &str| {
        let crontab = sandbox.batchctl(["schedule", "crontab"]).env("BATCHCTL_REDIS_URL", "").run();
        crontab.succeeds().stdout.lines().find(|line| line.ends_with(job)).unwrap().to_owned()
    };
    let left_out = "# left out until [events] of batchctl.toml has a sink: * * * * * ";
    assert!(line(" events publish").starts_with(left_out), "{}", line(" events publish"));
    for job in [" stock reconcile", " stock summary"] {
        assert!(line(job).starts_with("# left out until BATCHCTL_REDIS_URL is set: "), "{}", line(job));
    }
    // Whoever asks for one gets it, and what it says.
    sandbox.write("batchctl.toml", "[jobs.\"stock reconcile\"]\nenabled = true\n[events]\nsink = 'ndjson'\n");
    assert!(line(" stock reconcile").starts_with("0 2 * * * "), "{}", line(" stock reconcile"));
    assert!(line(" events publish").starts_with("* * * * * "), "{}", line(" events publish"));
    sandbox.write("batchctl.toml", "");
    sandbox.write(".env", "BATCHCTL_REDIS_URL=redis://127.0.0.1\n");
    let crontab = sandbox.batchctl(["schedule", "crontab"]).run().succeeds().stdout;
    assert!(
        crontab.lines().any(|line| line.starts_with("0 9 ") && line.ends_with(" stock summary")),
        "{crontab}"
    );
}

#[test]
fn what_mall_add_changes_is_said_from_what_to_what() {
    let sandbox = Sandbox::new();
    let add = |more: &[&str]| {
        let words = ["--verbose", "mall", "add", "main"].iter().chain(more);
        sandbox.batchctl(words).run().succeeds()
    };
    add(&["--currency", "JPY"]).says("Added mall `main` (main, csv, Asia/Tokyo, JPY)\n");
    add(&[]).says("Mall `main` is unchanged\n");
    add(&["--platform", "app"]).says("Changed mall `main`: platform from `csv` to `app`\n");
    add(&["--name", "本店", "--time-zone", "Asia/Seoul", "--currency", "KRW"]).says(
        "Changed mall `main`: name from `main` to `本店`, time zone from `Asia/Tokyo` to `Asia/Seoul`, currency from \
         `JPY` to `KRW`\n",
    );
    sandbox.batchctl(["mall", "disable", "main"]).run().succeeds();
    add(&["--account", "other"])
        .says("Changed mall `main`: account from `main/1` to `other/1`, enabled again\n");
}

#[test]
fn what_is_not_a_number_on_the_command_line_is_told_what_to_write() {
    let sandbox = Sandbox::new();
    for limit in ["abc", "1.5", ""] {
        let ran = sandbox.batchctl(["events", "list", "--limit", limit]).run().exits(2);
        ran.says("'--limit <LIMIT>': write a whole number, such as 20\n");
    }
    sandbox
        .batchctl(["events", "list", "--limit", "99999999999"])
        .run()
        .exits(2)
        .says("99999999999 is not from 0 to 4294967295\n");
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let sandbox = Sandbox::new();
    // The reading end is closed before the program starts, so that its first write meets a broken pipe.
    let closed = "mkfifo closed; { read go <closed; \"$@\"; echo $? >code; } | { exec <&-; echo go >closed; }; rm closed";
    for command in [
        "runs list",
        "mail list",
        "mall list",
        "env show",
        "schedule crontab",
        "report daily-sales --dry-run",
        "--help",
    ] {
        let words = command.split(' ');
        sandbox.batchctl(words).through_shell(closed).run().succeeds().is_silent();
        assert_eq!(sandbox.read("code"), "0\n", "{command}");
    }
}

/// Lists, settings and scripts: what is printed by commands that run no job.
const PRINTING: [&str; 7] =
    ["runs list", "mail list", "mall list", "env show", "schedule crontab", "completions bash", "man"];

#[test]
fn data_that_cannot_be_delivered_is_a_failure() {
    let sandbox = Sandbox::new();
    let full = "No space left on device\n  \
                hint: make room there (or raise the quota, or `ulimit -f`), then run the same command again";
    let read_only = "Bad file descriptor";
    for (stdout, cause) in [(">&-", "it is closed"), (">/dev/full", full), ("1</dev/null", read_only)] {
        for command in PRINTING {
            let script = format!("exec \"$@\" {stdout}");
            let ran = sandbox.batchctl(command.split(' ')).through_shell(&script).run().exits(1);
            let told = format!("error: failed to write to stdout: {cause}\n");
            assert_eq!(ran.stderr, told, "{command} {stdout}");
        }
    }
}

#[test]
fn whoever_wants_no_data_gets_a_success() {
    let sandbox = Sandbox::new();
    // Python and Node open /dev/null for reading and writing, as Rust's runtime does in the place of a closed stdout.
    for stdout in [">/dev/null", "1<>/dev/null"] {
        for command in PRINTING {
            let script = format!("exec \"$@\" {stdout}");
            sandbox.batchctl(command.split(' ')).through_shell(&script).run().succeeds().is_silent();
        }
    }
    // Nor does a success without data care about stdout.
    let words = ["mall", "add", "tokyo", "--name", "Tokyo", "--time-zone", "Asia/Tokyo", "--currency", "JPY"];
    sandbox.batchctl(words).through_shell("exec \"$@\" >&-").run().succeeds().is_silent();
}
