//! `stock reconcile`: compares the stock of each product in the database with that in Redis, and repairs what differs.
//!
//! Both move while they are compared. A difference counts only if it stays the same for a while (`comparison`), and is
//! repaired only if nothing has moved since (`repair`). Where so much differs that it is not the stock that is wrong, nothing
//! is repaired at all.

mod comparison;
pub(super) mod difference;
mod doubt;
mod ending;
mod looks;
mod queries;
mod repair;
mod reserved;
mod store;
#[cfg(test)]
mod tests;
mod touched;

use std::time::Duration;

use crate::clients::redis::{Redis, RedisServer};
use crate::config::ReconcileConfig;
use crate::context::Context;
use crate::db::Db;
use crate::documents::{Cell, Column, ColumnKind, Row, Table, terminal};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::printable::{escaped, shortened};
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::{APP, Mall, MallArgs, all_malls};
use crate::shop::stock_keys;
use crate::wording::counted;

use comparison::{Comparison, Found, Place, Rules, Step};
use difference::{Difference, Plan, Source};
use repair::RepairCounts;
use reserved::Orders;

/// So many reservations that cannot be read are named.
const MOST_UNREAD: usize = 20;
/// How much is shown of the name of one.
const SHOWN_CHARACTERS: usize = 200;

/// Arguments of `stock reconcile`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Believe this one where they differ
    #[arg(long, value_enum, default_value = "db")]
    source: Source,
    /// Repair any number of differences, even if so much differs that it is probably not the stock that is wrong
    #[arg(long)]
    accept_all: bool,
    #[command(flatten)]
    malls: MallArgs,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "stock reconcile",
        summary: "Compare the stock in Redis with the database and repair what differs",
        details: "Only malls whose orders are kept in this database (`--platform app`) are compared. A difference counts if \
                  it stays the same for a while, and is repaired if nothing has moved since. --dry-run shows each \
                  difference and what would be done.",
        page: Some("docs/orders-and-stock.md"),
        schedule: Some("0 2 * * *"),
        deadline: minutes(30),
        severity: Severity::High,
        exclusion: Exclusion::Job,
        items: Items::new("product", "products", "compared"),
    };

    type Unit = ();

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<()>>> {
        let malls = self.own_malls(db).await?;
        if malls.is_empty() {
            cx.output.status("No mall keeps its orders in this database: nothing to compare with Redis");
            return Ok(Vec::new());
        }
        server(cx)?.check()?;
        stock_keys::refuse_shared(&cx.config.stock().redis, db).await?;
        Ok(vec![Planned::sweep(()).at(&self.malls, &malls)])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let cx = run.cx;
        let malls = self.own_malls(run.db).await?;
        let malls = run.usable_malls(malls).into_iter().map(|(mall, _)| mall);
        let places = places(cx, run.db, malls).await?;
        run.db.plan_by_index().await?;
        run.db.analyze_unknown(&["products", "stock", "orders"]).await?;
        let mut redis = server(cx)?.connect().await?;
        repair::settle_unfinished(run, &mut redis).await?;
        let found = self.compared(run, &mut redis, &places).await?;
        refuse_doubtful(&found)?;
        let rules = (self.source, orders(cx));
        let mut repaired = Vec::with_capacity(places.len());
        for (place, found) in places.iter().zip(&found) {
            note_failures(run, place, found);
            repaired.push(repair::repair(run, &mut redis, place, rules, &found.differences).await?);
        }
        ending::tell(run, &places, &found, &repaired, self.source).await?;
        run.summarise(sentence(&found, &repaired));
        Ok(())
    }

    /// Shows each difference, and what would be done about it.
    async fn try_out(&self, cx: &Context, db: &mut Db) -> anyhow::Result<()> {
        let malls = self.own_malls(db).await?;
        let malls = malls.into_iter().filter(|mall| mall.time_zone().is_ok());
        let places = places(cx, db, malls).await?;
        if places.is_empty() {
            return Ok(());
        }
        let mut redis = server(cx)?.connect().await?;
        let mut comparison = Comparison::of(&places, self.rules(cx));
        loop {
            match comparison.step(db, &mut redis).await? {
                Step::Next => {}
                Step::After(pause) => tokio::time::sleep(pause).await,
                Step::Over => break,
            }
        }
        refuse_doubtful(&comparison.found)?;
        let doubt = comparison.found.iter().find_map(|found| found.doubt.clone());
        let differences = comparison.found.iter().flat_map(|found| &found.differences);
        let rows: Vec<Row> = differences.map(|difference| row(&places, difference, self.source)).collect();
        if rows.is_empty() {
            cx.output.text("no differences")?;
        } else {
            let shown = terminal::render_list(&planned(rows), cx.output.width(), cx.output.colour());
            cx.output.data(shown.as_bytes())?;
        }
        doubt.map_or(Ok(()), |doubt| Err(doubt.into()))
    }
}

