use std::time::Duration;

use chrono_tz::Tz;
use tempfile::TempDir;

use super::*;
use crate::locale::Locale;
use crate::severity::Severity;

/// A working directory with these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn load(flag: Option<&str>, files: &[(&str, &str)], process: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let directory = directory(files);
    Config::load(LoadOptions {
        env_flag: flag.map(str::to_owned),
        working_dir: directory.path().to_owned(),
        process_env: process.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        full_paths: false,
    })
}

fn error(flag: Option<&str>, files: &[(&str, &str)], process: &[(&str, &str)]) -> String {
    load(flag, files, process).unwrap_err().to_string()
}

fn setting(config: &Config, name: &str) -> (String, String, bool) {
    let setting = config.effective().into_iter().find(|setting| setting.name == name).unwrap();
    (setting.value_for_display, setting.source.to_string(), setting.secret)
}

const TOML: &str = "[[alerts.channel]]\nname = \"ops\"\nkind = \"slack\"\nurl_variable = \"OPS_SLACK_URL\"\n";

#[test]
fn nothing_set_means_dev_sqlite_and_tokyo() {
    let config = load(None, &[], &[("DATABASE_URL", "postgres://other/tool")]).unwrap();
    assert_eq!(config.environment(), "dev");
    assert!(!config.is_prod());
    assert_eq!(config.database_url(), "sqlite:batchctl.db");
    assert_eq!(config.time_zone(), Tz::Asia__Tokyo);
    assert_eq!(config.locale(), Locale::En);
    assert_eq!(config.now(), None);
    assert_eq!(config.lease().lease(), Duration::from_mins(1));
    assert_eq!(config.lease().heartbeat(), Duration::from_secs(10));
    assert!(config.warnings().is_empty());
}

#[test]
fn the_process_wins_over_the_environments_file_and_that_over_the_common_one() {
    let files = [
        (".env", "BATCHCTL_TZ=UTC\nBATCHCTL_LOCALE=ko\nBATCHCTL_LEASE_SECONDS=30\n"),
        (".env.staging", "BATCHCTL_LOCALE=ja\nBATCHCTL_LEASE_SECONDS=6\n"),
        (".env.dev", "BATCHCTL_TZ=Asia/Seoul\n"),
    ];
    let process = [("BATCHCTL_LEASE_SECONDS", "12"), ("BATCHCTL_ENV", "dev")];
    let config = load(Some("staging"), &files, &process).unwrap();
    assert_eq!(setting(&config, "BATCHCTL_ENV"), ("staging".into(), "flag".into(), false));
    assert_eq!(setting(&config, "BATCHCTL_TZ"), ("UTC".into(), ".env".into(), false));
    assert_eq!(setting(&config, "BATCHCTL_LOCALE"), ("ja".into(), ".env.staging".into(), false));
    assert_eq!(setting(&config, "BATCHCTL_LEASE_SECONDS"), ("12".into(), "process".into(), false));
    assert_eq!(setting(&config, "BATCHCTL_CONFIG"), (String::new(), "default".into(), false));
    assert_eq!(config.lease().heartbeat(), Duration::from_secs(2));
    let config = load(None, &files, &[]).unwrap();
    assert_eq!(setting(&config, "BATCHCTL_TZ"), ("Asia/Seoul".into(), ".env.dev".into(), false));
}

#[test]
fn an_empty_variable_of_the_process_takes_back_what_a_file_says() {
    let config = load(None, &[(".env", "BATCHCTL_TZ=UTC")], &[("BATCHCTL_TZ", "")]).unwrap();
    assert_eq!(setting(&config, "BATCHCTL_TZ"), ("Asia/Tokyo".into(), "default".into(), false));
}

#[test]
fn a_line_break_at_the_end_of_a_variable_is_dropped() {
    let process = [("BATCHCTL_ENV", "prod\n"), ("BATCHCTL_DATABASE_URL", "postgres://db/shop\n")];
    let config = load(None, &[], &process).unwrap();
    assert_eq!((config.environment(), config.database_url()), ("prod", "postgres://db/shop"));
}

