//! Repairs: each is written down before it is made, and made only if nothing has moved since it was planned.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;

use crate::clients::redis::Redis;
use crate::db::{Bulk, Db, FromRow};
use crate::failure::Failure;
use crate::period::local_day;
use crate::printable::shortened;
use crate::runner::{Run, failpoint};
use crate::{bulk_row, values};

use super::comparison::Place;
use super::difference::{Cause, Difference, Plan, Source};
use super::queries::quantities;
use super::reserved::Orders;
use super::store::{ReplaceResult, Replacement, Stored, read, replace};

/// Repairs of one commit, and of one exchange with Redis.
const CHUNK: usize = 500;
/// How often a repair is tried if the stock moves in between.
const TRIES: u32 = 5;
/// How long an order gets between two tries: usually enough for its other half.
const BREATH: Duration = Duration::from_millis(20);
/// The most repairs of a killed run that are looked at at once.
const UNFINISHED: i64 = 500;
/// How much of a text is stored.
const STORED_CHARACTERS: usize = 1000;

bulk_row! {
    /// A difference.
    struct Noted<'d> => "stock_differences" {
        execution_id: i64,
        day: NaiveDate,
        mall_id: i64,
        product_id: Option<i64>,
        product_code: &'d str,
        stock_key: &'d str,
        quantity: Option<i64>,
        stored: Option<&'d str>,
        cause: &'static str,
        target: Option<i64>,
        repair: &'static str,
        found_at: DateTime<Utc>,
    }
}

/// How many differences were repaired, and how many were not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct RepairCounts {
    pub(super) repaired: u64,
    pub(super) moved: u64,
    pub(super) left: u64,
}

impl std::ops::AddAssign for RepairCounts {
    fn add_assign(&mut self, more: Self) {
        self.repaired += more.repaired;
        self.moved += more.moved;
        self.left += more.left;
    }
}

/// Notes the differences of a mall and repairs them. One that cannot be repaired fails by its product.
pub(super) async fn repair(
    run: &mut Run<'_>,
    redis: &mut Redis,
    place: &Place,
    rules: (Source, Orders),
    differences: &[Difference],
) -> anyhow::Result<RepairCounts> {
    let (source, orders) = rules;
    let mut total = RepairCounts::default();
    for chunk in differences.chunks(CHUNK) {
        let (mut of_redis, mut of_database) = (Vec::new(), Vec::new());
        for difference in chunk {
            match difference.plan(source) {
                Plan::SetRedis(number) => of_redis.push((difference, Some(number))),
                Plan::DeleteKey => of_redis.push((difference, None)),
                Plan::SetDatabase(number) => of_database.push((difference, number)),
                Plan::Leave(because) => {
                    leave(run, place, difference, because).await?;
                    total.left += 1;
                }
            }
        }
        if !of_redis.is_empty() {
            total += repair_redis(run, redis, place, orders, &of_redis).await?;
        }
        if !of_database.is_empty() {
            total += repair_database(run, place, &of_database).await?;
        }
    }
    Ok(total)
}

/// A text as every database takes it, for people.
fn storable(text: &str) -> String {
    shortened(&text.replace('\0', "␀"), STORED_CHARACTERS).into_owned()
}

/// A key as every database takes it, from which [`key_of`] makes the same key again: no text of PostgreSQL has a NUL.
fn stored_key(key: &str) -> String {
    key.replace('\\', r"\\").replace('\0', r"\0")
}

/// The key that was stored.
fn key_of(stored: &str) -> String {
    let mut key = String::with_capacity(stored.len());
    let mut characters = stored.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => key.push(if characters.next() == Some('0') { '\0' } else { '\\' }),
            other => key.push(other),
        }
    }
    key
}

