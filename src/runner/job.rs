//! What a job is to the runner: its constants, its units of work, and the work itself.

use std::num::NonZeroUsize;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};

use crate::context::Context;
use crate::db::Db;
use crate::locale::group_digits;
use crate::period::DayRange;
use crate::severity::Severity;
use crate::shop::malls::{Mall, MallArgs};

use super::history::Counts;
use super::run::Run;

/// What may not run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// One run of the job at a time. A second one exits at once with 75.
    Job,
    /// One run of each exclusion key at a time (see [`Planned::exclusive_by`]). A second one waits, up to the
    /// deadline, so that a nightly run is never lost.
    Instance,
    /// Any number at the same time: rows are claimed one by one.
    Shared,
}

/// A job's constants: the one source of its help, manual page, crontab comment and README row.
#[derive(Debug, Clone, Copy)]
pub struct JobSpec {
    /// Its name: the words of the subcommand (`report daily-sales`).
    pub name: &'static str,
    /// What it does, in one line: imperative, without a period.
    pub summary: &'static str,
    /// What `--help` says beyond the summary: whole sentences, or nothing.
    pub details: &'static str,
    /// The page that describes it, relative to the repository's root (`docs/mail.md`).
    pub page: Option<&'static str>,
    /// When it usually runs, as crontab's five fields in the business time zone; `None` if a person starts it.
    pub schedule: Option<&'static str>,
    /// How long one instance may take.
    pub deadline: Duration,
    /// How bad a failure is.
    pub severity: Severity,
    /// What may not run at the same time.
    pub exclusion: Exclusion,
    /// What it works on.
    pub items: Items,
}

/// What a job works on, item by item, in the words in which people are told what is done after a failure.
#[derive(Debug, Clone, Copy)]
pub struct Items {
    /// One of them: `order`.
    pub one: &'static str,
    /// Several: `orders`.
    pub many: &'static str,
    /// What a finished one is: `stored`.
    pub done: &'static str,
    /// Whether only those count as finished that the run counts as written: a mail that was read may have to wait.
    pub(super) only_written: bool,
}

impl Items {
    /// Items by their noun and what a finished one is.
    pub const fn new(one: &'static str, many: &'static str, done: &'static str) -> Self {
        Self { one, many, done, only_written: false }
    }

    /// Items that are finished only once the run counts them as written.
    pub const fn finished_when_written(one: &'static str, many: &'static str, done: &'static str) -> Self {
        Self { only_written: true, ..Self::new(one, many, done) }
    }

    /// What a run says of which all items are done, some of them with results that are not final.
    pub(super) fn provisional(&self, count: u64, of: u64) -> String {
        let noun = if of == 1 { self.one } else { self.many };
        let are = if count == 1 { "is" } else { "are" };
        format!("{count} of {of} {noun} {are} provisional: not all data has arrived")
    }

    /// What a run that did not succeed leaves behind, from what is committed. `read` is the number of items if the run
    /// came to its end; `left_out` is the number of items that were given up on because of another one, less the
    /// failures that are not those of items.
    pub(super) fn left_behind(
        &self,
        counts: Counts,
        left_out: i64,
        has_committed: bool,
        is_work_done: bool,
    ) -> String {
        let Self { one, many, done, only_written } = self;
        let given_up = (counts.skipped + counts.failed).saturating_add_signed(left_out);
        let read = counts.read.max(given_up);
        let finished =
            if *only_written || !has_committed { counts.written.min(read) } else { read - given_up };
        let is = |count: u64| if count == 1 { "is" } else { "are" };
        // What is finished only when it is counted may have changed without: a mail is given up.
        if finished == 0 && !(*only_written && given_up > 0) {
            return "nothing was changed".to_owned();
        }
        let grouped = |count: u64| group_digits(&count.to_string());
        let shown = grouped(finished);
        if is_work_done {
            let (left, of) = (read - finished, grouped(read));
            if left == 0 {
                return format!("{shown} {} {} {done}", if read == 1 { one } else { many }, is(finished));
            }
            return format!(
                "{shown} of {of} {} {} {done}; {} {} not",
                if read == 1 { one } else { many },
                is(if read == 1 { 1 } else { finished }),
                grouped(left),
                is(left)
            );
        }
        let noun = if finished == 1 { one } else { many };
        format!("{shown} {noun} {} {done}; the rest is not", is(finished))
    }
}

