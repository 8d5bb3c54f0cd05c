//! Times that other programs wrote wrongly into the shop's tables.
//!
//! On SQLite a time is a text, and a query for a day compares texts: a row whose time does not exist, or has another form,
//! falls into no day or into the wrong one, and nobody sees it. Each such column is watched by a partial index
//! (`orders_misdated`), which holds the rows that have no proper time and is empty otherwise: to ask for them costs a
//! lookup, whatever the table's size. PostgreSQL's CHECKs keep them out.

use crate::db::{Db, FromRow, Kind, Problems};
use crate::failure::Failure;
use crate::printable::{escaped, shortened};
use crate::values;
use crate::wording::counted;

use super::malls::Mall;

/// How many are named.
const MOST: i64 = 100;
/// How much is shown of what is not a time.
const SHOWN_CHARACTERS: usize = 40;

/// The times and days of a table that decide which of its rows a job sees.
#[derive(Debug, Clone, Copy)]
pub struct Dated {
    /// The table.
    table: &'static str,
    /// The column by which people know its rows.
    key: &'static str,
    /// Its instants.
    times: &'static [&'static str],
    /// Its days.
    days: &'static [&'static str],
    /// Which of its rows matter, as a condition.
    which: &'static str,
}

impl Dated {
    /// All of the rows that the shop sells by: `orders`.
    pub const ORDERS: Self =
        Self::of("orders", "order_no", &["ordered_at", "paid_at", "cancelled_at"], &[], "TRUE");
    /// What was paid back.
    pub const REFUNDS: Self = Self::of("refunds", "refund_key", &["refunded_at"], &[], "TRUE");
    /// Who signed up and left.
    pub const MEMBERS: Self =
        Self::of("members", "member_code", &["signed_up_at", "confirmed_at", "withdrawn_at"], &[], "TRUE");
    /// Carts that were not ordered.
    pub const CARTS: Self = Self::of(
        "carts",
        "cart_key",
        &["last_activity_at"],
        &[],
        "ordered_at IS NULL AND member_code IS NOT NULL",
    );
    /// Subscriptions that are charged.
    pub const SUBSCRIPTIONS: Self =
        Self::of("subscriptions", "subscription_no", &[], &["next_charge_day"], "status = 'ACTIVE'");
    /// Articles.
    pub const ARTICLES: Self = Self::of("articles", "article_key", &["published_at"], &[], "TRUE");
    /// Consents to advertising.
    pub const CONSENTS: Self =
        Self::of("mail_consents", "member_code", &["source_updated_at", "created_at"], &[], "is_granted");

    const fn of(
        table: &'static str,
        key: &'static str,
        times: &'static [&'static str],
        days: &'static [&'static str],
        which: &'static str,
    ) -> Self {
        Self { table, key, times, days, which }
    }

    /// For each column whether it is wrong, in the words of the index.
    fn wrong(&self, db: &Db) -> Vec<(&'static str, String)> {
        let times = self.times.iter().map(|column| (*column, format!("NOT {}", db.is_time(column))));
        let days = self.days.iter().map(|column| (*column, format!("NOT {}", db.is_day(column))));
        times.chain(days).collect()
    }
}

#[derive(FromRow)]
struct Found {
    key: String,
    column_name: String,
    value: String,
    #[row(problems)]
    #[expect(dead_code, reason = "it only has the row be read")]
    problems: Problems,
}

/// A row without a proper time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misdated {
    /// The key by which people know it.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The first of a mall's rows that have no proper time.
pub async fn misdated(db: &mut Db, mall: &Mall, dated: &Dated) -> anyhow::Result<Vec<Misdated>> {
    misdated_where(db, mall, dated, "TRUE").await
}