/// Writes differences of a mall down.
async fn note(
    db: &mut Db,
    run: i64,
    now: DateTime<Utc>,
    place: &Place,
    differences: &[(&Difference, Option<i64>)],
    repair: &'static str,
) -> anyhow::Result<()> {
    let day = local_day(now, place.mall.time_zone()?);
    let mut rows = Bulk::new(db);
    for (difference, target) in differences {
        let stored = difference.stored.shown().map(|text| storable(&text));
        rows.push(&Noted {
            execution_id: run,
            day,
            mall_id: place.mall.id,
            product_id: difference.product,
            product_code: &storable(&difference.code),
            stock_key: &stored_key(&difference.key),
            quantity: difference.quantity,
            stored: stored.as_deref(),
            cause: difference.cause().word(),
            target: *target,
            repair,
            found_at: now,
        });
    }
    db.load(&mut rows).await?;
    Ok(())
}

/// Notes a difference that is not repaired: a person has to.
async fn leave(
    run: &mut Run<'_>,
    place: &Place,
    difference: &Difference,
    because: &str,
) -> anyhow::Result<()> {
    let stored = difference.stored.shown().unwrap_or_else(|| "nothing".to_owned());
    let failure = Failure::bad_input(format!(
        "Redis has {stored} at the key `{}` ({}); it is left as it is: {because}",
        difference.key,
        difference.cause().shown(crate::locale::Locale::En),
    ));
    let failure = match difference.cause() {
        Cause::WrongType => {
            failure.hint("delete the key if it is not needed; the next run writes the stock to it")
        }
        _ => failure,
    };
    // It was compared: nothing is missing from what the job counts.
    run.fail_part(&format!("{}/{}", place.mall.code, difference.code), "repair", &failure.into());
    let (id, now) = (run.id(), run.cx.now());
    run.chunk(None::<&str>, async |db| note(db, id, now, place, &[(difference, None)], "LEFT").await).await
}

// ---------------------------------------------------------------- Redis

/// Writes the plan down, carries it out, and writes down what became of it: whoever is killed in between leaves a plan that
/// the next run compares with what is there.
async fn repair_redis(
    run: &mut Run<'_>,
    redis: &mut Redis,
    place: &Place,
    orders: Orders,
    plans: &[(&Difference, Option<i64>)],
) -> anyhow::Result<RepairCounts> {
    let (id, now) = (run.id(), run.cx.now());
    run.chunk(None::<&str>, async |db| note(db, id, now, place, plans, "PLANNED").await).await?;
    failpoint::reach(&run.cx.config, "reconcile-planned");
    let results = carry_out(run.db, redis, place, orders, plans).await?;
    failpoint::reach(&run.cx.config, "reconcile-repaired");
    let mut total = RepairCounts::default();
    let (mut unmoved, mut refused) = (Vec::new(), Vec::new());
    for (difference, _) in plans {
        match results.get(difference.key.as_str()) {
            Some(ReplaceResult::Done) => total.repaired += 1,
            Some(ReplaceResult::Refused(problem)) => {
                total.left += 1;
                refused.push(stored_key(&difference.key));
                let failure =
                    Failure::failed(format!("Redis refuses to repair `{}`: {problem}", difference.key));
                let key = format!("{}/{}", place.mall.code, difference.code);
                run.fail_part(&key, "repair", &failure.into());
            }
            _ => {
                total.moved += 1;
                unmoved.push(stored_key(&difference.key));
            }
        }
    }
    run.written(total.repaired);
    run.chunk(None::<&str>, async |db| {
        let sql = format!(
            "UPDATE stock_differences
             SET repair = CASE WHEN stock_key IN {} THEN 'MOVED' WHEN stock_key IN {} THEN 'LEFT' ELSE 'REPAIRED' END
             WHERE execution_id = $1 AND repair = 'PLANNED'",
            db.elements("$2"),
            db.elements("$3")
        );
        db.execute(&sql, values![id, json!(unmoved), json!(refused)]).await?;
        Ok(())
    })
    .await?;
    Ok(total)
}

