//! What all reports share: their instances, their publication and their mails. It makes every [`Report`] a [`Job`].

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::context::Context;
use crate::db::Db;
use crate::documents::{Document, Table};
use crate::failure::{self, Failure, one_line};
use crate::locale::Locale;
use crate::period::{DateArgs, DayRange};
use crate::runner::{Completed, Freshness, Job, JobSpec, MeantDays, Planned, Run, failpoint};
use crate::shop::malls::{Mall, MallArgs};
use crate::wording::{command, counted};

use super::awaited;
use super::delivery::{Letter, Mailing, Sender, report_name};
use super::outdated::{self, FigureTable};
use super::periods::{self, Step};
use super::publication::{Content, Extent, PublicationArgs, first_failure};
use super::shown_malls;
use super::soundness::Unreadable;
use super::stale::{self, MOST_EARLIER};
use super::told::{self, Standing, TOLD_DAYS};

/// How many days a nightly run looks back at: most returns and late payments are in by then, and whoever is responsible for
/// a file that never came has noticed.
const STALE_DAYS: u64 = 14;

/// The arguments of every report.
#[derive(Debug, Clone, clap::Args)]
pub struct ReportArgs {
    /// The days.
    #[command(flatten)]
    pub dates: DateArgs,
    /// The malls.
    #[command(flatten)]
    pub malls: MallArgs,
    /// Without days, also compute those of the last N days again whose data has changed since, and up to 31 earlier ones, and
    /// tell the recipients of their mails what has changed; 0 for none
    #[arg(long, value_name = "N", default_value_t = STALE_DAYS, value_parser = clap::value_parser!(u64).range(..=TOLD_DAYS))]
    pub stale_days: u64,
    /// The formats and their destination.
    #[command(flatten)]
    pub publication: PublicationArgs,
}

impl ReportArgs {
    /// The selected malls in which the period is over, or has begun if `so_far`.
    pub async fn malls_of(
        &self,
        cx: &Context,
        db: &mut Db,
        period: DayRange,
        so_far: bool,
    ) -> anyhow::Result<Vec<Mall>> {
        periods::malls_of(cx, db, &self.malls, period, so_far).await
    }
}

/// For whom figures are loaded.
pub enum Audience<'m> {
    /// The person who started the command.
    Command,
    /// The recipients of a mail.
    Mail(&'m Mailing),
}

impl Audience<'_> {
    /// The malls whose figures it gets.
    pub async fn malls(&self, args: &ReportArgs, db: &mut Db) -> anyhow::Result<Vec<Mall>> {
        match self {
            Self::Command => args.malls.selected(db).await,
            Self::Mail(mailing) => Ok(mailing.malls.clone()),
        }
    }
}

/// A report on the figures of a period: the parts in which reports differ.
#[expect(async_fn_in_trait, reason = "jobs run on one task; none of their futures has to be Send")]
pub trait Report {
    /// The job's constants.
    const SPEC: JobSpec;
    /// How long a period is.
    const STEP: Step;
    /// Whether each period is a separate document, because the report covers a single period.
    const IS_SHOWN_BY_PERIOD: bool;
    /// Whether each period is a separate mail.
    const IS_MAILED_BY_PERIOD: bool;
    /// Whether its mails carry the report as it prints, unless other files are asked for; not if the mail contains
    /// everything.
    const IS_ATTACHED: bool;

    /// Where it stores its figures, by period and mall.
    const TABLE: Option<FigureTable>;

    /// The stored figures of some periods, ready to be shown.
    type Figures;

    /// The arguments that all reports have.
    fn args(&self) -> &ReportArgs;

    /// The flag `--so-far` of a report that supports provisional figures.
    fn so_far(&self) -> Option<bool> {
        None
    }

