//! `mall sync`: synchronises members, orders and sales from shops at Cafe24 into the unified tables, page by page.
//!
//! One instance per mall, domain and period. Each page is one commit together with the position after it, so that a run
//! that was killed continues with the page it was processing; the next page is read in the meantime. Malls are processed
//! in parallel, the domains of one mall in sequence, because they share the shop's throttle.

mod cursor;
mod period;
mod source;
mod store;

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};

use crate::clients::cafe24::{Cafe24, PLATFORM};
use crate::config::SkipLimit;
use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::period::{DayRange, day_before};
use crate::runner::history::Execution;
use crate::runner::{
    Completed, Exclusion, Freshness, Items, Job, JobSpec, MeantDays, Planned, Run, history, minutes,
};
use crate::severity::Severity;
use crate::shop::arrivals::{self, Arrival, Subject};
use crate::shop::malls::{Mall, MallArgs};
use crate::shop::upsert::UpsertCounts;
use crate::wording::{command, counted};

use self::cursor::Span;
use self::period::Period;
use self::source::{Named, Page, Pages, Position, Source};
use crate::shop::tokens::{TokenStore, for_mall};

/// More unusable records than this mean that the shop's API changed, not that a few records are bad.
const SKIP_LIMIT: SkipLimit = SkipLimit::Count(100);

/// The most records that a page has (Cafe24's own limit).
const MAX_RECORDS: u32 = 1000;
/// Unusable records that are known by their keys: more would only make the checkpoint long.
const MAX_NOTED: usize = 1_000;
/// A domain that was finished so recently is as current as the one after which the command goes on.
const JUST_ENDED: TimeDelta = TimeDelta::hours(1);
/// Records per commit when each is requested by its key, which takes one call per member.
const NAMED_AT_ONCE: usize = 100;

/// What is synchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Domain {
    /// Members by the time they signed up
    Member,
    /// Orders with their lines, by the time they were placed
    Order,
    /// Payments, cancellations and refunds, by the time they happened
    Sales,
}

impl fmt::Display for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// Arguments of `mall sync`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    malls: MallArgs,
    /// Only this domain (repeatable; default: all)
    #[arg(long, value_enum, value_name = "DOMAIN", ignore_case = true, value_delimiter = ',')]
    domain: Vec<Domain>,
    /// From this day or instant, in the mall's time zone: 2026-11-19, 2026-11-19T10:30:00, yesterday, -7d (default:
    /// yesterday)
    #[arg(long, value_name = "DAY|INSTANT", allow_hyphen_values = true)]
    from: Option<String>,
    /// Up to and including this day or instant (default: yesterday)
    #[arg(long, value_name = "DAY|INSTANT", allow_hyphen_values = true, requires = "from")]
    to: Option<String>,
    /// Records per page, from 10 to 1000
    #[arg(long, value_name = "N", default_value_t = MAX_RECORDS, value_parser = parse_page_size)]
    page_size: u32,
    /// Malls in parallel, from 1 to 100 (default: `cafe24.concurrency`, 10)
    #[arg(long, value_name = "N", value_parser = parse_concurrency)]
    concurrency: Option<NonZeroUsize>,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "mall sync",
        summary: "Fetch members, orders and sales from shops at Cafe24 into this database",
        details: "Each page is one commit with its checkpoint: a run that was killed continues with the page it was \
                  processing. Malls are synchronised in parallel, the domains of one mall in sequence, because they share \
                  the shop's throttle.",
        page: Some("docs/cafe24.md"),
        schedule: Some("5 0 * * *"),
        deadline: minutes(6 * 60),
        severity: Severity::High,
        exclusion: Exclusion::Instance,
        items: Items::new("record", "records", "stored"),
    };

    type Unit = Target;

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<Target>>> {
        let malls = self.malls(db).await?;
        if malls.is_empty() {
            cx.output.status("No active mall at Cafe24 (add one with `batchctl mall add --platform cafe24`)");
            return Ok(Vec::new());
        }
        TokenStore::check_configuration(cx)?;
        let mut domains = self.domain.clone();
        if domains.is_empty() {
            domains.extend_from_slice(Domain::value_variants());
        }
        domains.sort_unstable();
        domains.dedup();
        let mut planned = Vec::new();
        for mall in malls {
            // An unknown time zone fails in the mall's own run, and not the other malls.
            let time_zone = mall.time_zone().unwrap_or(cx.time_zone());
            let period = Period::asked(self.from.as_deref(), self.to.as_deref(), time_zone, cx.now())?;
            planned.extend(
                domains.iter().map(|&domain| Target { mall: mall.clone(), domain, period }.planned()),
            );
        }
        Ok(planned)
    }

    async fn freshness(
        &self,
        cx: &Context,
        db: &mut Db,
        completed: &Completed<'_, Target>,
    ) -> anyhow::Result<Freshness> {
        let run = completed.run;
        Ok(if is_current(cx, db, completed.unit, run).await? {
            Freshness::Current(None)
        } else {
            Freshness::Due(format!("the period was not over when run {} started", run.id))
        })
    }

    fn days_of_start(&self, today: NaiveDate) -> Option<MeantDays> {
        Some(MeantDays::OfMalls(DayRange::single(day_before(today))))
    }

    fn lanes(&self, cx: &Context) -> NonZeroUsize {
        let configured = NonZeroUsize::new(cx.config.cafe24().concurrency());
        self.concurrency.or(configured).unwrap_or(NonZeroUsize::MIN)
    }

    async fn run(&self, run: &mut Run<'_>, target: &Target) -> anyhow::Result<()> {
        target.mall.time_zone()?;
        self.sync(run, target).await.map_err(|error| for_mall(error, &target.mall))
    }
}