/// The same of the rows for which a condition holds.
pub async fn misdated_where(
    db: &mut Db,
    mall: &Mall,
    dated: &Dated,
    condition: &str,
) -> anyhow::Result<Vec<Misdated>> {
    if db.kind() == Kind::Postgres {
        return Ok(Vec::new());
    }
    let wrong = dated.wrong(db);
    let case = |value: fn(&str) -> String| {
        let whens: Vec<String> =
            wrong.iter().map(|(column, wrong)| format!("WHEN {wrong} THEN {}", value(column))).collect();
        format!("CASE {} END", whens.join(" "))
    };
    let conditions: Vec<&str> = wrong.iter().map(|(_, wrong)| wrong.as_str()).collect();
    let Dated { table, key, which, .. } = dated;
    // Named, because a planner without statistics may take any index that begins with the mall. A shop may have put a view
    // in the table's place.
    let index = format!("{table}_misdated");
    let (is_there,): (bool,) = db
        .fetch_one(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = $1 AND tbl_name = $2)",
            values![&index, *table],
        )
        .await?;
    let by = if is_there { format!("INDEXED BY {index}") } else { String::new() };
    let sql = format!(
        "SELECT {key} AS key, {} AS column_name, {} AS value FROM {table} {by}
         WHERE mall_id = $1 AND ({}) AND {which} AND ({condition}) ORDER BY id LIMIT $2",
        case(|column| format!("'{column}'")),
        case(|column| format!("SUBSTR({column}, 1, 100)")),
        conditions.join(" OR ")
    );
    let found: Vec<Found> = db.fetch_all(&sql, values![mall.id, MOST]).await?;
    Ok(found
        .into_iter()
        .map(|Found { key, column_name, value, .. }| {
            let is = if dated.days.contains(&column_name.as_str()) {
                "not a day like 2026-11-20"
            } else {
                "not a time like 2026-11-20T10:00:00+00:00"
            };
            let value = shortened(&escaped(&value), SHOWN_CHARACTERS).into_owned();
            let problem = format!("the column `{column_name}` of `{table}` holds `{value}`, which is {is}");
            Misdated { key, problem }
        })
        .collect())
}

