//! Which kinds of data a report's malls have at all: a figure without any is not zero, but unknown.

use super::Measure;
use crate::db::Db;
use crate::jobs::report::sources;
use crate::shop::arrivals::{self, Subject};
use crate::values;

/// Which kinds of data have ever come for one of the malls.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of data")]
pub(super) struct Sources {
    customers: bool,
    members: bool,
    carts: bool,
    products: bool,
}

impl Sources {
    pub(super) async fn find(db: &mut Db, malls: impl Iterator<Item = i64>) -> anyhow::Result<Self> {
        let mut found = Self::default();
        for mall in malls {
            let (members, carts, products): (bool, bool, bool) = db
                .fetch_one(
                    "SELECT EXISTS (SELECT 1 FROM members WHERE mall_id = $1),
                            EXISTS (SELECT 1 FROM carts WHERE mall_id = $1),
                            EXISTS (SELECT 1 FROM products WHERE mall_id = $1)",
                    values![mall],
                )
                .await?;
            found.customers |= sources::has_customers(db, mall).await?;
            found.members |= members || arrivals::has_any_come(db, mall, Subject::Member).await?;
            found.carts |= carts;
            found.products |= products;
        }
        Ok(found)
    }

    pub(super) fn have(&self, measure: Measure) -> bool {
        match measure {
            Measure::NewCustomers => self.customers,
            Measure::ActiveMembers => self.members,
            Measure::OpenCarts => self.carts,
            Measure::SoldOutProducts => self.products,
            Measure::NetSales
            | Measure::AverageOrder
            | Measure::CancelledAmount
            | Measure::Orders
            | Measure::CancelledOrders => true,
        }
    }
}