impl Args {
    async fn sync(&self, run: &mut Run<'_>, target: &Target) -> anyhow::Result<()> {
        let source = self.source(run.cx, target)?;
        store::prepare(run.db, target.domain).await?;
        let mut sync = Synchronised::default();
        if let Some(named) = named_records(run, target).await? {
            for named in named.chunks(NAMED_AT_ONCE) {
                let page = source.named(named).await?;
                store_page(run, &target.mall, page, &mut sync).await?;
            }
        } else {
            let from = checkpoint(run).await?;
            let position = from.position;
            (sync.noted, sync.gaps) = (from.noted, from.gaps);
            run.failed_parts_before(sync.gaps);
            show_progress(run, &source, &position).await?;
            let mut pages = Pages::read(source, position);
            while let Some(page) = next_page(run, &mut pages).await? {
                store_page(run, &target.mall, page, &mut sync).await?;
            }
            refuse_if_nothing_was_read(run, sync.gap.take())?;
            if sync.gaps == 0 {
                note_arrival(run, target).await?;
            }
        }
        run.read(sync.count_stored());
        run.summarise(sentence(target.domain, &sync.compared()));
        Ok(())
    }
}

/// The mall, domain and period of an instance.
pub struct Target {
    mall: Mall,
    domain: Domain,
    period: Period,
}

impl Target {
    /// The key of the same mall's and period's instance of a domain.
    fn key_of(&self, domain: Domain) -> String {
        format!("{} {domain} {}", self.mall.code, self.period.key())
    }

    fn planned(self) -> Planned<Self> {
        let (code, domain, period) = (self.mall.code.clone(), self.domain, self.period);
        let key = self.key_of(domain);
        // Shops of one account share its throttle.
        let lane = self.mall.account().to_owned();
        let [from, to] = period.ends();
        Planned::new(key, self)
            .exclusive_by(format!("{code} {domain}"))
            .in_lane(lane)
            .with("mall", code)
            .with("domain", domain.to_string())
            .with("from", from)
            .with("to", to)
    }
}

// ---------------------------------------------------------------- which malls, which instances

impl Args {
    /// The malls asked for, which must be active and at Cafe24; by default all such malls.
    async fn malls(&self, db: &mut Db) -> anyhow::Result<Vec<Mall>> {
        let mut malls = self.malls.selected(db).await?;
        if self.malls.named().is_empty() {
            malls.retain(|mall| mall.platform == PLATFORM);
        }
        for mall in &malls {
            if mall.platform != PLATFORM {
                return Err(Failure::usage(format!(
                    "mall `{}` is at `{}`, not at {PLATFORM}",
                    mall.code, mall.platform
                ))
                .hint(format!(
                    "to change that: {}",
                    command(&["mall", "add", &mall.code, "--platform", PLATFORM])
                ))
                .into());
            }
            if !mall.is_active {
                return Err(Failure::refused(format!("mall `{}` is disabled", mall.code))
                    .hint(format!("enable it: {}", command(&["mall", "enable", &mall.code])))
                    .into());
            }
        }
        Ok(malls)
    }

    fn source(&self, cx: &Context, target: &Target) -> anyhow::Result<Source> {
        let mall = &target.mall;
        let state = Arc::new(TokenStore::new(cx, mall.account())?);
        Ok(Source {
            api: Cafe24::new(cx, mall.account(), state)?,
            domain: target.domain,
            shop_no: mall.shop_no,
            currency: mall.currency.clone(),
            span: target.period.span,
            page_size: self.page_size,
        })
    }
}

fn parse_page_size(text: &str) -> Result<u32, String> {
    let size = text.parse().ok().filter(|size| (10..=MAX_RECORDS).contains(size));
    size.ok_or_else(|| format!("write a number from 10 to {MAX_RECORDS}, Cafe24's maximum"))
}

