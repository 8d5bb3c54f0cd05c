//! Everything a job may use, opened lazily: the configuration, the database, the clients and channels, the two clocks,
//! the output, and what has to finish before the process ends.
//!
//! It names no client, no channel and no job: those that are opened once and kept add a method to it in their own file
//! ([`Context::once`]).

mod ending;
mod opened;

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use chrono_tz::Tz;

use crate::clock::{self, SUBSECOND_DIGITS};
use crate::config::{Config, DEFAULT_FILE};
use crate::db::{self, Db, DbError, DbErrorKind, Kind, Place, latest_version};
use crate::failure::{Failure, FailureKind};
use crate::output::Output;
use crate::period::parse_moment;

use ending::Ending;
pub use ending::{MAX_END, Unfinished};
use opened::Opened;

/// The groups of commands, by which a command in an advice is known.
pub const GROUPS: [&str; 15] = [
    "alerts", "cart", "config", "data", "db", "env", "events", "mail", "mall", "order", "report", "runs",
    "schedule", "stats", "stock",
];

/// How a command begins.
const PROGRAM: &str = "batchctl ";

/// Nothing is known of the chosen environment.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
struct UnknownEnvironment {
    problem: String,
    /// The one that was probably meant.
    meant: Option<String>,
}

/// A text in which a file has another name: not where its name is the end of a path or a part of another one.
fn with_file(text: &str, file: &str, name: &str) -> String {
    let is_part_of_name =
        |character: char| character.is_alphanumeric() || matches!(character, '/' | '-' | '_');
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(file) {
        let is_another = before.ends_with(|last| is_part_of_name(last) || last == '.')
            || after.starts_with(is_part_of_name);
        named.push_str(before);
        named.push_str(if is_another { file } else { name });
        rest = after;
    }
    named + rest
}

/// What a command works with. Clones share what is opened, and end together.
#[derive(Clone)]
pub struct Context {
    /// Every effective setting.
    pub config: Config,
    /// Where and how messages are printed.
    pub output: Output,
    opened: Opened,
    ending: Ending,
}

impl Context {
    /// The context of a process.
    pub fn new(config: Config, output: Output) -> Self {
        Self { config, output, opened: Opened::default(), ending: Ending::default() }
    }

    /// The context of a command that runs in this process under other settings. It opens its own clients; the process
    /// still ends only once.
    #[must_use]
    pub fn under(&self, config: Config, output: Output) -> Self {
        Self { config, output, opened: Opened::default(), ending: self.ending.clone() }
    }

    /// The time for all business questions: the machine's, or the instant of `BATCHCTL_NOW`, which a rehearsal fixes.
    pub fn now(&self) -> DateTime<Utc> {
        self.config.now().unwrap_or_else(|| self.machine_time()).trunc_subsecs(SUBSECOND_DIGITS)
    }

    /// The machine's time, even in a rehearsal: for when a row was written, and for what an outside system compares
    /// with its own clock.
    #[expect(clippy::disallowed_methods, reason = "jobs ask the context")]
    pub fn machine_time(&self) -> DateTime<Utc> {
        clock::machine_time()
    }