    /// A flag, by clap's id, that is in force although it may not have been typed: a retry, which has the day, needs it.
    fn implied_flag(&self) -> Option<&'static str> {
        None
    }

    /// Those of the malls that have no final figures for the period yet. A report that stores none lacks none.
    async fn lacking(&self, _db: &mut Db, _period: DayRange, _malls: &[Mall]) -> anyhow::Result<Vec<Mall>> {
        Ok(Vec::new())
    }

    /// What cannot be read of the malls' stored figures of the period: they count as lacking.
    async fn unreadable(
        &self,
        _cx: &Context,
        db: &mut Db,
        period: DayRange,
        _malls: &[Mall],
    ) -> anyhow::Result<Unreadable> {
        match Self::TABLE {
            Some(table) => Unreadable::of_period(db, table, period.first()).await,
            None => Ok(Unreadable::default()),
        }
    }

    /// What is newer than the final figures of a period, in a sentence.
    async fn news(&self, _db: &mut Db, _period: DayRange, _malls: &[Mall]) -> anyhow::Result<Option<String>> {
        Ok(None)
    }

    /// Computes and stores the figures of a period.
    async fn compute(&self, run: &mut Run<'_>, period: DayRange) -> anyhow::Result<()>;

    /// Refuses to show figures that another command has replaced since.
    async fn check_stored(&self, _db: &mut Db, _periods: &BTreeSet<NaiveDate>) -> anyhow::Result<()> {
        Ok(())
    }

    /// Loads the stored figures of the periods that begin on these days.
    async fn load(
        &self,
        cx: &Context,
        db: &mut Db,
        periods: &BTreeSet<NaiveDate>,
        audience: &Audience<'_>,
    ) -> anyhow::Result<Self::Figures>;

    /// Refuses figures that lack malls whose rows cannot be read. What could be read is shown and mailed before.
    fn check(_figures: &Self::Figures) -> Result<(), Failure> {
        Ok(())
    }

    /// When the figures were computed; `now` if there are none.
    fn computed_at(figures: &Self::Figures, now: DateTime<Utc>) -> DateTime<Utc>;

    /// The report for people, to the extent that a format shows.
    fn document(figures: &Self::Figures, time_zone: Tz, locale: Locale, extent: Extent) -> Document;

    /// The single table of its CSV.
    fn flat_table(figures: &Self::Figures, locale: Locale) -> Table;

    /// The mail with the figures; `None` if there is nothing to mail.
    fn letter(
        cx: &Context,
        figures: &Self::Figures,
        periods: &BTreeSet<NaiveDate>,
        mailing: &Mailing,
    ) -> anyhow::Result<Option<Letter>>;
}

impl<R: Report> Job for R {
    const SPEC: JobSpec = R::SPEC;

    type Unit = DayRange;

    fn days_of_start(&self, today: NaiveDate) -> Option<MeantDays> {
        Some(MeantDays::OfMalls(R::STEP.last_finished_on(today)))
    }