/// Each mall takes about three database connections.
fn parse_concurrency(text: &str) -> Result<NonZeroUsize, String> {
    let malls = text.parse().ok().filter(|malls: &NonZeroUsize| malls.get() <= 100);
    malls.ok_or_else(|| "write a number from 1 to 100".to_owned())
}

/// The records to which the run is limited, if all failed records can be requested by their keys: those of the retry, or
/// those that a run of the whole period, which was over by then, could not use.
async fn named_records(run: &mut Run<'_>, target: &Target) -> anyhow::Result<Option<Vec<Named>>> {
    let named = |items: &BTreeSet<String>| items.iter().map(|item| Named::of(item)).collect();
    if let Some(items) = run.retry_items() {
        return Ok(named(items));
    }
    match run.left_by_partial_run().await? {
        Some((last, items)) if is_current(run.cx, run.db, target, &last).await? => Ok(named(&items)),
        _ => Ok(None),
    }
}

/// Whether a run has seen all of its period. A command that goes on after a kill does not begin again with the domains that
/// it had just finished, either.
async fn is_current(cx: &Context, db: &mut Db, target: &Target, run: &Execution) -> anyhow::Result<bool> {
    if target.period.is_over(run.started_at) {
        return Ok(true);
    }
    if run.ended_at.is_none_or(|ended_at| cx.now() - ended_at >= JUST_ENDED) {
        return Ok(false);
    }
    for &domain in Domain::value_variants().iter().filter(|domain| **domain != target.domain) {
        let other = history::last_attempt(db, Args::SPEC.name, &target.key_of(domain)).await?;
        if other.is_some_and(|other| other.id > run.id && other.is_unfinished()) {
            return Ok(true);
        }
    }
    Ok(false)
}

// ---------------------------------------------------------------- page by page

/// Where the next attempt continues.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Checkpoint {
    #[serde(flatten)]
    position: Position,
    /// The rows of the error log that were written so far: a record is read again wherever a list is.
    noted: BTreeSet<String>,
    /// How many of those are parts of a list.
    #[serde(default)]
    gaps: u64,
}

/// What a run has done so far.
#[derive(Debug, Default)]
struct Synchronised {
    /// How many records were read, and how many of them could not be used.
    read: u64,
    unusable: u64,
    /// How those that were stored compared, each time they were.
    stored: UpsertCounts,
    noted: BTreeSet<String>,
    /// The first part of a list that could not be read, and how many there are.
    gap: Option<Failure>,
    gaps: u64,
}

impl Synchronised {
    /// How many more records were read than have counted, at the end. An order that is read because of a refund counts with
    /// it, which is not on its page where the list of refunds is read in pieces.
    fn count_stored(&mut self) -> u64 {
        let UpsertCounts { new, changed, .. } = self.stored;
        let least = self.unusable + u64::try_from(new + changed).unwrap_or(0);
        let more = least.saturating_sub(self.read);
        self.read += more;
        more
    }

    /// How the records compared, each once: one that was read twice is unchanged the second time, or kept once more.
    fn compared(&self) -> UpsertCounts {
        let UpsertCounts { new, changed, unchanged, stale, .. } = self.stored;
        let records = i64::try_from(self.read.saturating_sub(self.unusable)).unwrap_or(i64::MAX);
        let others = (records - new - changed).max(0);
        let stale = stale.min(others);
        UpsertCounts { unchanged: unchanged.min(others - stale), stale, ..self.stored }
    }

    /// Whether a row of the error log is not there yet.
    fn is_unnoted(&mut self, key: &str) -> bool {
        if self.noted.contains(key) {
            return false;
        }
        if self.noted.len() < MAX_NOTED {
            self.noted.insert(key.to_owned());
        }
        true
    }
}

/// Where an earlier attempt ended. The positions of other versions of this program mean nothing to this one: it reads from
/// the beginning, which stores what is stored once more.
async fn checkpoint(run: &mut Run<'_>) -> anyhow::Result<Checkpoint> {
    let Some(stored) = run.checkpoint::<serde_json::Value>()? else { return Ok(Checkpoint::default()) };
    if let Ok(checkpoint) = serde_json::from_value(stored) {
        return Ok(checkpoint);
    }
    run.start_over().await?;
    Ok(Checkpoint::default())
}

