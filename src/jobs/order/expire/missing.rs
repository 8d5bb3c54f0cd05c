//! Reservations that are not in Redis. One may have none; but if a mall's are all missing, Redis may be the wrong one: another
//! database number, another server, or keys that are called something else since. Then they wait, and somebody is told.

use serde_json::json;

use super::cancel::among;
use super::releases::Released;
use crate::clients::redis::{Invocation, Redis, Reply};
use crate::config::StockKeys;
use crate::db::{Db, FromRow, Problems};
use crate::failure::Failure;
use crate::runner::Run;
use crate::values;
use crate::wording::{command, counted};

/// Whether anything is stored at some keys.
const STOCKED: &str = include_str!("stocked.lua");
/// The products by whose stock a mall is recognised in Redis.
const PRODUCTS: i64 = 1000;
/// Keys that one script looks at: a tenth of a millisecond.
const KEYS_AT_ONCE: usize = 100;
/// The orders whose products are looked for besides.
const ORDERS: i64 = 100;
/// What is usual of a mall is what became of so many releases.
const LATEST: i64 = 100;
/// So many of a run's that are all missing are too many where usually most are there.
const MANY: u64 = 10;
/// Rows of one commit.
const CHUNK: u64 = 1000;

/// The malls whose missing reservations somebody has taken for gone.
pub(super) struct Accepted {
    pub(super) is_given: bool,
    /// `None` for all.
    pub(super) malls: Option<Vec<i64>>,
}

impl Accepted {
    fn includes(&self, mall_id: i64) -> bool {
        self.is_given && self.malls.as_ref().is_none_or(|malls| malls.contains(&mall_id))
    }
}

/// What Redis knew of the reservations of a mall.
#[derive(Debug)]
pub(super) struct Seen {
    mall: String,
    /// Whether its orders are kept in this database.
    is_own: bool,
    /// How many were there.
    pub(super) found: u64,
    /// How many were not.
    pub(super) missing: u64,
    /// How many were not there of those that a run had given back, perhaps, which did not hear the answer.
    pub(super) given_back_perhaps: u64,
}

impl Seen {
    pub(super) fn of(mall: &str, is_own: bool) -> Self {
        Self { mall: mall.to_owned(), is_own, found: 0, missing: 0, given_back_perhaps: 0 }
    }
}

/// Whether it is believed that the missing reservations of a mall are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    Gone,
    /// Somebody has said so, and none has been found since.
    AcceptedBefore,
    Doubted(Doubt),
}

/// Why it is not believed that reservations are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// Redis has nothing of the mall.
    NothingThere,
    /// The keys are called something else than when one was found.
    RenamedSince,
    /// Usually most are there.
    Unusual,
}

/// Decides about the reservations that were missing: they are done, or wait because Redis is in doubt.
pub(super) async fn settle_missing(
    run: &mut Run<'_>,
    redis: &mut Redis,
    accepted: &Accepted,
    released: &mut Released,
) -> anyhow::Result<()> {
    let mut doubtful = Vec::new();
    for (mall_id, seen) in std::mem::take(&mut released.malls) {
        if seen.missing + seen.given_back_perhaps == 0 {
            continue;
        }
        let units = match doubt(run, redis, mall_id, &seen).await? {
            Belief::Gone => Some(0),
            Belief::AcceptedBefore => None,
            Belief::Doubted(_) if accepted.includes(mall_id) => None,
            Belief::Doubted(doubt) => {
                doubtful.push((doubt, seen));
                continue;
            }
        };
        loop {
            let now = run.cx.now();
            let done = run.chunk(None::<&str>, async |db| believe(db, mall_id, units, now).await).await?;
            released.gone += done;
            if done < CHUNK {
                break;
            }
        }
    }
    released.trouble = failure(redis, &doubtful);
    Ok(())
}

/// Whether the missing ones of a mall are gone.
async fn doubt(run: &mut Run<'_>, redis: &mut Redis, mall_id: i64, seen: &Seen) -> anyhow::Result<Belief> {
    if seen.found > 0 {
        return Ok(Belief::Gone);
    }
    let history = history(run.db, mall_id).await?;
    if history.first().is_some_and(|last| last.units.is_none()) {
        return Ok(Belief::AcceptedBefore);
    }
    let keys = &run.cx.config.stock().redis;
    if !has_stock(run.db, redis, keys, mall_id, &seen.mall).await? {
        return Ok(Belief::Doubted(Doubt::NothingThere));
    }
    let mut found = history.iter().filter(|earlier| earlier.units.is_some_and(|units| units > 0));
    let Some(last) = found.next() else { return Ok(Belief::Gone) };
    // A run that was killed in between leaves some that are missing for a good reason.
    if seen.missing > 0 && last.is_called_otherwise(keys, &seen.mall) {
        return Ok(Belief::Doubted(Doubt::RenamedSince));
    }
    let is_usual = 2 * (1 + found.count()) >= history.len();
    let is_unusual = is_usual && seen.missing >= MANY;
    Ok(if is_unusual { Belief::Doubted(Doubt::Unusual) } else { Belief::Gone })
}

