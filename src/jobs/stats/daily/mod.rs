//! `stats daily`: what each mall sold on a business day, as a row and as an event for other systems.
//!
//! Runs at midnight for the last finished day of each mall, in the mall's own time zone: at midnight in Tokyo the day of a
//! mall in New York is not over, and is done the next night. A day that is there is passed over.
//!
//! At midnight not every sale of the day is there: a payment of its last second may be committed a second later, or by a host
//! whose clock is behind. So the runs of the next nights compute the day once more, and tell of what has changed.
//!
//! A day whose data has not come is provisional: its row says what is missing, nobody is told, and a later run that finds
//! the data makes it final.

mod store;

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::jobs::report::periods::{self, Step};
use crate::jobs::report::{awaited, by_mall};
use crate::period::{DateArgs, DayRange, day_bounds};
use crate::runner::{Completed, Exclusion, Freshness, Items, Job, JobSpec, MeantDays, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::arrivals::Awaited;
use crate::shop::malls::{Mall, MallArgs};
use crate::values;
use crate::wording::counted;

use self::store::{Computation, lacking, provisional_days, store_mall};

/// For how many days before the last finished one a run looks whether their figures have changed. The next night would do;
/// the others are for nights without a run.
const LATE_DAYS: u64 = 3;
/// For how many days a provisional day is made final by itself, as in the reports.
const PROVISIONAL_DAYS: u64 = 14;

/// A mall without an order is believed to have sold nothing for so long before it was added. An earlier day is a typo.
const DAYS_BEFORE_ADDED: i64 = 366;

/// Arguments of `stats daily`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    dates: DateArgs,
    #[command(flatten)]
    malls: MallArgs,
}

/// A mall whose day could not be stored; the others of that day still are.
#[derive(Debug, thiserror::Error)]
#[error("failed to store the statistics of mall `{mall}`")]
struct MallFailure {
    mall: String,
    #[source]
    cause: anyhow::Error,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "stats daily",
        summary: "Store each mall's orders and sales of a business day, and tell other systems of them",
        details: "A day that is stored is passed over, unless its figures have changed within three days. A day whose data \
                  has not come is provisional, and told of only once it has.",
        page: Some("docs/statistics.md"),
        schedule: Some("0 0 * * *"),
        deadline: minutes(10),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
        items: Items::new("mall", "malls", "stored"),
    };

    type Unit = NaiveDate;

    fn days_of_start(&self, today: NaiveDate) -> Option<MeantDays> {
        Some(MeantDays::OfMalls(Step::Day.last_finished_on(today)))
    }

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<NaiveDate>>> {
        let malls = self.malls.selected(db).await?;
        awaited::check_malls(cx, db).await?;
        let asked = periods::asked(cx, Step::Day, &self.dates, &malls, None)?;
        if malls.is_empty() {
            cx.output.status("No active mall: nothing to store (add one with `batchctl mall add`)");
            return Ok(Vec::new());
        }
        let mut days = asked.clone();
        if let Some(&last) = asked.last().filter(|_| self.dates.is_given()) {
            let over = self.malls_of(cx, db, last).await?;
            if begun(db, last, over).await?.0.is_empty() {
                return Err(Failure::usage(format!(
                    "{last} is before anything that is known of {}",
                    codes(&malls)
                ))
                .hint("a mall's figures begin with its first order, or a year before it was added: is the year right?")
                .into());
            }
        }
        if !self.dates.is_given() {
            days.extend(self.days_whose_data_has_come(cx, db, &malls, &asked).await?);
            days.extend(days_that_have_changed(cx, db, &malls).await?);
        }
        let planned =
            |day| self.planned(day, &malls).added(!asked.contains(&day)).refreshed(!self.dates.is_given());
        Ok(days.into_iter().map(planned).collect())
    }

    async fn freshness(
        &self,
        cx: &Context,
        db: &mut Db,
        completed: &Completed<'_, NaiveDate>,
    ) -> anyhow::Result<Freshness> {
        let day = *completed.unit;
        let over = self.malls_of(cx, db, day).await?;
        let (malls, _) = begun(db, day, over).await?;
        let lacking = lacking(db, day, malls.clone()).await?;
        if !lacking.is_empty() {
            return Ok(Freshness::Due(format!("no final statistics yet for {}", codes(&lacking))));
        }
        let changed = changed(cx, db, day, malls).await?;
        if changed.is_empty() {
            return Ok(Freshness::Current(None));
        }
        Ok(Freshness::Stale(format!("the figures of {} have changed since", codes(&changed))))
    }

    async fn run(&self, run: &mut Run<'_>, day: &NaiveDate) -> anyhow::Result<()> {
        let day = *day;
        let over = self.malls_of(run.cx, run.db, day).await?;
        let mut not_over = self.malls.selected(run.db).await?;
        not_over.retain(|mall| over.iter().all(|other| other.id != mall.id));
        let (begun, not_begun) = begun(run.db, day, over).await?;
        let wanted: Vec<Mall> = begun.into_iter().filter(|mall| run.is_wanted(&mall.code)).collect();
        let all = wanted.len();
        let due = if run.is_asked_again() { wanted } else { due(run, day, wanted).await? };
        let passed_over = all - due.len();
        let malls = run.usable_malls(due);
        run.read(malls.len() as u64);
        let (mut stored, mut awaiting) = (0, Vec::new());
        for (mall, _) in malls {
            if let Some(awaited) = store(run, day, &mall).await? {
                stored += 1;
                awaiting.extend(awaited.map(|awaited| (mall, awaited)));
            }
        }
        run.written(stored);
        awaited::note_in_run(run, &awaiting);
        run.summarise(sentence(stored, passed_over, &not_over, &not_begun));
        Ok(())
    }
}