/// Makes the repairs, each as often as something moves in between, and returns what became of each, by its key.
async fn carry_out<'d>(
    db: &mut Db,
    redis: &mut Redis,
    place: &Place,
    orders: Orders,
    plans: &[(&'d Difference, Option<i64>)],
) -> anyhow::Result<BTreeMap<&'d str, ReplaceResult>> {
    let mut results: BTreeMap<&str, ReplaceResult> =
        plans.iter().map(|(difference, _)| (difference.key.as_str(), ReplaceResult::Moved)).collect();
    let mut open: Vec<&Difference> = plans.iter().map(|(difference, _)| *difference).collect();
    let mut attempts = unmoved(db, place, orders, plans).await?;
    for attempt in 1..=TRIES {
        let replacements: Vec<Replacement> =
            attempts.iter().map(|(_, replacement)| replacement.clone()).collect();
        let tried = replace(redis, &replacements).await?;
        for ((difference, _), result) in attempts.iter().zip(tried) {
            results.insert(&difference.key, result);
        }
        open.retain(|difference| {
            difference.surplus().is_some()
                && results.get(difference.key.as_str()) == Some(&ReplaceResult::Moved)
        });
        if open.is_empty() || attempt == TRIES {
            break;
        }
        tokio::time::sleep(BREATH).await;
        attempts = again(db, redis, place, orders, &open).await?;
    }
    Ok(results)
}

/// The repairs of what the database has not changed since it was compared: a comparison of many products takes a while.
async fn unmoved<'d>(
    db: &mut Db,
    place: &Place,
    orders: Orders,
    plans: &[(&'d Difference, Option<i64>)],
) -> anyhow::Result<Vec<(&'d Difference, Replacement)>> {
    let products: Vec<i64> = plans.iter().filter_map(|(difference, _)| difference.product).collect();
    let quantities = quantities(db, &products).await?;
    let taken_up = taken_up(db, place, orders, plans.iter().map(|(difference, _)| *difference)).await?;
    let is_unmoved = |difference: &Difference| {
        difference.product.is_none_or(|product| quantities.get(&product).copied() == difference.quantity)
            && !taken_up.contains(&difference.key)
    };
    Ok(plans
        .iter()
        .filter(|(difference, _)| is_unmoved(difference))
        .map(|(difference, target)| (*difference, replacement(difference, *target)))
        .collect())
}

fn replacement(difference: &Difference, becomes: Option<i64>) -> Replacement {
    Replacement {
        key: difference.key.clone(),
        product: difference.code.clone(),
        was: difference.stored.clone(),
        becomes,
        reservations: difference.leaked.clone(),
    }
}

/// The keys of those of these differences of which an orphaned reservation has found its order since.
async fn taken_up<'d>(
    db: &mut Db,
    place: &Place,
    orders: Orders,
    differences: impl Iterator<Item = &'d Difference> + Clone,
) -> anyhow::Result<BTreeSet<String>> {
    let leaks: BTreeSet<&String> =
        differences.clone().flat_map(|difference| &difference.leaked).map(|leak| &leak.key).collect();
    let leaks: Vec<String> = leaks.into_iter().cloned().collect();
    let taken_up = orders.taken_up(db, place, &leaks).await?;
    let is_taken_up =
        |difference: &&Difference| difference.leaked.iter().any(|leak| taken_up.contains(&leak.key));
    Ok(differences.filter(is_taken_up).map(|difference| difference.key.clone()).collect())
}

/// The same repairs of what has moved, if the two still differ by as many units: those that are sold in between are no reason
/// to wait for the next night.
async fn again<'d>(
    db: &mut Db,
    redis: &mut Redis,
    place: &Place,
    orders: Orders,
    moved: &[&'d Difference],
) -> anyhow::Result<Vec<(&'d Difference, Replacement)>> {
    let keys: Vec<String> = moved.iter().map(|difference| difference.key.clone()).collect();
    let products: Vec<i64> = moved.iter().filter_map(|difference| difference.product).collect();
    let now = read(redis, &keys).await?;
    let quantities = quantities(db, &products).await?;
    let taken_up = taken_up(db, place, orders, moved.iter().copied()).await?;
    let mut attempts = Vec::new();
    for (difference, stored) in moved.iter().zip(now) {
        let quantity = difference.product.and_then(|product| quantities.get(&product).copied());
        let now = Difference { quantity, stored, ..(*difference).clone() };
        if !taken_up.contains(&difference.key)
            && now.gap() == difference.gap()
            && let Stored::Number(number) = now.stored
            && let Some(surplus) = difference.surplus()
            && let Ok(becomes) = i64::try_from(i128::from(number) - surplus)
        {
            attempts.push((*difference, replacement(&now, Some(becomes))));
        }
    }
    Ok(attempts)
}