/// Minutes, for specs.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// One planned instance of a job: the unit of work, and what the runner has to know about it.
#[derive(Debug, Clone)]
pub struct Planned<U> {
    pub(super) unit: U,
    pub(super) key: String,
    pub(super) title: Option<String>,
    pub(super) exclusion: String,
    pub(super) lane: String,
    /// Whether it is done again if its data has changed since.
    pub(super) is_refreshed: bool,
    /// Whether it was added to what the command asks for.
    pub(super) is_added: bool,
    /// The arguments that differ in the line that repeats this instance, by clap's id; no values if the argument is
    /// omitted there.
    pub(super) arguments: Vec<(&'static str, Vec<String>)>,
}

impl<U> Planned<U> {
    /// The only instance of a job without identifying parameters, which sweeps or drains whatever is there. A second
    /// run after a success does the work again.
    pub fn sweep(unit: U) -> Self {
        Self::new("", unit)
    }

    /// An instance with identifying parameters, as one stable text (`2026-11-19`). Once completed, it is not run
    /// again.
    pub fn new(key: impl Into<String>, unit: U) -> Self {
        Self {
            unit,
            key: key.into(),
            title: None,
            exclusion: String::new(),
            lane: String::new(),
            is_refreshed: false,
            is_added: false,
            arguments: Vec::new(),
        }
    }

    /// Has the instance done again if it is complete and its data has changed since (see [`Freshness::Stale`]).
    #[must_use]
    pub fn refreshed(self, is_refreshed: bool) -> Self {
        Self { is_refreshed, ..self }
    }

    /// Says that the command does not ask for the instance, but does it beside: a retry of the command's own end leaves it
    /// out.
    #[must_use]
    pub fn added(self, is_added: bool) -> Self {
        Self { is_added, ..self }
    }

    /// What people call the instance, where its key means nothing to them: the file whose content the key is made of. A
    /// failure is over when what has this title succeeds.
    #[must_use]
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets the key that separates instances under [`Exclusion::Instance`], without the job's name. By default all
    /// instances of the job exclude each other.
    #[must_use]
    pub fn exclusive_by(mut self, exclusion: impl Into<String>) -> Self {
        self.exclusion = exclusion.into();
        self
    }

    /// Puts the instance into a lane: a part of the work that succeeds or fails independently (a mall). Instances of
    /// one lane run one after the other, in the order given; lanes run at the same time (see [`Job::lanes`]), and a
    /// failure in one leaves the others alone. Without a lane all instances depend on the same things: if an outside
    /// system fails for one, the command ends.
    #[must_use]
    pub fn in_lane(mut self, lane: impl Into<String>) -> Self {
        self.lane = lane.into();
        self
    }

    /// Sets an argument, by clap's id, in the line that repeats this instance. All other arguments stay as the user
    /// gave them.
    #[must_use]
    pub fn with(mut self, argument: &'static str, value: impl Into<String>) -> Self {
        self.arguments.push((argument, vec![value.into()]));
        self
    }

    /// Leaves an argument out of the line that repeats this instance.
    #[must_use]
    pub fn without(mut self, argument: &'static str) -> Self {
        self.arguments.push((argument, Vec::new()));
        self
    }

    /// Resolves the three arguments of [`crate::period::DateArgs`] to one day.
    #[must_use]
    pub fn on(self, day: NaiveDate) -> Self {
        self.with("date", day.to_string()).without("from").without("to")
    }

    /// Resolves `--mall` to these malls' codes, if any were named.
    #[must_use]
    pub fn at(mut self, flag: &MallArgs, malls: &[Mall]) -> Self {
        if !flag.named().is_empty() {
            self.arguments.push(("mall", malls.iter().map(|mall| mall.code.clone()).collect()));
        }
        self
    }
}

/// Until when a start can be made up for.
#[derive(Debug, Clone, Copy)]
pub struct LastChance {
    /// From then on its work can no longer be done.
    pub until: DateTime<Utc>,
    /// The flag, by clap's id, with which what is left of it can still be done.
    pub flag_afterwards: &'static str,
}

/// Whether the results of a completed instance are still current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// There is nothing to do. The text, if any, says what changed since ("13 orders of that day are newer").
    Current(Option<String>),
    /// Something has become due since (a new mall): it has to run again.
    Due(String),
    /// The same, while the data of what it has done has changed or come since.
    DueAndStale(String),
    /// Its data has changed since, as the text says ("13 orders of that day are newer"). It runs again if that was asked for,
    /// or if it is one that is kept up to date (see [`Planned::refreshed`]).
    Stale(String),
}

/// A job: its parameters are the implementing type.
#[expect(async_fn_in_trait, reason = "jobs run on one task; none of their futures has to be Send")]
pub trait Job {
    /// Its constants.
    const SPEC: JobSpec;

    /// What one instance works on, as the job's own type.
    type Unit: 'static;

    /// What is to be done, oldest first: a range of days is one instance per day. Bad arguments fail here.
    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<Self::Unit>>>;

    /// The days that the command means when it is started without days on the day `today`: a start that was lost in an
    /// outage has to mean them later.
    fn days_of_start(&self, _today: NaiveDate) -> Option<MeantDays> {
        None
    }