/// Refuses to compute a mall's figures from tables that have rows without a proper time: a figure without them would be
/// wrong, and nobody would see it.
pub async fn check(db: &mut Db, mall: &Mall, tables: &[Dated]) -> anyhow::Result<()> {
    for dated in tables {
        let found = misdated(db, mall, dated).await?;
        let Some(first) = found.first() else { continue };
        let more = match found.len() - 1 {
            0 => String::new(),
            more => format!(" ({} more like it)", counted(more, "row", "rows")),
        };
        let Dated { table, key, .. } = dated;
        let what = format!("the row of `{table}` whose {key} is `{}`", escaped(&first.key));
        return Err(Failure::bad_input(format!("{what} cannot be placed in time: {}{more}", first.problem))
            .hint(format!("correct it in the database, by its `{key}`"))
            .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, on_both_databases};
    use crate::shop::malls::all_malls;

    on_both_databases![a_row_without_a_proper_time_is_found_by_its_index, a_time_is_one_in_utc_that_exists];

    const ALL: [Dated; 7] = [
        Dated::ORDERS,
        Dated::REFUNDS,
        Dated::MEMBERS,
        Dated::CARTS,
        Dated::SUBSCRIPTIONS,
        Dated::ARTICLES,
        Dated::CONSENTS,
    ];

    /// One row in each table, with proper times.
    const ROWS: &str = "
        INSERT INTO orders (id, mall_id, order_no, status, currency, total_amount, discount_amount, shipping_amount,
            tax_amount, ordered_at, created_at, updated_at) VALUES (1, 1, 'K', 'PAID', 'JPY', 1, 0, 0, 0, $, $, $);
        INSERT INTO refunds (mall_id, order_id, refund_key, currency, amount, refunded_at, created_at, updated_at)
            VALUES (1, 1, 'K', 'JPY', 1, $, $, $);
        INSERT INTO members (mall_id, member_code, status, signed_up_at, created_at, updated_at)
            VALUES (1, 'K', 'ACTIVE', $, $, $);
        INSERT INTO carts (mall_id, cart_key, member_code, currency, last_activity_at, created_at, updated_at)
            VALUES (1, 'K', 'K', 'JPY', $, $, $);
        INSERT INTO subscriptions (mall_id, subscription_no, member_code, plan_name, status, currency, amount,
            next_charge_day, created_at, updated_at) VALUES (1, 'K', 'K', 'P', 'ACTIVE', 'JPY', 1, '2026-11-21', $, $);
        INSERT INTO articles (mall_id, article_key, title, summary, url, published_at, created_at, updated_at)
            VALUES (1, 'K', 't', 's', 'u', $, $, $);
        INSERT INTO mail_consents (mall_id, member_code, purpose, is_granted, source_updated_at, created_at, updated_at)
            VALUES (1, 'K', 'MARKETING', TRUE, $, $, $)";

    async fn a_row_without_a_proper_time_is_found_by_its_index(db: &mut TestDb) {
        db.mall("tokyo", "Asia/Tokyo", "JPY").await;
        db.script(&ROWS.replace('$', "'2026-11-20T10:00:00.5+00:00'")).await.unwrap();
        let mall = all_malls(db).await.unwrap().remove(0);
        for dated in ALL {
            let Dated { table, .. } = dated;
            assert_eq!(misdated(db, &mall, &dated).await.unwrap(), [], "{table}");
            for column in dated.times.iter().chain(dated.days) {
                let (was,): (Option<String>,) = db
                    .fetch_one(&format!("SELECT CAST({column} AS TEXT) FROM {table}"), values![])
                    .await
                    .unwrap();
                let set = |value: &str| format!("UPDATE {table} SET {column} = {value}");
                for bad in ["'2026-02-30T00:00:00+00:00'", "'infinity'", "CAST(x'32ff' AS TEXT)"] {
                    if db.kind() == Kind::Postgres {
                        assert!(db.script(&set("'infinity'")).await.is_err(), "{table}.{column}");
                        continue;
                    }
                    db.script(&set(bad)).await.unwrap();
                    let found = misdated(db, &mall, &dated).await.unwrap();
                    let problem = format!("the column `{column}` of `{table}` holds `");
                    assert!(
                        found.len() == 1 && found[0].problem.starts_with(&problem),
                        "{table} {bad} {found:?}"
                    );
                    assert_eq!(found[0].key, "K");
                    assert!(check(db, &mall, &[dated]).await.is_err());
                }
                let was = was.map_or("NULL".to_owned(), |was| format!("'{was}'"));
                db.script(&set(&was)).await.unwrap();
            }
        }
    }

    async fn a_time_is_one_in_utc_that_exists(db: &mut TestDb) {
        if db.kind() == Kind::Postgres {
            return;
        }
        let is_time = format!("SELECT {}", db.is_time("$1"));
        let is_day = format!("SELECT {}", db.is_day("$1"));
        for (text, time, day) in [
            ("2026-11-20T10:00:00+00:00", true, false),
            ("2026-11-20T10:00:00.123456+00:00", true, false),
            ("2026-11-20T10:00:00Z", true, false),
            ("2028-02-29T23:59:59+00:00", true, false),
            ("2026-11-20T23:59:59.9995+00:00", true, false),
            ("2026-12-31T23:59:59.999999Z", true, false),
            ("2026-02-29T10:00:00+00:00", false, false),
            ("2026-11-20T24:00:00+00:00", false, false),
            ("2026-11-20T10:60:00+00:00", false, false),
            ("2026-11-20T10:00:00.x+00:00", false, false),
            ("2026-11-20T10:00:00+00:00\0", false, false),
            ("2026-11-20T10:00:00+09:00", false, false),
            ("2026-11-20 10:00:00", false, false),
            ("2026-11-20", false, true),
            ("2026-11-31", false, false),
            ("now", false, false),
            ("infinity", false, false),
            ("2461000.5", false, false),
            ("", false, false),
        ] {
            let (is_time,): (bool,) = db.fetch_one(&is_time, values![text]).await.unwrap();
            let (is_day,): (bool,) = db.fetch_one(&is_day, values![text]).await.unwrap();
            assert_eq!((is_time, is_day), (time, day), "{text}");
        }
    }
}