impl Args {
    /// The instance of a day: its key names the malls if some were selected, by code, however they were given.
    fn planned(&self, day: NaiveDate, malls: &[Mall]) -> Planned<NaiveDate> {
        let mut key = day.to_string();
        if !self.malls.named().is_empty() {
            let codes: Vec<&str> = malls.iter().map(|mall| mall.code.as_str()).collect();
            key = format!("{day} mall={}", codes.join(","));
        }
        Planned::new(key, day).exclusive_by(day.to_string()).on(day).at(&self.malls, malls)
    }

    /// The selected malls in which the day is over.
    async fn malls_of(&self, cx: &Context, db: &mut Db, day: NaiveDate) -> anyhow::Result<Vec<Mall>> {
        periods::malls_of(cx, db, &self.malls, DayRange::single(day), false).await
    }

    /// The provisional days before those that are asked for that can be made final now.
    async fn days_whose_data_has_come(
        &self,
        cx: &Context,
        db: &mut Db,
        malls: &[Mall],
        asked: &BTreeSet<NaiveDate>,
    ) -> anyhow::Result<BTreeSet<NaiveDate>> {
        let Some(&last) = asked.last() else { return Ok(BTreeSet::new()) };
        let first = last.checked_sub_days(Days::new(PROVISIONAL_DAYS)).unwrap_or(last);
        let window = DayRange::new(first, last)?;
        let mut come = BTreeSet::new();
        for (day, mall) in provisional_days(db, malls, window).await? {
            if store::awaited_of(db, cx.config.freshness(), mall, day).await?.is_none() {
                come.insert(day);
            }
        }
        Ok(come)
    }
}

/// The malls as a sentence names them.
fn codes(malls: &[Mall]) -> String {
    malls.iter().map(|mall| mall.code.as_str()).collect::<Vec<_>>().join(", ")
}

/// The malls of which it is known what they sold on a day, even if that is nothing; and those of which nobody knows: they have no
/// order from before its end, and were added much later. A row of zeros would say that they sold nothing.
async fn begun(db: &mut Db, day: NaiveDate, malls: Vec<Mall>) -> anyhow::Result<(Vec<Mall>, Vec<Mall>)> {
    let (mut begun, mut not_begun) = (Vec::new(), Vec::new());
    for mall in malls {
        // One whose time zone is unknown fails by its name.
        let has_begun = match mall.time_zone() {
            Ok(time_zone) => has_begun(db, &mall, day_bounds(day, time_zone).end).await?,
            Err(_) => true,
        };
        if has_begun { &mut begun } else { &mut not_begun }.push(mall);
    }
    Ok((begun, not_begun))
}

/// Whether a mall has orders from before a time, or was added soon enough after it.
async fn has_begun(db: &mut Db, mall: &Mall, end: DateTime<Utc>) -> anyhow::Result<bool> {
    let sql = "SELECT m.created_at < $3
                   OR EXISTS (SELECT 1 FROM orders o WHERE o.mall_id = m.id AND o.ordered_at < $2)
               FROM malls m WHERE m.id = $1";
    let added = end + TimeDelta::days(DAYS_BEFORE_ADDED);
    let (has_begun,): (bool,) = db.fetch_one(sql, values![mall.id, end, added]).await?;
    Ok(has_begun)
}

