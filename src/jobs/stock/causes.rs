//! How many differences of which cause there were in which mall.

use crate::db::{Db, FromRow, StoredText, Value};
use crate::locale::{Locale, group_digits};
use crate::printable::one_line;

use super::reconcile::difference::Cause;

/// The differences of a cause in a mall.
#[derive(Debug, Clone, FromRow)]
pub(super) struct ByCause {
    pub(super) mall: StoredText,
    pub(super) cause: String,
    pub(super) differences: i64,
    pub(super) repaired: i64,
}

impl ByCause {
    /// Those of the differences `d` for which a condition holds, by mall and cause.
    pub(super) async fn load(db: &mut Db, condition: &str, values: Vec<Value>) -> anyhow::Result<Vec<Self>> {
        let sql = format!(
            "SELECT SUBSTR(m.code, 1, 200) AS mall, d.cause, COUNT(*) AS differences,
                    COUNT(*) FILTER (WHERE d.repair = 'REPAIRED') AS repaired
             FROM stock_differences d JOIN malls m ON m.id = d.mall_id
             WHERE {condition} GROUP BY 1, 2 ORDER BY 1, 2"
        );
        Ok(db.fetch_all(&sql, values).await?)
    }

    /// `tokyo: missing in Redis 8, repaired 8`.
    pub(super) fn line(&self, locale: Locale) -> String {
        let mall = one_line(self.mall.shown());
        let cause = Cause::of(&self.cause).map_or(self.cause.as_str(), |cause| cause.shown(locale));
        let (all, repaired) =
            (group_digits(&self.differences.to_string()), group_digits(&self.repaired.to_string()));
        locale.pick(
            format!("{mall}: {cause} {all}, repaired {repaired}"),
            format!("{mall}：{cause} {all}件、修復済み{repaired}件"),
            format!("{mall}: {cause} {all}건, 복구 {repaired}건"),
        )
    }
}

/// How many there are, and how many of them are repaired.
pub(super) fn totals(causes: &[ByCause]) -> (i64, i64) {
    let sum = |count: fn(&ByCause) -> i64| causes.iter().map(count).sum();
    (sum(|cause| cause.differences), sum(|cause| cause.repaired))
}