    fn flag_without_days(&self) -> Option<&'static str> {
        self.implied_flag()
    }

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<DayRange>>> {
        let args = self.args();
        args.publication.check(cx)?;
        let malls = args.malls.selected(db).await?;
        Sender::of(self).check(cx, db).await?;
        awaited::check_malls(cx, db).await?;
        shown_malls::check_order(cx, db).await?;
        let mut periods = periods::asked(cx, R::STEP, &args.dates, &malls, self.so_far())?;
        if malls.is_empty() {
            cx.output.status("No active mall: nothing to report (add one with `batchctl mall add`)");
            return Ok(Vec::new());
        }
        let asked = periods.clone();
        let window = refreshed_window(self, &asked);
        if let Some(window) = window {
            periods.extend(stale::find(cx, db, source::<R>(), &malls, window).await?.into_keys());
            let earlier = stale::find_earlier(cx, db, source::<R>(), &malls, window.first()).await?;
            if earlier.len() <= MOST_EARLIER {
                periods.extend(earlier.into_keys());
            }
            periods.extend(Sender::of(self).owed_periods(cx, db).await?);
        }
        let planned = periods.into_iter().map(|first| {
            let planned = planned(R::STEP, first, &args.malls, &malls)
                .refreshed(window.is_some())
                .added(!asked.contains(&first));
            match self.implied_flag() {
                Some(flag) => planned.with(flag, "true"),
                None => planned,
            }
        });
        Ok(planned.collect())
    }

    async fn freshness(
        &self,
        cx: &Context,
        db: &mut Db,
        completed: &Completed<'_, DayRange>,
    ) -> anyhow::Result<Freshness> {
        let period = *completed.unit;
        let reportable = reportable(self, cx, db, period).await?;
        let is_stale = !stale_malls::<R>(cx, db, &reportable, period).await?.is_empty();
        let due = |reason| if is_stale { Freshness::DueAndStale(reason) } else { Freshness::Due(reason) };
        let lacking = self.lacking(db, period, &reportable).await?;
        if !lacking.is_empty() {
            let codes: Vec<&str> = lacking.iter().map(|mall| mall.code.as_str()).collect();
            return Ok(due(format!("no final figures yet for {}", codes.join(", "))));
        }
        let unreadable = self.unreadable(cx, db, period, &reportable).await?;
        let unreadable: Vec<&str> = reportable
            .iter()
            .filter(|mall| unreadable.include(mall.id, period.first()))
            .map(|mall| mall.code.as_str())
            .collect();
        if !unreadable.is_empty() {
            return Ok(due(format!("the figures of {} cannot be read", unreadable.join(", "))));
        }
        let news = self.news(db, period, &reportable).await?;
        if is_stale {
            return Ok(Freshness::Stale(news.unwrap_or_else(|| "its data has changed since".to_owned())));
        }
        Ok(Freshness::Current(news.map(|news| format!("{news}: add --rerun"))))
    }

    async fn stored_by(&self, cx: &Context, db: &mut Db, period: &DayRange) -> anyhow::Result<Option<i64>> {
        let Some(table) = R::TABLE else { return Ok(None) };
        let malls: Vec<i64> =
            reportable(self, cx, db, *period).await?.into_iter().map(|mall| mall.id).collect();
        outdated::stored_by(db, table, period.first(), &malls).await
    }

    async fn run(&self, run: &mut Run<'_>, period: &DayRange) -> anyhow::Result<()> {
        self.compute(run, *period).await
    }

    async fn deliver(&self, cx: &Context, db: &mut Db, completed: &[&DayRange]) -> anyhow::Result<()> {
        let completed: BTreeSet<NaiveDate> = completed.iter().map(|period| period.first()).collect();
        // Those that were only refreshed are not what was asked for.
        let malls = self.args().malls.selected(db).await?;
        let mut periods = periods::asked(cx, R::STEP, &self.args().dates, &malls, self.so_far())?;
        if let Some(window) = refreshed_window(self, &periods) {
            announce_earlier(self, cx, db, &malls, window.first()).await?;
        }
        periods.retain(|period| completed.contains(period));
        self.check_stored(db, &periods).await?;
        mark_stale_figures::<R>(cx, db, &malls, &periods).await?;
        // A file that cannot be written must not keep the mails back.
        let published = publish(self, cx, db, &periods).await.map_err(with_hint_that_figures_are_stored);
        let mailed = mail(self, cx, db, &periods).await;
        let corrected = correct(self, cx, db, &completed).await;
        let mailed = first_failure(cx, mailed, corrected);
        match published {
            // The reader of stdout has seen enough: that is not a failure, and must not hide one.
            Err(error) if failure::is_broken_pipe(&error) => mailed,
            published => first_failure(cx, published, mailed),
        }
    }
}

/// The report, and where it stores its figures.
fn source<R: Report>() -> stale::Source {
    stale::Source { report: report_name::<R>(), step: R::STEP, table: R::TABLE }
}