#[test]
fn the_environments_name_is_checked_and_a_file_cannot_choose_it() {
    assert_eq!(
        error(Some("../x"), &[], &[]),
        "--env: `../x` is not an environment's name: use lower-case letters, digits, `-` and `_`"
    );
    assert_eq!(
        error(None, &[], &[("BATCHCTL_ENV", "production")]),
        "BATCHCTL_ENV: `production` would run without the guards of production: write `prod`"
    );
    assert_eq!(
        error(Some("dev"), &[(".env", "BATCHCTL_ENV=prod")], &[]),
        "BATCHCTL_ENV: .env sets `prod`, but this command runs in `dev`: choose by --env, not in a .env file"
    );
    assert!(load(Some("prod"), &[(".env.prod", "BATCHCTL_ENV=prod")], &[]).unwrap().is_prod());
}

#[test]
fn a_wrong_value_names_its_variable_and_shows_no_secret() {
    for (name, value, message) in [
        ("BATCHCTL_TZ", "Tokyo", "BATCHCTL_TZ: `Tokyo` is not a time zone name: write one like Asia/Tokyo"),
        ("BATCHCTL_LOCALE", "jp", "BATCHCTL_LOCALE: unknown locale `jp`: use en, ja or ko"),
        (
            "BATCHCTL_LEASE_SECONDS",
            "0",
            "BATCHCTL_LEASE_SECONDS: `0` is not a number of seconds from 1 to 86400",
        ),
        (
            "BATCHCTL_NOW",
            "today",
            "BATCHCTL_NOW: `today` is not an instant: write one like 2026-11-20T01:00:00+09:00",
        ),
        (
            "BATCHCTL_NOW",
            "0000-01-01T00:00:00+14:00",
            "BATCHCTL_NOW: `0000-01-01T00:00:00+14:00` is not an instant: write one like 2026-11-20T01:00:00+09:00",
        ),
        ("BATCHCTL_CONFIG", "x.toml", "BATCHCTL_CONFIG: there is no file `x.toml`"),
        (
            "BATCHCTL_DATABASE_URL",
            "mysql://shop:hunter22@db/shop",
            "BATCHCTL_DATABASE_URL: the scheme `mysql` is not supported: write sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME",
        ),
        (
            "BATCHCTL_SMTP_URL",
            "mail.example.jp",
            "BATCHCTL_SMTP_URL: has no scheme: write smtp:// or smtps://…",
        ),
        (
            "BATCHCTL_SMTP_URL",
            "http://:hunter22@mail",
            "BATCHCTL_SMTP_URL: the scheme `http` is not supported: write smtp:// or smtps://…",
        ),
        (
            "BATCHCTL_SMTP_URL",
            "smtp://shop:22/hunter22@mail",
            "BATCHCTL_SMTP_URL: is not a URL: percent-encode the characters @ : / ? # % of a password",
        ),
        (
            "BATCHCTL_MAIL_FROM",
            "shop@example.jp\nBcc: all@example.jp",
            "BATCHCTL_MAIL_FROM: is not a mail address: write one like Example Shop <shop@example.jp>",
        ),
    ] {
        let said = error(None, &[], &[(name, value)]);
        let problem = said.strip_suffix(" (the environment of the process)").unwrap_or(&said);
        assert_eq!(problem, message);
    }
}

#[test]
fn a_fixed_clock_is_refused_in_prod() {
    let clock = [("BATCHCTL_NOW", "2026-11-20T01:00:00.1234567+09:00")];
    let now = load(None, &[], &clock).unwrap().now().unwrap();
    assert_eq!(now.to_rfc3339(), "2026-11-19T16:00:00.123456+00:00");
    assert_eq!(
        error(Some("prod"), &[], &clock),
        "BATCHCTL_NOW: a fixed clock is refused in `prod`: remove it (the environment of the process)"
    );
}

#[test]
fn a_file_that_cannot_be_understood_is_named() {
    let message = error(None, &[(".env.dev", "A=1\nSECRET=hunter 22\n")], &[]);
    assert!(message.starts_with(".env.dev line 2: ") && !message.contains("hunter"), "{message}");
    let message = error(None, &[("batchctl.toml", "[alert]\n")], &[]);
    assert_eq!(message, "batchctl.toml line 1: unknown key `alert`: did you mean `alerts`?");
    let message = error(None, &[("shop.toml", "\nx = 1\n")], &[("BATCHCTL_CONFIG", "shop.toml")]);
    assert!(message.starts_with("shop.toml line 2: unknown key `x`"), "{message}");
}

