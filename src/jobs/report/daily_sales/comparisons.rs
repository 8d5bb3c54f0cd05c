//! What a day's net amount is compared with: that of the day before and that of the same weekday a week before, as they are
//! stored. A day that is missing or not final is nothing to compare with.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

use crate::db::{Db, FromRow, Problems};
use crate::jobs::report::change;
use crate::jobs::report::soundness::Unreadable;
use crate::values;

/// How far back a comparison goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ComparedWith {
    Day,
    Week,
}

impl ComparedWith {
    const fn days(self) -> u64 {
        match self {
            Self::Day => 1,
            Self::Week => 7,
        }
    }
}

#[derive(Debug, FromRow)]
struct Row {
    business_day: NaiveDate,
    mall_id: i64,
    currency: String,
    net_amount: i64,
    #[row(problems)]
    problems: Problems,
}

/// The final net amounts of some days, by day and mall, in each currency.
#[derive(Debug)]
pub(super) struct Comparisons {
    earliest: NaiveDate,
    final_days: BTreeMap<(NaiveDate, i64), BTreeMap<String, i64>>,
}

impl Comparisons {
    /// Loads what the days from `first` to `last` are compared with, and notes what cannot be read of it.
    pub(super) async fn load(
        db: &mut Db,
        first: NaiveDate,
        last: NaiveDate,
        unreadable: &mut Unreadable,
    ) -> anyhow::Result<Self> {
        let earliest = first.checked_sub_days(Days::new(ComparedWith::Week.days())).unwrap_or(first);
        let rows: Vec<Row> = db
            .fetch_all(
                "SELECT business_day, mall_id, currency, net_amount FROM daily_sales
                 WHERE business_day BETWEEN $1 AND $2 AND is_final",
                values![earliest, last],
            )
            .await?;
        let mut final_days: BTreeMap<(NaiveDate, i64), BTreeMap<String, i64>> = BTreeMap::new();
        for row in rows {
            unreadable.note_row(row.mall_id, row.business_day, "business_day", &row.problems);
            final_days
                .entry((row.business_day, row.mall_id))
                .or_default()
                .insert(row.currency, row.net_amount);
        }
        Ok(Self { earliest, final_days })
    }

    /// The first of the days that are compared with.
    pub(super) fn first_day(&self) -> NaiveDate {
        self.earliest
    }

    /// Forgets the days of which something cannot be read: they are nothing to compare with.
    pub(super) fn leave_out(&mut self, unreadable: &Unreadable) {
        self.final_days.retain(|(day, mall), _| !unreadable.include(*mall, *day));
    }

    /// The net amount that a mall's day is compared with: zero for a currency in which a final day sold nothing. `None` if
    /// either day is not final.
    pub(super) fn net_before(
        &self,
        day: NaiveDate,
        mall: i64,
        currency: &str,
        with: ComparedWith,
    ) -> Option<i64> {
        let before = day.checked_sub_days(Days::new(with.days()))?;
        self.final_days.get(&(day, mall))?;
        let amounts = self.final_days.get(&(before, mall))?;
        Some(amounts.get(currency).copied().unwrap_or(0))
    }

    /// The change of a mall's net amount in tenths of a percent.
    pub(super) fn change(
        &self,
        day: NaiveDate,
        mall: i64,
        currency: &str,
        net_amount: i64,
        with: ComparedWith,
    ) -> Option<i32> {
        let before = self.net_before(day, mall, currency, with)?;
        change::tenths(before, net_amount)
    }
}