/// What to tell of the malls whose reservations wait.
fn failure(redis: &Redis, doubtful: &[(Doubt, Seen)]) -> Option<Failure> {
    let (_, first) = doubtful.first()?;
    let told: Vec<String> = doubtful
        .iter()
        .map(|(doubt, seen)| {
            let reservations = counted(seen.missing + seen.given_back_perhaps, "reservation", "reservations");
            let because = match doubt {
                Doubt::NothingThere => "and no product's stock either",
                Doubt::RenamedSince => "where keys were called something else when one was last found",
                Doubt::Unusual => "where usually most are",
            };
            format!("mall `{}` ({reservations}, {because})", seen.mall)
        })
        .collect();
    let mut words = vec!["order", "expire"];
    // It is refused for a mall whose orders are kept elsewhere by now.
    if doubtful.len() == 1 && first.is_own {
        words.extend(["--mall", first.mall.as_str()]);
    }
    words.push("--accept-missing");
    Some(
        Failure::failed(format!(
            "the reservations of cancelled orders wait, because none is in {}: {}",
            redis.name(),
            told.join(", ")
        ))
        .hint(format!(
            "is that the right Redis (the number at its end is that of its database), and are the mall's code and `[stock.redis]` \
             what the application calls its keys by? Correct {}, or them; if the reservations are gone, or nothing is kept \
             there: {}",
            redis.origin(),
            command(&words)
        )),
    )
}

// ---------------------------------------------------------------- what is known

/// A release that is done.
#[derive(Debug, FromRow)]
struct Earlier {
    order_no: String,
    /// `None` if it was missing, and somebody took it for gone.
    units: Option<i64>,
    reservation_key: Option<String>,
    #[row(problems)]
    problems: Problems,
}

impl Earlier {
    /// Whether its reservation would have another key now.
    fn is_called_otherwise(&self, keys: &StockKeys, mall: &str) -> bool {
        self.problems.is_empty()
            && self
                .reservation_key
                .as_ref()
                .is_some_and(|key| *key != keys.reservation_of(mall, &self.order_no))
    }
}

/// The latest releases of a mall that are done, latest first.
async fn history(db: &mut Db, mall_id: i64) -> anyhow::Result<Vec<Earlier>> {
    let sql = "SELECT order_no, units, reservation_key FROM stock_releases
               WHERE mall_id = $1 AND state = 'RELEASED' ORDER BY updated_at DESC, id DESC LIMIT $2";
    Ok(db.fetch_all(sql, values![mall_id, LATEST]).await?)
}

/// Whether Redis has the stock of a product of the mall: one that these orders contain, or any other. Yes, if there is no
/// product to ask for.
async fn has_stock(
    db: &mut Db,
    redis: &mut Redis,
    keys: &StockKeys,
    mall_id: i64,
    mall: &str,
) -> anyhow::Result<bool> {
    let codes = products(db, mall_id).await?;
    let (before, after) = keys.stock_of(mall);
    let stocks: Vec<String> = codes.iter().map(|code| format!("{before}{code}{after}")).collect();
    let invocations: Vec<Invocation> = stocks
        .chunks(KEYS_AT_ONCE)
        .map(|keys| Invocation { keys: keys.to_vec(), arguments: Vec::new() })
        .collect();
    if invocations.is_empty() {
        return Ok(true);
    }
    let mut has_any = false;
    for reply in redis.run_each(STOCKED, &invocations).await? {
        match reply {
            Ok(Reply::Int(found)) => has_any |= found == 1,
            Ok(_) => return Err(redis.strange().into()),
            Err(trouble) => return Err(Failure::from(trouble).into()),
        }
    }
    Ok(has_any)
}

/// Products of a mall that should have a stock in Redis: those of the orders whose reservations are missing, and the newest of
/// which a stock is kept here.
async fn products(db: &mut Db, mall_id: i64) -> anyhow::Result<Vec<String>> {
    #[derive(FromRow)]
    struct Product {
        product_code: String,
        #[row(problems)]
        problems: Problems,
    }
    let missing = "SELECT order_id FROM stock_releases WHERE is_missing AND mall_id = $1
                   ORDER BY id LIMIT $2";
    let orders: Vec<(i64,)> = db.fetch_all(missing, values![mall_id, ORDERS]).await?;
    let orders: Vec<i64> = orders.into_iter().map(|(id,)| id).collect();
    let ordered = format!(
        "SELECT product_code FROM order_items WHERE order_id {} ORDER BY order_id, line_key LIMIT $2",
        among(db, "$1")
    );
    let mut products: Vec<Product> = db.fetch_all(&ordered, values![json!(orders), PRODUCTS]).await?;
    let stocked = "SELECT p.product_code FROM products p
                   WHERE p.mall_id = $1 AND p.status <> 'DISCONTINUED'
                     AND (SELECT COUNT(*) FROM stock s WHERE s.product_id = p.id) > 0
                   ORDER BY p.id DESC LIMIT $2";
    products.extend(db.fetch_all::<Product>(stocked, values![mall_id, PRODUCTS]).await?);
    Ok(products.into_iter().filter(|one| one.problems.is_empty()).map(|one| one.product_code).collect())
}

/// Notes that missing reservations of a mall are gone, and returns of how many: at most a chunk.
async fn believe(
    db: &mut Db,
    mall_id: i64,
    units: Option<i64>,
    now: chrono::DateTime<chrono::Utc>,
) -> anyhow::Result<u64> {
    let sql = "UPDATE stock_releases SET state = 'RELEASED', attempts = attempts + 1, last_error = NULL, updated_at = $3,
                                         units = $2, is_missing = FALSE
               WHERE state = 'WAITING' AND id IN (SELECT id FROM stock_releases WHERE is_missing AND mall_id = $1
                            ORDER BY id LIMIT $4)";
    Ok(db.execute(sql, values![mall_id, units, now, CHUNK.cast_signed()]).await?)
}