/// A repair that a run has planned, and was killed before it could say what became of it.
#[derive(FromRow)]
struct Unfinished {
    id: i64,
    stock_key: String,
    stored: Option<String>,
    target: Option<i64>,
}

/// Finds out what became of the repairs of runs that were killed. One that was not made is found again.
pub(super) async fn settle_unfinished(run: &mut Run<'_>, redis: &mut Redis) -> anyhow::Result<()> {
    loop {
        let sql = "SELECT id, stock_key, stored, target FROM stock_differences WHERE repair = 'PLANNED' ORDER BY id LIMIT $1";
        let rows: Vec<Unfinished> =
            run.db.fetch_all(sql, values![UNFINISHED]).await.context("failed to read unfinished repairs")?;
        if rows.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = rows.iter().map(|row| key_of(&row.stock_key)).collect();
        let now = read(redis, &keys).await?;
        let (mut made, mut not_made, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for (row, stored) in rows.iter().zip(now) {
            let becomes = row.target.map_or(Stored::Missing, Stored::Number);
            if stored == becomes {
                made.push(row.id);
            } else if stored.shown() == row.stored {
                not_made.push(row.id);
            } else {
                // Units were sold since: whether from the old number or from the new one is not known.
                unknown.push(row.id);
            }
        }
        run.chunk(None::<&str>, async |db| {
            for (repair, ids) in [("REPAIRED", made), ("UNKNOWN", unknown)] {
                let ids_of = db.numbers("$1");
                let sql = format!("UPDATE stock_differences SET repair = '{repair}' WHERE id IN {ids_of}");
                db.execute(&sql, values![json!(ids)]).await?;
            }
            let sql = format!("DELETE FROM stock_differences WHERE id IN {}", db.numbers("$1"));
            db.execute(&sql, values![json!(not_made)]).await?;
            Ok(())
        })
        .await?;
    }
}

// ---------------------------------------------------------------- the database

/// Takes over what Redis has, if the database still has what was compared; with the rows that say so, in one transaction.
async fn repair_database(
    run: &mut Run<'_>,
    place: &Place,
    plans: &[(&Difference, i64)],
) -> anyhow::Result<RepairCounts> {
    let (id, now) = (run.id(), run.cx.now());
    let total = run
        .chunk_writing(None::<&str>, async |db| {
            let mut total = RepairCounts::default();
            for (difference, becomes) in plans {
                let sql =
                    "UPDATE stock SET quantity = $1, updated_at = $2 WHERE product_id = $3 AND quantity = $4";
                let values = values![*becomes, now, difference.product, difference.quantity];
                let is_done = db.execute(sql, values).await? == 1;
                let repair = if is_done { "REPAIRED" } else { "MOVED" };
                note(db, id, now, place, &[(difference, Some(*becomes))], repair).await?;
                total += RepairCounts { repaired: u64::from(is_done), moved: u64::from(!is_done), left: 0 };
            }
            Ok((total, total.repaired))
        })
        .await?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_stored_so_that_it_is_found_again() {
        let long = "x".repeat(5000);
        for key in ["stock:tokyo:P1", "\0", "a\0b\\0", r"a\b\", r"\\0", "␀", "…", &long] {
            let stored = stored_key(key);
            assert!(!stored.contains('\0'));
            assert_eq!(key_of(&stored), key);
        }
        assert_eq!(stored_key("stock:tokyo:P1"), "stock:tokyo:P1");
    }
}
