//! When so much of a mall differs that it is not the stock that is wrong: then nothing of it is repaired.

use crate::config::ReconcileConfig;
use crate::failure::Failure;
use crate::shop::malls::Mall;
use crate::wording::{command, counted};

use super::store::Stored;

/// More differences than this are not believed of a mall that has so many products.
pub(super) fn limit(config: &ReconcileConfig, accepts_all: bool, products: u64) -> u64 {
    if accepts_all {
        return u64::MAX;
    }
    (products.saturating_mul(u64::from(config.percent)) / 100).max(u64::from(config.products))
}

/// What differs in a mall.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// Products that differ.
    products: usize,
    /// How many of them have no key.
    missing: usize,
    /// Keys that have no product.
    strays: usize,
}

impl Tally {
    /// Of what differs: its product, and what Redis has.
    pub(super) fn of<'s>(differing: impl Iterator<Item = (Option<i64>, &'s Stored)>) -> Self {
        let mut tally = Self::default();
        for (product, stored) in differing {
            if product.is_some() {
                tally.products += 1;
                tally.missing += usize::from(*stored == Stored::Missing);
            } else {
                tally.strays += 1;
            }
        }
        tally
    }

    /// What it says of a mall of which so many products were compared.
    fn shown(self, compared: u64) -> String {
        let Self { products, missing, strays } = self;
        let compared = counted(compared, "product", "products");
        let keys = counted(strays, "key has", "keys have");
        if products == 0 {
            return format!("{keys} no product beside {compared}");
        }
        let mut shown = if missing == products {
            format!("{products} of {compared} compared {} no key", if products == 1 { "has" } else { "have" })
        } else {
            let differ = if products == 1 { "differs" } else { "differ" };
            format!("{products} of {compared} compared {differ}, {missing} of them without a key")
        };
        if strays > 0 {
            shown.push_str(&format!(", and {keys} no product"));
        }
        shown
    }

    /// What is probably wrong.
    fn suspicion(self) -> &'static str {
        if self.strays > self.products {
            "is `stock` of `[stock.redis]` the right pattern?"
        } else if self.missing == self.products {
            "was Redis emptied or restarted, is this the right Redis, and is `[stock.redis]` right?"
        } else {
            "was Redis restored from an old copy, is this the right Redis, and is `[stock.redis]` right?"
        }
    }
}

/// Why a mall is in doubt of which so much differs.
pub(super) fn doubt(mall: &Mall, tally: Tally, compared: u64) -> Failure {
    let (what, hint) = (tally.shown(compared), tally.suspicion());
    let accept = command(&["stock", "reconcile", "--mall", &mall.code, "--accept-all"]);
    Failure::failed(format!(
        "the stock of mall `{}` in Redis is in doubt: {what}; nothing was repaired",
        mall.code
    ))
    .hint(format!("{hint} If the database is right: {accept}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_what_differs_is_named() {
        for (products, missing, strays, shown) in [
            (
                20,
                0,
                1,
                "20 of 104 products compared differ, 0 of them without a key, and 1 key has no product",
            ),
            (
                1,
                0,
                30,
                "1 of 104 products compared differs, 0 of them without a key, and 30 keys have no product",
            ),
            (25, 25, 0, "25 of 104 products compared have no key"),
            (1, 1, 2, "1 of 104 products compared has no key, and 2 keys have no product"),
            (0, 0, 1, "1 key has no product beside 104 products"),
        ] {
            assert_eq!(Tally { products, missing, strays }.shown(104), shown);
        }
    }
}
