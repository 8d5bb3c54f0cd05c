//! `db migrate` and `db check`: the schema, and whether the database meets batchctl's requirements.

use chrono::{DateTime, Utc};

use crate::context::Context;
use crate::db::{Db, DbErrorKind, FromRow, Kind, latest_version};
use crate::failure::Failure;
use crate::values;
use crate::wording::counted;

/// How far the database's clock may differ from this machine's before `db check` reports it.
const CLOCK_TOLERANCE_SECONDS: i64 = 5;

/// Migrate and check the database
#[derive(Debug, clap::Subcommand)]
pub enum Database {
    /// Bring the schema up to date and stamp the database with the environment
    Migrate,
    /// Check the schema, the clock, the encoding, the time zone and the privileges
    Check,
}

impl Database {
    /// Runs the chosen command.
    pub async fn dispatch(&self, cx: &Context) -> anyhow::Result<()> {
        match self {
            Self::Migrate => migrate(cx).await,
            Self::Check => check(cx).await,
        }
    }
}

async fn migrate(cx: &Context) -> anyhow::Result<()> {
    cx.refuse_forgotten_environment()?;
    let mut db = cx.db_unchecked(true).await?;
    let before = db.readiness().await?;
    cx.refuse_other_environment(before.environment.as_deref())?;
    if before.version.is_some_and(|version| version > latest_version()) {
        return Err(
            Failure::configuration("the database's schema is newer than this batchctl supports").into()
        );
    }
    match &before.environment {
        _ if before.version.is_none() => cx.refuse_foreign_database(&mut db).await?,
        None => cx.refuse_unstamped_data(&mut db).await?,
        Some(_) => {}
    }
    db.migrate(cx.config.environment(), cx.machine_time()).await?;
    // Another process may have stamped it first, with another name.
    cx.refuse_other_environment(db.readiness().await?.environment.as_deref())?;
    db.close().await;
    let environment = cx.config.environment();
    cx.output.status(&match before.version {
        Some(version) if version == latest_version() => {
            format!("Schema of `{environment}` is up to date ({version})")
        }
        Some(version) => format!("Migrated `{environment}` from {version} to {}", latest_version()),
        None => format!("Created the schema ({}) and stamped the database `{environment}`", latest_version()),
    });
    Ok(())
}

/// One thing that was checked.
struct Finding {
    what: &'static str,
    value: String,
    problem: Option<String>,
}

impl Finding {
    fn new(what: &'static str, value: impl Into<String>, problem: Option<String>) -> Self {
        Self { what, value: value.into(), problem }
    }
}

async fn check(cx: &Context) -> anyhow::Result<()> {
    cx.refuse_forgotten_environment()?;
    let mut db = cx.db_unchecked(false).await?;
    let mut findings = vec![Finding::new("database", db.kind().name(), None)];
    findings.extend(check_schema(cx, &mut db).await?);
    match db.kind() {
        Kind::Sqlite => findings.extend(check_sqlite(&mut db).await?),
        Kind::Postgres => findings.extend(check_postgres(&mut db, cx.machine_time()).await?),
    }
    db.close().await;
    let mut report = String::new();
    for finding in &findings {
        let mark = if finding.problem.is_some() { "PROBLEM" } else { "ok" };
        let problem = finding.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
        report.push_str(&format!("{mark:<8} {:<12} {}{problem}\n", finding.what, finding.value));
    }
    cx.output.text(&report)?;
    let problems = findings.iter().filter(|finding| finding.problem.is_some()).count();
    if problems > 0 {
        let problems = counted(problems, "problem", "problems");
        return Err(Failure::configuration(format!("the database has {problems}")).into());
    }
    Ok(())
}