/// The days that a nightly run looks back at: none if somebody asked for certain days.
fn refreshed_window<R: Report>(report: &R, asked: &BTreeSet<NaiveDate>) -> Option<DayRange> {
    let args = report.args();
    if args.dates.is_given() || args.stale_days == 0 {
        return None;
    }
    // The days before the newest one that is over.
    stale::window(R::STEP.around(*asked.last()?).last(), args.stale_days + 1)
}

/// Says once which figures before the days that a nightly run looks at are stale, if they are more than it computes.
async fn announce_earlier<R: Report>(
    report: &R,
    cx: &Context,
    db: &mut Db,
    malls: &[Mall],
    before: NaiveDate,
) -> anyhow::Result<()> {
    let source = source::<R>();
    let earlier = stale::find_earlier(cx, db, source, malls, before).await?;
    let (Some(first), Some(last)) = (earlier.keys().next(), earlier.keys().next_back()) else {
        return Ok(());
    };
    if earlier.len() <= MOST_EARLIER {
        return Ok(());
    }
    let (first, last) = (first.to_string(), R::STEP.around(*last).last().to_string());
    let mut words = vec!["report", source.report, "--only", "stale", "--from", &first, "--to", &last];
    words.extend(report.args().malls.named().iter().flat_map(|mall| ["--mall", mall]));
    let (one, many) = match R::STEP {
        Step::Day => ("day", "days"),
        Step::Week => ("week", "weeks"),
    };
    let news = format!(
        "the data of {} from {first} to {last} has changed since report {} stored them, too many to compute by itself: {}",
        counted(earlier.len(), one, many),
        source.report,
        cx.hint(&command(&words)),
    );
    let clock = (cx.now(), cx.time_zone());
    stale::announce(db, source.report, &earlier, clock, || cx.output.notice(&news)).await
}

/// Those of these malls whose figures of a period are stale.
async fn stale_malls<R: Report>(
    cx: &Context,
    db: &mut Db,
    malls: &[Mall],
    period: DayRange,
) -> anyhow::Result<Vec<Mall>> {
    let found = stale::find(cx, db, source::<R>(), malls, period).await?;
    Ok(found
        .into_iter()
        .find(|(first, _)| *first == period.first())
        .map(|(_, malls)| malls)
        .unwrap_or_default())
}

/// Marks those of the figures that are to be shown which are stale: a day that somebody asks for is not computed again by
/// itself, and every form then says that its figures are older. Those that another run replaces meanwhile are left alone.
async fn mark_stale_figures<R: Report>(
    cx: &Context,
    db: &mut Db,
    malls: &[Mall],
    periods: &BTreeSet<NaiveDate>,
) -> anyhow::Result<()> {
    let (Some(table), Some(&first), Some(&last)) = (R::TABLE, periods.first(), periods.last()) else {
        return Ok(());
    };
    let window = DayRange::new(R::STEP.around(first).first(), R::STEP.around(last).last())?;
    // First, so that what is found to be stale is no newer than these.
    let computed_by = outdated::computed_by(db, table, window).await?;
    let mut stale = stale::find(cx, db, source::<R>(), malls, window).await?;
    stale.retain(|period, _| periods.contains(period));
    if stale.is_empty() {
        return Ok(());
    }
    failpoint::reach(&cx.config, "stale-found");
    db.transaction(async |db| {
        for (period, malls) in &stale {
            for mall in malls {
                let figures = (*period, mall.id);
                if let Some(&run) = computed_by.get(&figures) {
                    outdated::mark_computed_by(db, table, figures, run, cx.now()).await?;
                }
            }
        }
        Ok(())
    })
    .await
}

/// The selected malls for which the period can be reported.
async fn reportable<R: Report>(
    report: &R,
    cx: &Context,
    db: &mut Db,
    period: DayRange,
) -> anyhow::Result<Vec<Mall>> {
    let so_far = report.so_far() == Some(true);
    report.args().malls_of(cx, db, period, so_far).await
}