/// Those of the malls whose day lacks final figures, or has other ones than others were told.
async fn due(run: &mut Run<'_>, day: NaiveDate, malls: Vec<Mall>) -> anyhow::Result<Vec<Mall>> {
    let lacking = lacking(run.db, day, malls.clone()).await?;
    let is_lacking = |mall: &Mall| lacking.iter().any(|other| other.id == mall.id);
    let complete: Vec<Mall> = malls.iter().filter(|mall| !is_lacking(mall)).cloned().collect();
    let changed = changed(run.cx, run.db, day, complete).await?;
    let is_due = |mall: &Mall| is_lacking(mall) || changed.iter().any(|other| other.id == mall.id);
    Ok(malls.into_iter().filter(is_due).collect())
}

/// Those of the malls, whose day has final figures, of which they have changed, if the day is one that is looked at again.
async fn changed(cx: &Context, db: &mut Db, day: NaiveDate, malls: Vec<Mall>) -> anyhow::Result<Vec<Mall>> {
    let mut changed = Vec::new();
    for mall in malls {
        let last = Step::Day.last_finished(cx.now(), periods::zone_of(cx, &mall)).first();
        let is_late =
            day < last && day.checked_add_days(Days::new(LATE_DAYS)).is_some_and(|until| until >= last);
        if !is_late {
            continue;
        }
        match store::has_changed(db, day, &mall).await {
            Ok(false) => {}
            Err(error) if by_mall::is_fault_of_database(&error) => return Err(error),
            // What can no longer be computed has changed too: the run says what is wrong.
            Ok(true) | Err(_) => changed.push(mall),
        }
    }
    Ok(changed)
}

/// The days before the last finished one of a mall whose final figures have changed.
async fn days_that_have_changed(
    cx: &Context,
    db: &mut Db,
    malls: &[Mall],
) -> anyhow::Result<BTreeSet<NaiveDate>> {
    let mut days = BTreeSet::new();
    for mall in malls {
        let last = Step::Day.last_finished(cx.now(), periods::zone_of(cx, mall)).first();
        for back in 1..=LATE_DAYS {
            let Some(day) = last.checked_sub_days(Days::new(back)) else { continue };
            let is_lacking = !lacking(db, day, vec![mall.clone()]).await?.is_empty();
            if !is_lacking && !changed(cx, db, day, vec![mall.clone()]).await?.is_empty() {
                days.insert(day);
            }
        }
    }
    Ok(days)
}

/// Stores a mall's day, in a commit of its own, and returns what its figures still wait for. `None` if that failed: the mall
/// is a failed item, and the others go on.
async fn store(run: &mut Run<'_>, day: NaiveDate, mall: &Mall) -> anyhow::Result<Option<Option<Awaited>>> {
    let computation = Computation { run: run.id(), now: run.cx.now(), freshness: run.cx.config.freshness() };
    let stored = run
        .chunk(None::<&str>, async |db| {
            store_mall(db, &computation, day, mall).await.map_err(|cause| {
                if by_mall::is_fault_of_database(&cause) {
                    cause
                } else {
                    MallFailure { mall: mall.code.clone(), cause }.into()
                }
            })
        })
        .await;
    match stored.map_err(anyhow::Error::downcast::<MallFailure>) {
        Ok(awaited) => Ok(Some(awaited)),
        Err(Ok(failure)) => {
            run.fail_item(&failure.mall, "store", &failure.cause);
            Ok(None)
        }
        Err(Err(error)) => Err(error),
    }
}

/// "stored the statistics of 2 malls, 1 was there already, not over yet: new-york"
fn sentence(stored: u64, passed_over: usize, not_over: &[Mall], not_begun: &[Mall]) -> String {
    let mut sentence = format!("stored the statistics of {}", counted(stored, "mall", "malls"));
    if passed_over > 0 {
        let were = if passed_over == 1 { "was" } else { "were" };
        sentence.push_str(&format!(", {passed_over} {were} there already"));
    }
    if !not_over.is_empty() {
        sentence.push_str(&format!(", not over yet: {}", codes(not_over)));
    }
    if !not_begun.is_empty() {
        sentence.push_str(&format!(", nothing is known of that day: {}", codes(not_begun)));
    }
    sentence
}