    /// The single value of this type in this context, opened on first use. Opening only reads settings; a client
    /// connects with its first call. Only for the file that defines the type: others call the method that it adds
    /// here.
    pub fn once<T: Clone + Send + 'static, E>(&self, open: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.opened.get_or_open(open)
    }

    /// Does work that must not be interrupted halfway: the process waits for it before it ends, up to [`MAX_END`].
    /// `None`, without starting it, if the process is already ending. A stop still drops the future that awaits this,
    /// so spawn a task around it.
    pub async fn finish_before_exit<T>(
        &self,
        unfinished: &'static Unfinished,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        self.ending.keep(unfinished, work).await
    }

    /// Closes something cleanly when the process ends, which does not wait long for it.
    pub fn close_at_end(&self, farewell: impl Future<Output = ()> + Send + 'static) {
        self.ending.at_end(Box::pin(farewell));
    }

    /// The end of the process: waits for what must not be cut off, then closes what is open.
    pub async fn finish(&self) {
        self.ending.finish(&self.output).await;
    }

    /// Today in the business time zone.
    pub fn today(&self) -> NaiveDate {
        crate::period::local_day(self.now(), self.time_zone())
    }

    /// The business time zone.
    pub fn time_zone(&self) -> Tz {
        self.config.time_zone()
    }

    /// The moment that a flag names: a day, an instant or a duration before now.
    pub fn moment(&self, flag: &str, text: &str) -> Result<DateTime<Utc>, Failure> {
        parse_moment(text, self.now(), self.time_zone()).map_err(|error| {
            Failure::usage(format!("{flag}: {error}"))
                .hint("or an instant (RFC 3339), or a duration such as 2h")
        })
    }

    /// Opens a connection that is ready for work: right environment, schema up to date. Outside prod a SQLite file is
    /// created on first use. In prod the file that is not there is one that was moved, or on a disk that is not mounted,
    /// and the night's work on an empty one would succeed: it is created only by `db migrate`, as PostgreSQL's schema is.
    pub async fn db(&self) -> anyhow::Result<Db> {
        self.refuse_unknown_environment()?;
        let mut db = self.db_unchecked(!self.config.is_prod()).await?;
        self.make_ready(&mut db).await?;
        Ok(db)
    }

    /// Refuses an environment of which nothing is known: a misspelt name, or a crontab that starts in the wrong folder,
    /// would find no settings, create an empty database there, and run successfully on it every night.
    pub fn refuse_unknown_environment(&self) -> Result<(), Failure> {
        self.refuse_forgotten_environment()?;
        let config = &self.config;
        if config.is_database_named() || config.is_default_environment() || config.has_environment_file() {
            return Ok(());
        }
        let file = self.default_file();
        if file.exists() {
            return Ok(());
        }
        Err(self.unknown_environment(&format!("no `{}`", file.display()), None))
    }

    /// Refuses the default environment where only others have settings, and no database says that it is in use: `--env` was
    /// forgotten, and the run would succeed on an empty database of its own.
    pub fn refuse_forgotten_environment(&self) -> Result<(), Failure> {
        let config = &self.config;
        let others = config.environments_forgotten();
        if others.is_empty() || config.is_database_named() || self.default_file().exists() {
            return Ok(());
        }
        let name = config.environment();
        let files: Vec<String> = others.iter().map(|other| format!("`.env.{other}`")).collect();
        let flags: Vec<String> = others.iter().map(|other| format!("--env {other}")).collect();
        // All in the message: not everybody who shows it shows a hint.
        let problem = format!(
            "--env is missing: this folder has {}, and neither settings nor a database of `{name}`, the default; write {}, \
             or --env {name} if `{name}` is meant",
            files.join(" and "),
            flags.join(" or ")
        );
        let meant = config.environment_meant_instead(None);
        Err(Failure::of(FailureKind::Configuration, UnknownEnvironment { problem, meant }))
    }

    /// The SQLite file of whoever names no database.
    fn default_file(&self) -> PathBuf {
        self.working_dir().join("batchctl.db")
    }

    /// The same for `config check`, which looks into the SQLite file that would be used, if there is one.
    pub async fn refuse_unusable_environment(&self) -> anyhow::Result<()> {
        self.refuse_unknown_environment()?;
        if self.config.is_prod() {
            self.refuse_missing_file()?;
        }
        if self.config.is_database_named() || !self.default_file().exists() {
            return Ok(());
        }
        let mut db = self.db_unchecked(false).await?;
        let readiness = db.readiness().await;
        db.close().await;
        self.refuse_other_environment(readiness?.environment.as_deref())
    }

    /// `database` is what there is instead of its database: that of the environment `stamped`, or nothing.
    fn unknown_environment(&self, database: &str, stamped: Option<&str>) -> Failure {
        let config = &self.config;
        let name = config.environment();
        let settings =
            if config.has_environment_file() { String::new() } else { format!("no `.env.{name}`, ") };
        let problem = format!(
            "nothing is known of the environment `{name}`: {settings}no BATCHCTL_DATABASE_URL, and {database}"
        );
        let meant = config.environment_meant_instead(stamped);
        let mut hint =
            meant.as_ref().map(|meant| format!("did you mean --env {meant}? ")).unwrap_or_default();
        hint.push_str(&format!("set it in .env.{name}, or start in the folder that has it"));
        if stamped.is_none() {
            hint.push_str(&format!(
                "; only for a first set-up: `batchctl --env {name} db migrate` creates a SQLite file here"
            ));
        }
        Failure::of(FailureKind::Configuration, UnknownEnvironment { problem, meant }).hint(hint)
    }

    /// Opens a connection without checking the schema: for `db migrate` and `db check`.
    pub async fn db_unchecked(&self, create: bool) -> anyhow::Result<Db> {
        if !create && self.config.is_prod() {
            self.refuse_missing_file()?;
        }
        Db::connect(self.config.database_url(), create).await.map_err(|error| self.unusable(error).into())
    }

    /// Refuses a SQLite file that is not there, or has nothing in it.
    fn refuse_missing_file(&self) -> Result<(), Failure> {
        let Some(file) = db::sqlite_file(self.config.database_url()) else { return Ok(()) };
        match std::fs::metadata(self.working_dir().join(file)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(self.lost_file("does not exist"))
            }
            Ok(metadata) if metadata.len() == 0 => Err(self.lost_file("is empty")),
            _ => Ok(()),
        }
    }

    /// prod's SQLite file is not what it was. The first thing to think of is that it is elsewhere: whoever creates a new
    /// one in its place has two.
    fn lost_file(&self, problem: &str) -> Failure {
        let file = db::sqlite_file(self.config.database_url()).unwrap_or_default();
        let error = DbError::lost_file(&self.working_dir().join(file), problem);
        Failure::of(error.kind().into(), error)
            .hint(format!(
                "is its disk mounted, and is this the right folder? If its address is wrong, correct {}; only for a first \
                 set-up: `batchctl --env {} db migrate`",
                self.config.database_origin(),
                self.config.environment()
            ))
            .retry_once("once the file is there")
    }

    /// The database cannot be opened: whose move it is, and where its address was written.
    fn unusable(&self, error: DbError) -> Failure {
        let origin = self.config.database_origin();
        let kind = error.kind();
        let remedy = error.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
        let failure = Failure::of(kind.into(), error);
        match kind {
            DbErrorKind::Unreachable => failure
                .hint(format!("wait until it is back or start it; if its address is wrong, correct {origin}"))
                .retry_once("once the database answers"),
            DbErrorKind::Configuration => failure
                .hint(format!("{remedy}correct {origin}; `batchctl db check` reports whether it works"))
                .retry_once("once the database can be used"),
            _ => failure,
        }
    }

    /// Refuses a database of another environment, and one with another schema version.
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
                    if self.config.is_prod() {
                        return Err(self.lost_file("holds no batchctl schema").into());
                    }
                } else if readiness.environment.is_none() {
                    self.refuse_unstamped_data(db).await?;
                }
                db.migrate(self.config.environment(), self.machine_time()).await?;
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

    /// The guard between environments: a database knows which one it belongs to.
    pub fn refuse_other_environment(&self, stamped: Option<&str>) -> anyhow::Result<()> {
        match stamped {
            Some(stamped) if stamped != self.config.environment() => {
                let name = self.config.environment();
                let how = self.config.environment_origin();
                let place = Place::of(self.config.database_url());
                if !self.config.is_database_named() && !self.config.has_environment_file() {
                    let database = format!("{place} is that of `{stamped}`");
                    return Err(self.unknown_environment(&database, Some(stamped)).into());
                }
                let problem = format!(
                    "{place} is the database of `{stamped}`, but the command runs in `{name}` ({how})"
                );
                // Never the advice to change the environment: it may be the address that is wrong.
                let advice = format!(
                    "is it meant for `{name}`? Then point {} at the database of `{name}`. \
                     If not, choose the environment that is meant by --env",
                    self.config.database_origin()
                );
                Err(Failure::refused(problem).hint(advice).into())
            }
            _ => Ok(()),
        }
    }

    /// A command for a person to type: it means this environment, and without a terminal, where nobody knows what folder
    /// a message comes from, this folder.
    pub fn command(&self, words: &str) -> String {
        if self.output.is_watched() { self.local_command(words) } else { self.full_command(words) }
    }

    /// The same from any folder, for messages that are read elsewhere.
    pub fn full_command(&self, words: &str) -> String {
        let folder = self.working_dir().to_string_lossy();
        match shlex::try_quote(&folder) {
            Ok(folder) => format!("cd {folder} && {}", self.local_command(words)),
            Err(_) => self.local_command(words),
        }
    }

    /// The same for output that is read where it was asked for.
    pub fn local_command(&self, words: &str) -> String {
        format!("{PROGRAM}--env {} {words}", self.config.environment())
    }

    /// The same for a command that did not start for this error: in the environment that was probably meant, if nothing
    /// is known of the one that was given.
    pub fn command_as_meant(&self, words: &str, error: &anyhow::Error) -> String {
        let given = format!("--env {} ", self.config.environment());
        let unknown = error.chain().find_map(|cause| cause.downcast_ref::<UnknownEnvironment>());
        let command = self.command(words);
        match unknown.and_then(|unknown| unknown.meant.as_ref()) {
            Some(meant) => command.replacen(&given, &format!("--env {meant} "), 1),
            None => command,
        }
    }

    /// An advice whose commands and files are those of this environment and folder: pasted as they stand, they must not
    /// mean other ones.
    pub fn hint(&self, advice: &str) -> String {
        self.spelt_out(advice, !self.output.is_watched())
    }

    /// The same for messages that are read elsewhere, even if somebody is watching here.
    pub fn full_hint(&self, advice: &str) -> String {
        self.spelt_out(advice, true)
    }

    fn spelt_out(&self, advice: &str, is_read_elsewhere: bool) -> String {
        let shown = |file: &str| {
            if is_read_elsewhere {
                self.working_dir().join(file).to_string_lossy().into_owned()
            } else {
                file.to_owned()
            }
        };
        let variables = self.config.variables_file();
        let advice = with_file(advice, DEFAULT_FILE, &shown(self.config.file_name()))
            .replace(&format!("in {variables}"), &format!("in {}", shown(&variables)));
        let mut hint = String::with_capacity(advice.len());
        let mut rest = advice.as_str();
        while let Some(at) = rest.find(PROGRAM) {
            let (before, after) = rest.split_at(at);
            let words = after.strip_prefix(PROGRAM).unwrap_or(after);
            let own_environment = format!("--env {} ", self.config.environment());
            let words = words.strip_prefix(&own_environment).unwrap_or(words);
            hint.push_str(before);
            if GROUPS.contains(&words.split([' ', '`', ',', ':']).next().unwrap_or_default()) {
                let command = if is_read_elsewhere { self.full_command("") } else { self.local_command("") };
                hint.push_str(&command);
            } else {
                hint.push_str(PROGRAM);
            }
            rest = words;
        }
        hint + rest
    }

    /// Where relative paths of a command start.
    pub fn working_dir(&self) -> &Path {
        self.config.working_dir()
    }

    /// A database that has data and does not say whose it is must not be given to whoever comes first: it may be prod's.
    pub async fn refuse_unstamped_data(&self, db: &mut Db) -> anyhow::Result<()> {
        // One by one: a migration by another process locks them all, in an order of its own.
        let mut has_data = false;
        for table in ["malls", "batch_execution", "mails"] {
            let sql = format!("SELECT CAST(id AS BIGINT) FROM {table} LIMIT 1");
            match db.fetch_optional::<(i64,)>(&sql, vec![]).await {
                Ok(row) => has_data |= row.is_some(),
                // That process is still at work, and there is no data yet.
                Err(error) if error.kind() == DbErrorKind::MissingTable => {}
                Err(error) => return Err(error.into()),
            }
        }
        // It may have stamped it since we looked.
        if !has_data || db.readiness().await?.environment.is_some() {
            return Ok(());
        }
        let place = Place::of(self.config.database_url());
        let problem =
            format!("{place} has data, but the row that says which environment it belongs to is gone");
        let hint = "whoever knows it restores the row: INSERT INTO batch_environment (id, name, stamped_at) \
                    VALUES (1, 'NAME', '2026-01-01T00:00:00+00:00')";
        Err(Failure::refused(problem).hint(hint).into())
    }

    /// A database that contains another program's tables instead of ours must not be migrated.
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
        Err(Failure::refused("the database contains tables of another program; nothing was changed")
            .hint("give batchctl a database or a schema of its own: sqlite:batchctl.db, or postgres://…?options[search_path]=batchctl")
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::with_file;

    #[test]
    fn only_a_name_that_stands_alone_is_replaced() {
        let named = |text| with_file(text, "batchctl.toml", "/etc/shop.toml");
        assert_eq!(named("map it in batchctl.toml, [a]"), "map it in /etc/shop.toml, [a]");
        assert_eq!(named("`batchctl.toml`: batchctl.toml"), "`/etc/shop.toml`: /etc/shop.toml");
        for other in ["/srv/batchctl.toml", "my-batchctl.toml", "batchctl.toml_old", "x.batchctl.toml", ""] {
            assert_eq!(named(other), other);
        }
    }
}
