//! Malls, members, orders and refunds for tests of steps and queries, inserted directly.

use crate::db::testing::{NOW, TestDb, as_text};
use crate::shop::malls;

#[path = "../../tests/cli/support/rows.rs"]
mod rows;

pub(crate) use rows::{Line, Mall, Member, Order, Refund};

impl TestDb {
    /// Adds an active mall.
    pub(crate) async fn mall(&mut self, code: &str, time_zone: &str, currency: &'static str) -> Mall {
        let id = self.id(&rows::insert_mall(code, time_zone, currency, NOW)).await;
        Mall { id, currency }
    }

    /// All malls, in the order of their IDs.
    pub(crate) async fn malls(&mut self) -> Vec<malls::Mall> {
        malls::all_malls(self).await.unwrap()
    }

    /// Adds a member and returns its id.
    pub(crate) async fn member(&mut self, member: Member<'_>) -> i64 {
        self.id(&member.insert()).await
    }

    /// Adds an order with its lines and returns its id.
    pub(crate) async fn order(&mut self, order: Order<'_>) -> i64 {
        let id = self.id(&order.insert()).await;
        for line in order.lines {
            self.sql(&line.insert(id)).await;
        }
        id
    }

    /// Adds a refund and returns its id.
    pub(crate) async fn refund(&mut self, refund: Refund<'_>) -> i64 {
        self.id(&refund.insert()).await
    }

    async fn id(&mut self, insert: &str) -> i64 {
        self.scalar(insert).await.parse().unwrap()
    }
}