impl Args {
    /// The malls whose orders are kept in this database; all others have their stock elsewhere.
    async fn own_malls(&self, db: &mut Db) -> anyhow::Result<Vec<Mall>> {
        let mut malls = self.malls.selected(db).await?;
        if !self.malls.named().is_empty()
            && let Some(other) = malls.iter().find(|mall| mall.platform != APP)
        {
            return Err(Failure::refused(format!(
                "the orders of mall `{}` are not kept in this database (platform `{}`): its stock is not kept in Redis",
                other.code, other.platform
            ))
            .hint("name malls that were added with --platform app, or none for all of them")
            .into());
        }
        malls.retain(|mall| mall.platform == APP);
        Ok(malls)
    }

    fn rules<'c>(&self, cx: &'c Context) -> Rules<'c> {
        let config: &ReconcileConfig = &cx.config.stock().reconcile;
        Rules { config, accepts_all: self.accept_all, orders: orders(cx) }
    }

    /// Compares all malls, before anything is repaired.
    async fn compared(
        &self,
        run: &mut Run<'_>,
        redis: &mut Redis,
        places: &[Place],
    ) -> anyhow::Result<Vec<Found>> {
        let cx = run.cx;
        let mut comparison = Comparison::of(places, self.rules(cx));
        if run.is_watched() {
            let total = comparison.total(run.db).await?;
            run.show_progress(Some(total));
        }
        let mut counted = 0;
        loop {
            let step = comparison.step(run.db, redis).await?;
            let read =
                comparison.found.iter().map(|found| found.compared + found.unreadable.len() as u64).sum();
            run.read(read - counted);
            counted = read;
            match step {
                Step::Next => {}
                Step::After(pause) => pause_unless_stopped(run, pause).await,
                Step::Over => return Ok(comparison.found),
            }
            run.check_stop()?;
        }
    }
}

/// When a reservation is orphaned.
fn orders(cx: &Context) -> Orders {
    Orders { now: cx.now(), leaked_after: cx.config.stock().reconcile.leaked_after() }
}

/// Waits, unless the run is asked to stop.
async fn pause_unless_stopped(run: &Run<'_>, pause: Duration) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        _ = run.stop_requested() => {}
    }
}

/// Where these malls have their stock in Redis.
async fn places(cx: &Context, db: &mut Db, malls: impl Iterator<Item = Mall>) -> anyhow::Result<Vec<Place>> {
    let all: Vec<String> = all_malls(db).await?.into_iter().map(|mall| mall.code).collect();
    Ok(malls.map(|mall| Place::new(&cx.config.stock().redis, mall, &all)).collect())
}

/// Fails if no mall can be believed: whatever is wrong, it is not one mall.
fn refuse_doubtful(found: &[Found]) -> Result<(), Failure> {
    let mut doubts = found.iter().filter_map(|found| found.doubt.as_ref());
    let Some(first) = doubts.next() else { return Ok(()) };
    match doubts.count() + 1 {
        1 if found.len() == 1 => Err(first.clone()),
        all if all == found.len() => {
            let failure = Failure::failed(format!(
                "the stock of all {all} malls in Redis is in doubt; nothing was repaired. The first: {}",
                first.message
            ));
            Err(match &first.hint {
                Some(hint) => failure.hint(hint.clone()),
                None => failure,
            })
        }
        _ => Ok(()),
    }
}