#[test]
fn without_a_terminal_a_file_is_named_by_its_path() {
    let load = |name: &str, text: &str, process: &[(&str, &str)]| {
        let directory = directory(&[(name, text)]);
        let path = directory.path().join(name).display().to_string();
        let loaded = Config::load(LoadOptions {
            env_flag: None,
            working_dir: directory.path().to_owned(),
            process_env: process.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            full_paths: true,
        });
        (loaded, path)
    };
    for (name, text, process, message) in [
        (".env.dev", "A=1\nB=2 3\n", &[][..], "{} line 2: not understood"),
        (".env", "\nBATCHCTL_TZ=Mars\n", &[], "write one like Asia/Tokyo ({} line 2)"),
        (".env", "BATCHCTL_ENV=prod\n", &[], "BATCHCTL_ENV: {} sets `prod`"),
        ("batchctl.toml", "\nx = 1\n", &[], "{} line 2: unknown key `x`"),
        ("shop.toml", "x = 1\n", &[("BATCHCTL_CONFIG", "shop.toml")], "{} line 1: unknown key `x`"),
    ] {
        let (loaded, path) = load(name, text, process);
        let (error, message) = (loaded.unwrap_err().to_string(), message.replace("{}", &path));
        assert!(error.contains(&message), "{error}");
    }
    let (config, path) = load(".env", "BATCHCTL_LOCAL=ja\nBATCHCTL_TZ=UTC\nA=1\nA=2\n", &[]);
    let config = config.unwrap();
    assert_eq!(config.set_at("BATCHCTL_TZ"), format!("BATCHCTL_TZ ({path} line 2)"));
    let warnings = config.warnings();
    assert_eq!(warnings[0], format!("{path}: A is set twice, the last one counts"));
    assert!(warnings[1].starts_with(&format!("BATCHCTL_LOCAL ({path} line 1) is not")), "{warnings:?}");
    assert_eq!(setting(&config, "BATCHCTL_TZ"), ("UTC".into(), ".env".into(), false));
    let (config, path) = load("batchctl.toml", "[import.order]\n", &[]);
    let unknown = config.unwrap().unknown_key("import", "order", &["orders"]).to_string();
    assert!(unknown.starts_with(&format!("{path} line 1: ")), "{unknown}");
}

#[test]
fn a_secret_named_by_the_file_comes_from_any_source_and_is_missed_by_name() {
    let file = ("batchctl.toml", TOML);
    let config = load(None, &[file], &[]).unwrap();
    assert_eq!(
        config.secret("OPS_SLACK_URL").unwrap_err().to_string(),
        "variable `OPS_SLACK_URL` is not set: alerts.channel `ops` needs it"
    );
    assert_eq!(config.secret("OTHER").unwrap_err().to_string(), "variable `OTHER` is not set");
    assert_eq!(config.secret_key().unwrap_err().to_string(), "variable `BATCHCTL_SECRET_KEY` is not set");
    let config =
        load(None, &[file, (".env", "OPS_SLACK_URL=https://hooks.slack.com/services/a")], &[]).unwrap();
    assert_eq!(config.secret("OPS_SLACK_URL").unwrap(), "https://hooks.slack.com/services/a");
}

#[test]
fn unknown_variables_are_reported_with_the_nearest_name() {
    let process = [("BATCHCTL_DATABSE_URL", "x"), ("BATCHCTL_ZZZ", "x"), ("PATH", "/bin")];
    let config = load(None, &[(".env", "BATCHCTL_LOCAL=ja\nA=1\nA=2\n")], &process).unwrap();
    assert_eq!(
        config.warnings(),
        [
            ".env: A is set twice, the last one counts",
            "BATCHCTL_DATABSE_URL (the environment of the process) is not a variable of batchctl: did you mean BATCHCTL_DATABASE_URL?",
            "BATCHCTL_LOCAL (.env line 1) is not a variable of batchctl: did you mean BATCHCTL_LOCALE?",
            "BATCHCTL_ZZZ (the environment of the process) is not a variable of batchctl",
        ]
    );
}

#[test]
fn a_job_that_does_not_exist_is_an_unknown_key() {
    let toml = "# Ours.\n[jobs.\"mall sync\"]\nretries = 1\n[jobs.\"report daily-sale\"]\nenabled = false\n";
    let config = load(None, &[("batchctl.toml", toml)], &[]).unwrap();
    assert_eq!(
        config.check_jobs(&["mall sync", "report daily-sales"]).unwrap_err().to_string(),
        "batchctl.toml line 4: unknown key `report daily-sale` in `jobs`: did you mean `report daily-sales`?"
    );
    assert!(config.check_jobs(&["mall sync", "report daily-sale"]).is_ok());
}

