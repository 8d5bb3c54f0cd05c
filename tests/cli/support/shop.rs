//! A sandbox whose shop tables are filled directly by SQL, to test what jobs compute from given rows.

use std::ops::Deref;

use super::database::Database;
use super::rows::{Mall, Member, Order, Refund, insert_mall};
use super::sandbox::{Arranged, NOW, Sandbox};

/// A sandbox with malls and orders in it.
pub(crate) struct Shop(Sandbox);

impl Arranged for Shop {
    fn on(database: Database) -> Self {
        Self(Sandbox::on(database))
    }
}

impl Deref for Shop {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.0
    }
}

impl Shop {
    /// Adds an active mall.
    #[track_caller]
    pub(crate) fn mall(&self, code: &str, time_zone: &str, currency: &'static str) -> Mall {
        Mall { id: self.id(&insert_mall(code, time_zone, currency, NOW)), currency }
    }

    /// Adds a member.
    #[track_caller]
    pub(crate) fn member(&self, member: Member) {
        self.id(&member.insert());
    }

    /// Adds an order with its lines and returns its id.
    #[track_caller]
    pub(crate) fn order(&self, order: Order) -> i64 {
        let id = self.id(&order.insert());
        for line in order.lines {
            self.execute(&line.insert(id));
        }
        id
    }

    /// Adds a refund and returns its id.
    #[track_caller]
    pub(crate) fn refund(&self, refund: Refund) -> i64 {
        self.id(&refund.insert())
    }

    #[track_caller]
    fn id(&self, insert: &str) -> i64 {
        self.scalar(insert).parse().expect("an id is a number")
    }
}