    /// A flag, by clap's id, that is in force without days: a start that was lost, which is repeated with them, needs it.
    fn flag_without_days(&self) -> Option<&'static str> {
        None
    }

    /// For work that only its own day can do: until when a start that was lost in an outage can be made up for.
    fn last_chance(&self, _cx: &Context) -> Option<LastChance> {
        None
    }

    /// How many lanes run at the same time, each over its own connection (see [`Planned::in_lane`]).
    fn lanes(&self, _cx: &Context) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    /// Whether the results of a completed instance are still current, as far as that is cheap to find out.
    async fn freshness(
        &self,
        _cx: &Context,
        _db: &mut Db,
        _completed: &Completed<'_, Self::Unit>,
    ) -> anyhow::Result<Freshness> {
        Ok(Freshness::Current(None))
    }

    /// The newest run that stored results of an instance, if that may be one of another instance: of all malls, while this one
    /// is of some of them.
    async fn stored_by(
        &self,
        _cx: &Context,
        _db: &mut Db,
        _unit: &Self::Unit,
    ) -> anyhow::Result<Option<i64>> {
        Ok(None)
    }

    /// What a dry run finds out beyond what would run, such as whether a file is good. It stores nothing.
    async fn try_out(&self, _cx: &Context, _db: &mut Db) -> anyhow::Result<()> {
        Ok(())
    }

    /// Does the work of one instance.
    async fn run(&self, run: &mut Run<'_>, unit: &Self::Unit) -> anyhow::Result<()>;

    /// Clears away what an instance came from, once its end is stored: a file that was imported leaves the folder of those
    /// that wait. Runs after each instance, even if it had been completed before or failed; a command that is killed before
    /// does it at its next start, so that it has to be able to do so again. A failure is told, and changes no result.
    async fn clear_away(&self, _cx: &Context, _db: &mut Db, _unit: &Self::Unit) -> anyhow::Result<()> {
        Ok(())
    }

    /// Shows or writes the output that was asked for, from the stored results of the completed instances. Runs once at
    /// the end, even if all of them had been completed before.
    async fn deliver(&self, _cx: &Context, _db: &mut Db, _completed: &[&Self::Unit]) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The days that a command means which was started without days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeantDays {
    /// Those of the day in the business time zone.
    OfBusiness(DayRange),
    /// Those of the day in each mall's own zone, which at one instant may differ.
    OfMalls(DayRange),
}

impl MeantDays {
    /// The days, whosever they are.
    pub(super) fn days(self) -> DayRange {
        let (Self::OfBusiness(days) | Self::OfMalls(days)) = self;
        days
    }
}

/// A completed instance: its unit, and the run that completed it.
pub struct Completed<'a, U> {
    /// The unit of work.
    pub unit: &'a U,
    /// The run that completed it.
    pub run: &'a super::history::Execution,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_behind_is_said_in_the_words_of_the_job() {
        let lines = Items::new("line", "lines", "stored");
        let counts = |read, written, skipped| Counts { read, written, skipped, failed: 0 };
        for (counts, has_committed, is_work_done, said) in [
            (counts(10_000, 9_000, 3), true, true, "9,997 of 10,000 lines are stored; 3 are not"),
            (counts(2, 1, 1), true, true, "1 of 2 lines is stored; 1 is not"),
            (counts(2, 0, 2), true, true, "nothing was changed"),
            (counts(1000, 0, 0), true, false, "1,000 lines are stored; the rest is not"),
            (counts(1, 1, 0), true, false, "1 line is stored; the rest is not"),
            (counts(1000, 0, 0), false, false, "nothing was changed"),
        ] {
            assert_eq!(lines.left_behind(counts, 0, has_committed, is_work_done), said);
        }
        let with_its_order = lines.left_behind(counts(10, 0, 1), 4, true, true);
        assert_eq!(with_its_order, "5 of 10 lines are stored; 5 are not");
        // What failed was no line.
        let failed = Counts { failed: 1, ..counts(10, 0, 0) };
        assert_eq!(lines.left_behind(failed, -1, true, true), "10 lines are stored");
        let mails = Items::finished_when_written("mail", "mails", "sent");
        assert_eq!(mails.left_behind(counts(10, 7, 1), 0, true, true), "7 of 10 mails are sent; 3 are not");
        assert_eq!(mails.left_behind(counts(2, 0, 2), 0, true, true), "0 of 2 mails are sent; 2 are not");
        assert_eq!(mails.left_behind(counts(1, 0, 1), 0, true, true), "0 of 1 mail is sent; 1 is not");
        assert_eq!(mails.left_behind(counts(10, 0, 0), 0, true, false), "nothing was changed");
    }
}