/// A configuration with a secret in every place that has one; each contains `hunter`.
fn with_secrets() -> Config {
    let dotenv = "BATCHCTL_SECRET_KEY=hunter-key-of-thirty-two-bytes-or-more\nSTRIPE_TOKEN=hunter-token\nAPIKEY_OF_MALL=hunter-mall\n\
                  BATCHCTL_REDIS_URL='rediss://:hunter-redis@cache/0'\n\
                  OPS_SLACK_URL=https://hooks.slack.com/services/T0/hunter-slack\n";
    let process = [
        ("BATCHCTL_DATABASE_URL", "postgres://shop:hunter%20d%2Bb%2F@db/shop"),
        ("BATCHCTL_SMTP_URL", "smtps://user:hunter-smtp@smtp.example.jp"),
        ("BATCHCTL_MAIL_FROM", "Shop <shop@example.jp>"),
        ("AWS_SECRET_ACCESS_KEY", "hunter-aws"),
        ("XKB_KEYBOARD", "english"),
        ("HOME", "/root"),
    ];
    load(None, &[(".env", dotenv), ("batchctl.toml", TOML)], &process).unwrap()
}

#[test]
fn the_effective_settings_show_no_secret() {
    let config = with_secrets();
    let shown = format!("{:?} {config:?}", config.effective());
    assert!(!shown.contains("hunter"), "{shown}");
    for (name, value, source) in [
        ("BATCHCTL_DATABASE_URL", "postgres://shop:***@db/shop", "process"),
        ("BATCHCTL_SECRET_KEY", "***", ".env"),
        ("BATCHCTL_MAIL_FROM", "s*****@example.jp", "process"),
        ("OPS_SLACK_URL", "***", ".env"),
    ] {
        assert_eq!(setting(&config, name), (value.into(), source.into(), true));
    }
    assert_eq!(setting(&config, "BATCHCTL_CONFIG"), ("batchctl.toml".into(), "default".into(), false));
    assert_eq!(setting(&config, "alerts.channel[1].kind"), ("slack".into(), "batchctl.toml".into(), false));
}

#[test]
fn exports_hold_real_values_and_nothing_of_others() {
    let names: Vec<String> = with_secrets().exports().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "BATCHCTL_ENV",
            "APIKEY_OF_MALL",
            "BATCHCTL_DATABASE_URL",
            "BATCHCTL_MAIL_FROM",
            "BATCHCTL_REDIS_URL",
            "BATCHCTL_SECRET_KEY",
            "BATCHCTL_SMTP_URL",
            "OPS_SLACK_URL",
            "STRIPE_TOKEN",
        ]
    );
    assert!(with_secrets().exports().contains(&("STRIPE_TOKEN".to_owned(), "hunter-token".to_owned())));
}

#[test]
fn the_redactor_knows_every_secret() {
    let redactor = with_secrets().redactor();
    let text = "hunter d+b/ hunter%20d%2Bb%2F hunter%20d+b%2F hunter-smtp hunter-redis hunter-key-of-thirty-two-bytes-or-more hunter-token \
                hunter-mall hunter-aws /services/T0/hunter-slack https://hooks.slack.com/services/T0/hunter-slack";
    let redacted = redactor.redact(text);
    assert!(!redacted.contains("hunter"), "{redacted}");
    assert_eq!(redactor.redact("english db shop /root"), "english db shop /root");
}

const DOTENV_EXAMPLE: &str = include_str!("../../.env.example");
const TOML_EXAMPLE: &str = include_str!("../../batchctl.example.toml");

/// An example with its commented settings in force. A remark has a blank after its `#`, a setting has none.
fn uncommented(example: &str) -> String {
    let is_setting = |rest: &&str| rest.starts_with(|c: char| !matches!(c, ' ' | '#'));
    let line = |line| str::strip_prefix(line, "#").filter(is_setting).unwrap_or(line);
    example.lines().flat_map(|text| [line(text), "\n"]).collect()
}

/// Both examples, whole.
fn example() -> Config {
    let files = [(".env", &*uncommented(DOTENV_EXAMPLE)), ("batchctl.toml", &*uncommented(TOML_EXAMPLE))];
    load(None, &files, &[]).unwrap()
}

