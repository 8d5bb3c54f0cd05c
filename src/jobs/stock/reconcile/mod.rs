//! `stock reconcile`: compares the stock of each product in the database with that in Redis, and repairs what differs.
//!
//! Both move while they are compared. A difference counts only if it stays the same for a while (`comparison`), and is
//! repaired only if nothing has moved since (`repair`). Where so much differs that it is not the stock that is wrong, nothing
//! is repaired at all.

mod comparison;
pub(super) mod difference;
mod ending;
mod repair;
mod reserved;
mod store;
#[cfg(test)]
mod tests;

use crate::clients::redis::Redis;
use crate::config::ReconcileConfig;
use crate::context::Context;
use crate::db::Db;
use crate::documents::{Cell, Column, ColumnKind, Row, Table, terminal};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::runner::{Exclusion, Items, Job, JobSpec, Planned, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::{APP, Mall, MallArgs};
use crate::wording::counted;

use comparison::{Comparison, Found, Place, Rules};
use difference::{Difference, Plan, Source};
use repair::Tally;
use reserved::Orders;

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
        refuse_shared_keys(cx, &malls)?;
        server(cx)?;
        Ok(vec![Planned::sweep(()).at(&self.malls, &malls)])
    }

    async fn run(&self, run: &mut Run<'_>, _unit: &()) -> anyhow::Result<()> {
        let cx = run.cx;
        let malls = self.own_malls(run.db).await?;
        let places = places(cx, run.usable_malls(malls).into_iter().map(|(mall, _)| mall));
        run.db.plan_by_index().await?;
        run.db.analyze_unknown(&["products", "stock", "orders"]).await?;
        let mut redis = server(cx)?.connect().await?;
        repair::settle_unfinished(run, &mut redis).await?;
        let found = self.compared(run, &mut redis, &places).await?;
        let mut repaired = Vec::with_capacity(places.len());
        for (place, found) in places.iter().zip(&found) {
            for (product, failure) in &found.unreadable {
                let key = format!("{}/{product}", place.mall.code);
                run.fail_item(&key, "read", &failure.clone().into());
            }
            repaired.push(repair::repair(run, &mut redis, place, self.source, &found.differences).await?);
        }
        ending::tell(run, &places, &found, &repaired, self.source).await?;
        run.summarise(sentence(&found, &repaired));
        Ok(())
    }

    /// Shows each difference, and what would be done about it.
    async fn try_out(&self, cx: &Context, db: &mut Db) -> anyhow::Result<()> {
        let malls = self.own_malls(db).await?;
        let places = places(cx, malls.into_iter().filter(|mall| mall.time_zone().is_ok()));
        if places.is_empty() {
            return Ok(());
        }
        let mut redis = server(cx)?.connect().await?;
        let mut comparison = Comparison::of(&places, self.rules(cx));
        while comparison.step(db, &mut redis).await? {}
        let differences = comparison.found.iter().flat_map(|found| &found.differences);
        let rows: Vec<Row> = differences.map(|difference| row(&places, difference, self.source)).collect();
        if rows.is_empty() {
            return Ok(cx.output.text("no differences")?);
        }
        let text = |key, label| Column::new(key, label, ColumnKind::Text);
        let table = Table {
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
        };
        let shown = terminal::render_list(&table, cx.output.width(), cx.output.colour());
        Ok(cx.output.data(shown.as_bytes())?)
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
                "the orders of mall `{}` are not kept in this database (platform `{}`): its stock has no part in Redis",
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
        let orders = Orders { now: cx.now(), leaked_after: config.leaked_after() };
        Rules { config, accepts_all: self.accept_all, orders }
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
        while comparison.step(run.db, redis).await? {
            let compared = comparison.found.iter().map(|found| found.compared).sum();
            run.read(compared - counted);
            counted = compared;
            run.check_stop()?;
        }
        Ok(comparison.found)
    }
}

fn places(cx: &Context, malls: impl Iterator<Item = Mall>) -> Vec<Place> {
    malls.map(|mall| Place::new(&cx.config.stock().redis, mall)).collect()
}

/// The Redis that is compared.
fn server(cx: &Context) -> Result<crate::clients::redis::RedisServer, Failure> {
    cx.redis().ok_or_else(|| {
        Failure::configuration("BATCHCTL_REDIS_URL is not set: `stock reconcile` compares the stock in Redis")
            .hint("set it, or leave this job out where stock is kept in the database alone")
            .retry_once("once it is set")
    })
}

/// Two malls may have products of the same code.
fn refuse_shared_keys(cx: &Context, malls: &[Mall]) -> Result<(), Failure> {
    let keys = &cx.config.stock().redis;
    match keys.without_mall() {
        Some(key) if malls.len() > 1 => Err(Failure::configuration(format!(
            "`{key}` has no {{mall}}, but {} malls are compared: they would share their keys",
            malls.len()
        ))
        .hint("write {mall} into it, in batchctl.toml")),
        _ => Ok(()),
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

fn sentence(found: &[Found], repaired: &[Tally]) -> String {
    let sum = |count: fn(&Found) -> u64| found.iter().map(count).sum::<u64>();
    let compared = counted(sum(|found| found.compared), "product", "products");
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
        sentence
            .push_str(&format!("; {} all the time", counted(unsettled, "product moved", "products moved")));
    }
    sentence
}
