//! All that a job may reach, opened lazily: the configuration, the database, the clock and the output.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use chrono_tz::Tz;

use crate::clock::{SUBSECOND_DIGITS, machine_time};
use crate::config::Config;
use crate::db::{Db, Kind, latest_version};
use crate::failure::Failure;
use crate::output::Output;

/// What a command works with.
pub struct Context {
    /// Every effective setting.
    pub config: Config,
    /// Where and how to speak.
    pub output: Output,
}

impl Context {
    /// The time for all business questions: the machine's, or the instant of `BATCHCTL_NOW`.
    pub fn now(&self) -> DateTime<Utc> {
        self.config.now().unwrap_or_else(machine_time).trunc_subsecs(SUBSECOND_DIGITS)
    }

    /// Today in the business time zone.
    pub fn today(&self) -> NaiveDate {
        crate::period::local_day(self.now(), self.time_zone())
    }

    /// The business time zone.
    pub fn time_zone(&self) -> Tz {
        self.config.time_zone()
    }

    /// Opens a connection that is ready for work: right environment, schema up to date. A SQLite file is
    /// created and migrated on first use; PostgreSQL only by `db migrate`.
    pub async fn db(&self) -> anyhow::Result<Db> {
        self.refuse_accidental_prod()?;
        let mut db = Db::connect(self.config.database_url(), true).await?;
        self.make_ready(&mut db).await?;
        Ok(db)
    }

    /// In prod the default database is made on purpose only: a crontab that starts in the wrong folder would find
    /// no settings, make an empty database there, and be content with it every night.
    fn refuse_accidental_prod(&self) -> anyhow::Result<()> {
        if !self.config.is_prod() || self.config.is_database_named() {
            return Ok(());
        }
        let file = self.config.working_dir().join("batchctl.db");
        if file.exists() {
            return Ok(());
        }
        Err(Failure::configuration(format!(
            "BATCHCTL_DATABASE_URL is not set for `prod`, and there is no `{}`",
            file.display()
        ))
        .hint("set it in .env.prod, or start in the folder that has it; `batchctl --env prod db migrate` makes a SQLite file here")
        .into())
    }

    /// Opens a connection without asking for the schema: for `db migrate` and `db check`.
    pub async fn db_unchecked(&self, create: bool) -> anyhow::Result<Db> {
        Ok(Db::connect(self.config.database_url(), create).await?)
    }

    /// Refuses a database of another environment, and one whose schema is not this program's.
    async fn make_ready(&self, db: &mut Db) -> anyhow::Result<()> {
        let readiness = db.readiness().await?;
        self.refuse_other_environment(readiness.environment.as_deref())?;
        match (readiness.version, db.kind()) {
            (Some(version), _) if version == latest_version() && readiness.environment.is_some() => Ok(()),
            (Some(version), _) if version > latest_version() => Err(Failure::configuration(format!(
                "the database's schema is newer ({version}) than this batchctl knows ({})",
                latest_version()
            ))
            .hint("install the batchctl that migrated it")
            .into()),
            (version, Kind::Sqlite) => {
                if version.is_none() {
                    self.refuse_foreign_database(db).await?;
                }
                db.migrate(self.config.environment(), machine_time()).await?;
                // Another process may have stamped it first, with another name.
                self.refuse_other_environment(db.readiness().await?.environment.as_deref())
            }
            (version, Kind::Postgres) => Err(Failure::configuration(match version {
                None => "the database has no batchctl schema yet".to_owned(),
                Some(version) => {
                    format!("the database's schema is at {version}, this batchctl needs {}", latest_version())
                }
            })
            .hint(format!("run `batchctl --env {} db migrate`", self.config.environment()))
            .into()),
        }
    }

    /// The guard of the environments: a database knows which it is.
    pub fn refuse_other_environment(&self, stamped: Option<&str>) -> anyhow::Result<()> {
        match stamped {
            Some(stamped) if stamped != self.config.environment() => Err(Failure::refused(format!(
                "this database is `{stamped}`, but the command runs with --env `{}`; nothing was changed",
                self.config.environment()
            ))
            .hint(format!("use `--env {stamped}`, or point BATCHCTL_DATABASE_URL at the right database"))
            .into()),
            _ => Ok(()),
        }
    }

    /// Where relative paths of a command start.
    pub fn working_dir(&self) -> PathBuf {
        self.config.working_dir().to_owned()
    }

    /// A database that holds somebody else's tables in our place is not ours to migrate.
    pub async fn refuse_foreign_database(&self, db: &mut Db) -> anyhow::Result<()> {
        let sql = db.pick(
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
            "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema()
             AND tablename IN ('malls', 'orders', 'products', 'members')",
        );
        let (theirs,): (i64,) = db.fetch_one(sql, vec![]).await?;
        // Another process may have migrated it since we looked: then they are ours.
        if theirs == 0 || db.readiness().await?.version.is_some() {
            return Ok(());
        }
        Err(Failure::refused("the database holds tables of another program; nothing was changed")
            .hint("give batchctl a database or a schema of its own: sqlite:batchctl.db, or postgres://…?options[search_path]=batchctl")
            .into())
    }
}