#[test]
fn the_example_files_load_without_a_warning() {
    let config = load(None, &[(".env", DOTENV_EXAMPLE), ("batchctl.toml", TOML_EXAMPLE)], &[]).unwrap();
    assert_eq!(config.warnings(), Vec::<String>::new());
    assert_eq!(config.mail().from.as_deref(), Some("Example Shop <shop@example.jp>"));
    assert!(config.alerts().channel.is_empty(), "the channels need variables that are not set");
    let config = example();
    assert_eq!(config.warnings(), Vec::<String>::new());
    assert!(config.now().is_some());
}

#[test]
fn the_example_means_what_it_says() {
    let config = example();
    assert_eq!(config.import()["orders"].own.columns.len(), 15);
    assert_eq!(config.report().locale, Some(Locale::Ja));
    assert_eq!(config.report().delivery[0].to.len(), 2);
    assert_eq!(config.alerts().channels(Severity::High, true)[0].name, "ops");
    assert_eq!(config.alerts().channels(Severity::High, false)[0].name, "dev");
    assert_eq!(config.import()["orders"].own.columns["order_no"].plain(), Some("注文番号"));
    assert_eq!(config.import()["orders"].own.values["status"]["支払済"], "PAID");
    let job = &config.jobs()["report daily-sales"];
    assert_eq!(job.timeout, Some(Duration::from_mins(45)));
    assert_eq!(job.skip_limit, Some(SkipLimit::Percent(1.0)));
    assert_eq!(job.severity, Some(Severity::High));
}

#[test]
fn every_section_is_in_the_example() {
    let config = example();
    for table in Sections::TABLES {
        assert!(config.has_table(table), "batchctl.example.toml has no [{table}]");
    }
}

#[test]
fn every_variable_is_in_the_example_and_in_the_table_of_the_readme() {
    let config = example();
    let is_in_the_example =
        |name: &str| uncommented(DOTENV_EXAMPLE).lines().any(|line| line.starts_with(&format!("{name}=")));
    let readme: Vec<&str> =
        include_str!("../../README.md").lines().filter(|line| line.starts_with("| `BATCHCTL_")).collect();
    let is_in_the_readme = |name: &str| readme.iter().any(|row| row.contains(&format!("`{name}`")));
    // That variable belongs to the test suite.
    let known: Vec<&str> =
        config.known.iter().map(|known| known.name).filter(|name| *name != "BATCHCTL_FAILPOINT").collect();
    assert!(known.len() >= 12, "{known:?}");
    for name in known {
        assert!(is_in_the_example(name), "{name} is not in .env.example");
        assert!(is_in_the_readme(name), "{name} is not in the README's table");
    }
    let named: Vec<_> = config.sections.named_variables().map(|variable| variable.name).collect();
    assert_eq!(named.len(), 22);
    for name in named {
        assert!(is_in_the_example(name), "{name} is not in .env.example");
    }
}

#[test]
fn the_examples_promise_no_variable_that_is_not_read() {
    let config = example();
    let is_read = |name: &str| config.effective().iter().any(|setting| setting.name == name);
    for line in uncommented(DOTENV_EXAMPLE).lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, _)) = line.split_once('=') {
            assert!(is_read(name), "{name} of .env.example is never read");
        }
    }
}