/// Notes what of a mall was not compared, and what cannot be repaired for that.
fn note_failures(run: &mut Run<'_>, place: &Place, found: &Found) {
    let mall = &place.mall.code;
    for (product, failure) in &found.unreadable {
        run.fail_item(&format!("{mall}/{product}"), "read", &failure.clone().into());
    }
    if let Some(doubt) = &found.doubt {
        run.fail_part(mall, "compare", &doubt.clone().into());
    }
    let many = found.unread.len().saturating_sub(MOST_UNREAD);
    for key in found.unread.iter().take(MOST_UNREAD) {
        let failure = Failure::bad_input(format!(
            "the reservation `{}` is larger than an order's, or its name is not UTF-8; what it holds is not known, and no \
             number of the mall is repaired",
            escaped(key)
        ))
        .hint("delete it if no order needs it");
        run.fail_part(
            &format!("{mall}/{}", shortened(&escaped(key), SHOWN_CHARACTERS)),
            "read",
            &failure.into(),
        );
    }
    if many > 0 {
        let failure = Failure::bad_input(format!("{many} more reservations cannot be read"));
        run.fail_part(mall, "read", &failure.into());
    }
}

/// The Redis that is compared.
fn server(cx: &Context) -> Result<RedisServer, Failure> {
    cx.redis().ok_or_else(|| {
        Failure::configuration("BATCHCTL_REDIS_URL is not set: `stock reconcile` compares the stock in Redis")
            .hint(
                "set it to the Redis in which the shop keeps its stock; if stock is kept in the database alone, leave this \
                 job out: `enabled = false` in [jobs.\"stock reconcile\"] of batchctl.toml, and print the crontab again",
            )
            .retry_once("once it is set")
    })
}

/// The table of what would be done.
fn planned(rows: Vec<Row>) -> Table {
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    Table {
        key: "stock_differences",
        title: String::new(),
        columns: vec![
            text("mall", "Mall"),
            text("product", "Product"),
            Column::new("quantity", "Database", ColumnKind::Number),
            text("stored", "Redis"),
            text("cause", "Cause"),
            text("repair", "Would be done"),
        ],
        rows,
    }
}

fn row(places: &[Place], difference: &Difference, source: Source) -> Row {
    let plan = match difference.plan(source) {
        Plan::SetRedis(number) => format!("Redis becomes {number}"),
        Plan::DeleteKey => "the key is deleted".to_owned(),
        Plan::SetDatabase(number) => format!("the database becomes {number}"),
        Plan::Leave(because) => format!("nothing: {because}"),
    };
    Row::new(vec![
        Cell::text(places.get(difference.place).map_or("", |place| place.mall.code.as_str())),
        Cell::text(difference.code.as_str()),
        difference.quantity.map_or(Cell::Empty, Cell::Int),
        Cell::text(difference.stored.shown().unwrap_or_default()),
        Cell::text(difference.cause().shown(Locale::En)),
        Cell::text(plan),
    ])
}

fn sentence(found: &[Found], repaired: &[RepairCounts]) -> String {
    let sum = |count: fn(&Found) -> u64| found.iter().map(count).sum::<u64>();
    let compared = |found: &Found| if found.doubt.is_some() { 0 } else { found.compared };
    let compared = counted(sum(compared), "product", "products");
    let differences = sum(|found| found.differences.len() as u64);
    let mut sentence = if differences == 0 {
        format!("compared {compared}: no differences")
    } else {
        let repaired: u64 = repaired.iter().map(|repaired| repaired.repaired).sum();
        let differences = counted(differences, "difference", "differences");
        format!("compared {compared}: {differences}, {repaired} repaired")
    };
    let unsettled = sum(|found| found.unsettled);
    if unsettled > 0 {
        let kept = counted(unsettled, "product kept changing and was", "products kept changing and were");
        sentence.push_str(&format!("; {kept} not compared"));
    }
    let doubtful = found.iter().filter(|found| found.doubt.is_some()).count();
    if doubtful > 0 {
        sentence.push_str(&format!("; {} in doubt", counted(doubtful, "mall is", "malls are")));
    }
    sentence
}