async fn check_schema(cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Finding>> {
    let readiness = db.readiness().await?;
    let version = readiness.version.map_or("none".to_owned(), |version| version.to_string());
    let migrate = format!("run `batchctl --env {} db migrate`", cx.config.environment());
    let schema_problem = match readiness.version {
        Some(version) if version == latest_version() => None,
        Some(version) if version > latest_version() => {
            Some("newer than this batchctl: install the version that migrated it".to_owned())
        }
        _ => Some(format!("{} is needed: {migrate}", latest_version())),
    };
    let environment_problem = match readiness.environment.as_deref() {
        Some(name) if name == cx.config.environment() => None,
        Some(_) => Some(format!("the command runs with --env {}", cx.config.environment())),
        None => Some(format!("not stamped: {migrate}")),
    };
    Ok(vec![
        Finding::new("schema", version, schema_problem),
        Finding::new("environment", readiness.environment.unwrap_or_default(), environment_problem),
    ])
}

async fn check_sqlite(db: &mut Db) -> anyhow::Result<Vec<Finding>> {
    let (journal,): (String,) = db.fetch_one("PRAGMA journal_mode", values![]).await?;
    let (integrity,): (String,) = db.fetch_one("PRAGMA quick_check(1)", values![]).await?;
    let (encoding,): (String,) = db.fetch_one("PRAGMA encoding", values![]).await?;
    let unless = |wrong: bool, problem: &str| wrong.then(|| problem.to_owned());
    let wal = unless(journal != "wal", "WAL is not on: is the file on a network file system?");
    let intact = unless(integrity != "ok", "the file is damaged: restore a backup");
    let utf8 = unless(encoding != "UTF-8", "UTF-8 is needed");
    Ok(vec![
        Finding::new("journal", journal, wal),
        Finding::new("integrity", integrity, intact),
        Finding::new("encoding", encoding, utf8),
        writable(db).await,
    ])
}

#[derive(FromRow)]
struct Server {
    version: String,
    encoding: String,
    time_zone: String,
    clock: DateTime<Utc>,
    can_create: bool,
    can_stage: bool,
}

async fn check_postgres(db: &mut Db, now: DateTime<Utc>) -> anyhow::Result<Vec<Finding>> {
    let server: Server = db
        .fetch_one(
            "SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
                    current_setting('TimeZone') AS time_zone, clock_timestamp() AS clock,
                    COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE) AS can_create,
                    has_database_privilege(current_database(), 'TEMPORARY') AS can_stage",
            values![],
        )
        .await?;
    let unless = |wrong: bool, problem: String| wrong.then_some(problem);
    let drift = (server.clock - now).num_seconds();
    Ok(vec![
        Finding::new("version", server.version, None),
        Finding::new(
            "encoding",
            server.encoding.as_str(),
            unless(server.encoding != "UTF8", "UTF8 is needed".into()),
        ),
        Finding::new(
            "time zone",
            server.time_zone.as_str(),
            unless(server.time_zone != "UTC", "the session is not in UTC".into()),
        ),
        Finding::new(
            "clock",
            format!("{drift} s from this machine's"),
            unless(drift.abs() > CLOCK_TOLERANCE_SECONDS, "synchronise both clocks with NTP".into()),
        ),
        Finding::new(
            "privileges",
            if server.can_create { "may migrate" } else { "may not migrate: that is for the tables' owner" },
            unless(
                !server.can_stage,
                "imports are staged in temporary tables: GRANT TEMPORARY ON DATABASE to this user".into(),
            ),
        ),
        writable(db).await,
    ])
}

/// Tries a write that changes nothing, to detect a read-only file, a full disk or a standby server.
async fn writable(db: &mut Db) -> Finding {
    let tried = db.execute("UPDATE batch_environment SET name = name WHERE id = 0", values![]).await;
    match tried {
        Ok(_) => Finding::new("write", "possible", None),
        Err(error) if error.kind() == DbErrorKind::MissingTable => {
            Finding::new("write", "not tried: no schema", None)
        }
        Err(error) => Finding::new("write", "refused", Some(error.to_string())),
    }
}