/// The malls that a run computes.
pub struct Due {
    /// Those whose figures it replaces.
    pub malls: Vec<Mall>,
    /// What cannot be read of their stored figures.
    pub unreadable: Unreadable,
    /// Selected malls in which the period is not over.
    not_over: Vec<String>,
}

impl Due {
    /// Finds them: among the malls for which the period can be reported, those that lack figures if only these are
    /// due, and those that a retry repeats.
    pub async fn find<R: Report>(report: &R, run: &mut Run<'_>, period: DayRange) -> anyhow::Result<Self> {
        let reportable = reportable(report, run.cx, run.db, period).await?;
        let mut not_over = report.args().malls.selected(run.db).await?;
        not_over.retain(|mall| !reportable.iter().any(|reportable| reportable.id == mall.id));
        let unreadable = report.unreadable(run.cx, run.db, period, &reportable).await?;
        let mut malls = reportable;
        if run.only_due() {
            let lacking = report.lacking(run.db, period, &malls).await?;
            let stale = stale_malls::<R>(run.cx, run.db, &malls, period).await?;
            let is_due = |mall: &Mall| {
                unreadable.include(mall.id, period.first())
                    || lacking.iter().chain(&stale).any(|due| due.id == mall.id)
            };
            malls.retain(is_due);
        }
        malls.retain(|mall| run.is_wanted(&mall.code));
        Ok(Self { malls, unreadable, not_over: not_over.into_iter().map(|mall| mall.code).collect() })
    }

    /// "reported 3 malls, not over yet: new-york"
    pub fn sentence(&self, computed: usize) -> String {
        let mut sentence = format!("reported {}", counted(computed, "mall", "malls"));
        if !self.not_over.is_empty() {
            sentence.push_str(&format!(", not over yet: {}", self.not_over.join(", ")));
        }
        sentence
    }
}

/// The instance of a period: its key begins with the first day, and names the malls if some were selected.
fn planned(step: Step, first: NaiveDate, flag: &MallArgs, malls: &[Mall]) -> Planned<DayRange> {
    let mut key = first.to_string();
    if !flag.named().is_empty() {
        // By code, however they were given: the same malls are the same instance.
        let codes: Vec<&str> = malls.iter().map(|mall| mall.code.as_str()).collect();
        key = format!("{first} mall={}", codes.join(","));
    }
    // Two runs for one period write the same rows, whatever malls they name.
    Planned::new(key, step.around(first)).exclusive_by(first.to_string()).on(first).at(flag, malls)
}

/// Shows or writes the figures in the formats that were asked for. One that fails does not stop the others; the first
/// failure is the result.
async fn publish<R: Report>(
    report: &R,
    cx: &Context,
    db: &mut Db,
    periods: &BTreeSet<NaiveDate>,
) -> anyhow::Result<()> {
    let publication = &report.args().publication;
    if periods.is_empty() || publication.formats(cx).is_empty() {
        return Ok(());
    }
    let mut result = Ok(());
    for periods in grouped(periods, R::IS_SHOWN_BY_PERIOD) {
        let published = async {
            let figures = load(report, cx, db, &periods, &Audience::Command).await?;
            let published =
                publication.publish(cx, &content::<R>(cx, &figures, publication.locale(cx))).await;
            first_failure(cx, published, R::check(&figures).map_err(Into::into))
        };
        result = first_failure(cx, result, published.await);
    }
    result
}

/// Mails the figures to their recipients. A mail that fails does not stop the others; the first failure is the result.
async fn mail<R: Report>(
    report: &R,
    cx: &Context,
    db: &mut Db,
    periods: &BTreeSet<NaiveDate>,
) -> anyhow::Result<()> {
    let sender = Sender::of(report);
    let mut result = Ok(());
    if periods.is_empty() {
        return result;
    }
    for mailing in sender.mailings(cx, db, periods).await? {
        for periods in grouped(&mailing.periods, R::IS_MAILED_BY_PERIOD) {
            let mailed = mail_figures(report, cx, db, &sender, &mailing, &periods).await;
            result = first_failure(cx, result, mailed);
        }
    }
    result
}