fn parse_error(text: &str) -> String {
    Sections::parse("batchctl.toml", text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_fine() {
    assert_eq!(Sections::parse("batchctl.toml", "# nothing yet\n").unwrap(), Sections::default());
}

#[test]
fn an_unknown_key_is_named_with_its_line_section_and_nearest_name() {
    for (text, message) in [
        (
            "[pdf]\n\n[alerts]\n# x\n\n\n[[alerts.chanels]]\nname = \"ops\"",
            "batchctl.toml line 7: unknown key `chanels` in `alerts`: did you mean `channel`?",
        ),
        ("reports = 1", "batchctl.toml line 1: unknown key `reports`: did you mean `report`?"),
        (
            "zzz = 1",
            "batchctl.toml line 1: unknown key `zzz`: known are pdf, report, freshness, alerts, import, mail, \
             cart_remind, order_expire, stock, digest, events, cafe24, jobs",
        ),
        (
            "[jobs.\"report daily-sales\"]\ntimout = \"5m\"",
            "batchctl.toml line 2: unknown key `timout` in `jobs.\"report daily-sales\"`: did you mean `timeout`?",
        ),
        (
            "[import.orders]\nencodng = \"sjis\"",
            "batchctl.toml line 2: unknown key `encodng` in `import.orders`: did you mean `encoding`?",
        ),
        (
            "[[alerts.channel]]\nname = \"ops\"\nkind = \"slack\"\nurl = \"https://hooks.slack.com/x\"",
            "batchctl.toml line 4: unknown key `url` in `alerts.channel`: did you mean `url_variable`?",
        ),
    ] {
        assert_eq!(parse_error(text), message);
    }
}

#[test]
fn a_section_of_variables_alone_is_not_a_table_of_the_file() {
    let message = parse_error("[database]\nurl = \"postgres://shop:hunter22@db/shop\"");
    assert!(message.starts_with("batchctl.toml line 1: unknown key `database`"), "{message}");
}

#[test]
fn a_wrong_value_is_named_with_its_key_and_line() {
    for (text, message) in [
        (
            "[report]\nlocale = \"jp\"",
            "batchctl.toml line 2: `report.locale`: `jp` is not known: write \"en\", \"ja\" or \"ko\"",
        ),
        (
            "[jobs.\"mall sync\"]\nenabled = \"hunter22\"",
            "batchctl.toml line 2: `jobs.\"mall sync\".enabled`: write true or false, without quotes",
        ),
        (
            "[jobs.\"mall sync\"]\nretries = \"3\"",
            "batchctl.toml line 2: `jobs.\"mall sync\".retries`: write a whole number, without quotes",
        ),
        (
            "[mail.domain_rates]\n\"gmail.com\" = \"fast\"",
            "batchctl.toml line 2: `mail.domain_rates.\"gmail.com\"`: write a number, without quotes",
        ),
        (
            "[jobs.\"mall sync\"]\nretries = 1.5",
            "batchctl.toml line 2: `jobs.\"mall sync\".retries`: write a whole number",
        ),
        (
            "[jobs.\"mall sync\"]\nretries = -1",
            "batchctl.toml line 2: `jobs.\"mall sync\".retries`: write a whole number that is not negative",
        ),
        (
            "[jobs.\"mall sync\"]\nretries = 5000000000",
            "batchctl.toml line 2: `jobs.\"mall sync\".retries`: the number is too large",
        ),
        ("[report]\nlocale\n", "batchctl.toml line 2: the key has no value: write `key = value`"),
        (
            "[[alerts.channel]]\nname = \"ops\"\nkind = \"slack\"",
            "batchctl.toml line 1: `alerts.channel` `ops` of the kind `slack` needs `url_variable`",
        ),
        (
            "[mail.dkim]\ndomain = \"a\"\nselector = \"b\"\nkey_variable = \"-----BEGIN hunter22\"",
            "batchctl.toml line 4: `mail.dkim.key_variable` is not a variable's name: put the secret in a variable \
             such as KEY",
        ),
    ] {
        assert_eq!(parse_error(text), message);
    }
}

#[test]
fn a_syntax_error_is_one_line() {
    let message = parse_error("[pdf]\nfont_dirs = [\n");
    assert!(message.starts_with("batchctl.toml line ") && !message.contains('\n'), "{message}");
}

#[test]
fn a_name_that_only_its_owner_knows_is_named_with_its_line_and_never_repeated_as_a_value() {
    let toml = "[import.order]\nmall = \"main\"\n\n[[report.delivery]]\nreport = \"hunter22\"\nto = [\"a@example.jp\"]";
    let config = load(None, &[("batchctl.toml", toml)], &[]).unwrap();
    assert_eq!(
        config.unknown_key("import", "order", &["orders", "members"]).to_string(),
        "batchctl.toml line 1: unknown key `order` in `import`: did you mean `orders`?"
    );
    assert_eq!(
        config
            .unknown_value(&["report", "delivery", "0", "report"], "hunter22", "a report", &["daily-sales"])
            .to_string(),
        "batchctl.toml line 5: `report.delivery.report` is not the name of a report: known are daily-sales"
    );
}

#[test]
fn a_secret_key_that_is_too_short_is_refused_and_not_shown() {
    const KEY: &str = "hunter2-hunter2-hunter2-hunter2-";
    let load = |key| load(None, &[], &[("BATCHCTL_SECRET_KEY", key)]);
    assert_eq!(
        load(&KEY[1..]).unwrap_err().to_string(),
        "BATCHCTL_SECRET_KEY: is shorter than 32 bytes: make one with `openssl rand -base64 32` (the environment of the process)"
    );
    assert_eq!(load(KEY).unwrap().secret_key().unwrap().expose(), KEY);
}
