//! When so much of a mall differs that it is not the stock that is wrong: then nothing of it is repaired.

use crate::config::ReconcileConfig;
use crate::failure::Failure;
use crate::shop::malls::Mall;
use crate::wording::{command, counted};

use super::looks::Suspect;
use super::store::Stored;

/// More differences than this are not believed of a mall that has so many products.
pub(super) fn limit(config: &ReconcileConfig, accepts_all: bool, products: u64) -> u64 {
    if accepts_all {
        return u64::MAX;
    }
    (products.saturating_mul(u64::from(config.percent)) / 100).max(u64::from(config.products))
}

/// Why a mall is in doubt that has so many suspects.
pub(super) fn doubt(mall: &Mall, suspects: &[Suspect], compared: u64) -> Failure {
    let strays = suspects.iter().filter(|one| one.product.is_none()).count();
    let missing =
        suspects.iter().filter(|one| one.product.is_some() && one.stored == Stored::Missing).count();
    let compared = counted(compared, "product", "products");
    let (what, hint) = if strays > missing {
        let keys = counted(strays, "key", "keys");
        (
            format!("{keys} have no product beside {compared}"),
            "is `stock` of `[stock.redis]` the right pattern?",
        )
    } else if missing == suspects.len() {
        (
            format!("{missing} of {compared} compared so far have no key"),
            "was Redis emptied or restarted, is this the right Redis, and is `[stock.redis]` right?",
        )
    } else {
        let suspects = suspects.len();
        (
            format!("{suspects} of {compared} compared so far differ, {missing} of them without a key"),
            "was Redis restored from an old copy, is this the right Redis, and is `[stock.redis]` right?",
        )
    };
    let accept = command(&["stock", "reconcile", "--mall", &mall.code, "--accept-all"]);
    Failure::failed(format!(
        "the stock of mall `{}` in Redis is in doubt: {what}; nothing was repaired",
        mall.code
    ))
    .hint(format!("{hint} If the database is right: {accept}"))
}