/// Tells those who were mailed other figures of these periods and receive the report from this run; whoever receives it from
/// another one is told by that one. A mail that fails does not stop the others; it is sent by the next run.
async fn correct<R: Report>(
    report: &R,
    cx: &Context,
    db: &mut Db,
    periods: &BTreeSet<NaiveDate>,
) -> anyhow::Result<()> {
    let Some(&last) = periods.last() else { return Ok(()) };
    let sender = Sender::of(report);
    if let Some(before) =
        last.checked_sub_days(Days::new(TOLD_DAYS)).filter(|_| !report.args().dates.is_given())
    {
        told::forget(db, sender.name, before).await?;
    }
    let mut result = Ok(());
    for period in sender.owed_periods(cx, db).await?.intersection(periods) {
        let standing = Standing::load(db, sender.name, *period).await?;
        for mailing in sender.mailings_owed(cx, db, &standing).await? {
            let corrected = mail_figures(report, cx, db, &sender, &mailing, &mailing.periods).await;
            result = first_failure(cx, result, corrected);
        }
    }
    result
}

/// Whatever happens to a file or to stdout, the figures are safe, and need not be computed again.
fn with_hint_that_figures_are_stored(error: anyhow::Error) -> anyhow::Error {
    let is_about_writing = error.chain().any(<dyn std::error::Error>::is::<std::io::Error>);
    let has_said_more = error.chain().any(<dyn std::error::Error>::is::<Failure>);
    if !is_about_writing || has_said_more || failure::is_broken_pipe(&error) {
        return error;
    }
    let (first, once) = if failure::is_disk_full(&error) {
        ("make room there", "once there is room")
    } else {
        ("correct that", "once that is corrected")
    };
    Failure::failed(one_line(&error))
        .hint(format!(
            "the figures are stored: {first}, then run the same command without --rerun to write them"
        ))
        .retry_once(once)
        .into()
}

async fn mail_figures<R: Report>(
    report: &R,
    cx: &Context,
    db: &mut Db,
    sender: &Sender<'_>,
    mailing: &Mailing,
    periods: &BTreeSet<NaiveDate>,
) -> anyhow::Result<()> {
    // First, so that what is noted of the figures is no later than they are.
    let standing = match periods.first() {
        Some(&period) if periods.len() == 1 => Some(Standing::load(db, sender.name, period).await?),
        _ => None,
    };
    let figures = load(report, cx, db, periods, &Audience::Mail(mailing)).await?;
    if let Some(letter) = R::letter(cx, &figures, periods, mailing)? {
        let content = content::<R>(cx, &figures, mailing.locale);
        sender.send(cx, db, mailing, letter, &content, standing.as_ref()).await?;
    }
    Ok(R::check(&figures)?)
}

/// Loads figures as they were at one moment, whatever another run replaces meanwhile.
async fn load<R: Report>(
    report: &R,
    cx: &Context,
    db: &mut Db,
    periods: &BTreeSet<NaiveDate>,
    audience: &Audience<'_>,
) -> anyhow::Result<R::Figures> {
    db.read_on_snapshot(async |db| report.load(cx, db, periods, audience).await).await
}

/// The periods of each document or mail.
fn grouped(periods: &BTreeSet<NaiveDate>, is_by_period: bool) -> Vec<BTreeSet<NaiveDate>> {
    if is_by_period {
        periods.iter().map(|period| BTreeSet::from([*period])).collect()
    } else {
        vec![periods.clone()]
    }
}

/// Figures that can be rendered in any format.
fn content<'f, R: Report>(cx: &Context, figures: &'f R::Figures, locale: Locale) -> Content<'f> {
    let time_zone = cx.time_zone();
    Content {
        created: R::computed_at(figures, cx.now()),
        document: Box::new(move |extent| R::document(figures, time_zone, locale, extent)),
        flat: Box::new(move || R::flat_table(figures, locale)),
    }
}