/// Notes the days that are all there now: those that were over when the run began to read.
async fn note_arrival(run: &mut Run<'_>, target: &Target) -> anyhow::Result<()> {
    let id = run.id();
    let Some(began_at) = history::find(run.db, id).await?.map(|own| own.started_at) else { return Ok(()) };
    if !target.period.is_over(began_at) {
        return Ok(());
    }
    let subject = match target.domain {
        Domain::Member => Subject::Member,
        Domain::Order => Subject::Order,
        Domain::Sales => Subject::Sales,
    };
    let Span { first, last } = target.period.span;
    let days = arrivals::whole_days(first, last, target.mall.time_zone()?);
    let arrival = Arrival { source: arrivals::Source::Sync, as_of: began_at, run: id, at: run.cx.now() };
    run.chunk(None::<&str>, async |db| arrivals::note(db, target.mall.id, subject, &days, &arrival).await)
        .await
}

/// Where nothing at all could be read, nothing is partly done.
fn refuse_if_nothing_was_read(run: &mut Run<'_>, gap: Option<Failure>) -> anyhow::Result<()> {
    match gap {
        Some(gap) if run.counts().read == 0 => {
            run.discard_checkpoint_on_failure();
            Err(gap.into())
        }
        _ => Ok(()),
    }
}

/// Shows progress. The total costs a call, so it is only requested if somebody watches.
async fn show_progress(run: &mut Run<'_>, source: &Source, from: &Position) -> anyhow::Result<()> {
    if run.is_watched() {
        let total = tokio::select! {
            total = source.count() => total.unwrap_or(None),
            _ = run.stop_requested() => None,
        };
        run.show_progress_after(from.read, total);
    }
    Ok(())
}

/// The next page. A stop does not wait for a slow server.
async fn next_page(run: &Run<'_>, pages: &mut Pages) -> anyhow::Result<Option<Page>> {
    tokio::select! {
        biased;
        page = pages.next() => page.transpose(),
        _ = run.stop_requested() => {
            run.check_stop()?;
            Ok(None)
        }
    }
}

/// Stores a page, the position after it, its unusable records and the gaps of its list in one commit.
async fn store_page(
    run: &mut Run<'_>,
    mall: &Mall,
    mut page: Page,
    sync: &mut Synchronised,
) -> anyhow::Result<()> {
    let now = run.cx.now();
    run.read(page.read);
    sync.read += page.read;
    let unmatched = store::remove_unmatched_refunds(run.db, mall, &mut page).await?;
    for (key, problem) in page.bad.iter().chain(&unmatched) {
        if sync.is_unnoted(key) {
            run.skip_item(key, "read", "BAD_RECORD", problem);
            sync.unusable += 1;
        }
    }
    if !page.bad.is_empty() || !unmatched.is_empty() {
        refuse_too_many(run)?;
    }
    for (key, gap) in std::mem::take(&mut page.gaps) {
        if sync.is_unnoted(&key) {
            run.fail_part(&key, "read", &gap.clone().into());
            sync.gaps += 1;
            sync.gap.get_or_insert(gap);
        }
    }
    let checkpoint =
        page.next.take().map(|position| Checkpoint { position, noted: sync.noted.clone(), gaps: sync.gaps });
    let store = async |db: &mut Db| {
        let outcome = store::store(db, mall, &page, now).await?;
        Ok((outcome, u64::try_from(outcome.written_lines).unwrap_or(0)))
    };
    sync.stored.add(run.chunk_writing(checkpoint.as_ref(), store).await?);
    Ok(())
}

/// Past the limit the shop's API must have changed, and nothing else it returns can be trusted. The next attempt starts
/// over, because the records that are fixed by then lie before its checkpoint.
fn refuse_too_many(run: &mut Run<'_>) -> anyhow::Result<()> {
    let counts = run.counts();
    let limit = run.skip_limit(SKIP_LIMIT);
    // A percentage is checked at the end: on the first page it would mean little.
    if matches!(limit, SkipLimit::Percent(_)) || !limit.is_exceeded(counts.skipped, counts.read) {
        return Ok(());
    }
    run.discard_checkpoint_on_failure();
    Err(Failure::failed(format!(
        "{} cannot be used, more than the skip limit of {limit}",
        counted(counts.skipped, "record", "records")
    ))
    .hint("fix them in the shop, or run the command again with a higher --skip-limit")
    .into())
}

/// How many records there were, and how they compared.
fn sentence(domain: Domain, total: &UpsertCounts) -> String {
    let all = total.new + total.changed + total.unchanged + total.stale;
    let (one, many) = match domain {
        Domain::Member => ("member", "members"),
        Domain::Order => ("order", "orders"),
        Domain::Sales => ("order or refund", "orders and refunds"),
    };
    if all == 0 {
        return format!("no {}", many.replace(" and ", " or "));
    }
    let parts = [
        (total.new, "new"),
        (total.changed, "changed"),
        (total.unchanged, "unchanged"),
        (total.stale, "kept because newer or withdrawn"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    format!("{}: {}", counted(all, one, many), parts.join(", "))
}
