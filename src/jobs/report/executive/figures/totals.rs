//! Sums, states and series of the stored rows, as far as all malls are in them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::stored::{SalesRow, SnapshotRow, Stored};
use super::{CHART_DAYS, MallFigures, Measure};
use crate::jobs::report::awaited::{AwaitedColumns, AwaitingMall, awaiting_malls};
use crate::jobs::report::outdated::{OutdatedMall, outdated_malls};
use crate::period::day_bounds;
use crate::shop::malls::Mall;

impl Stored {
    /// A sum of one day, in one currency or of all counts; `None` unless each mall of the report's day is included.
    pub(super) fn sum(
        &self,
        at: NaiveDate,
        day: NaiveDate,
        currency: Option<&str>,
        value: impl Fn(&SalesRow) -> i64,
    ) -> Option<i64> {
        let is_meant = |row: &&SalesRow| currency.is_none_or(|currency| row.currency == currency);
        let is_there = |mall| self.is_reported(mall, at) || self.is_new(mall, at);
        // With a time before all of them there is nothing to compare.
        let is_comparable = self.of_day(day).filter(is_meant).all(|row| is_there(row.mall_id))
            && self.of_day(day).filter(is_meant).any(|row| self.is_reported(row.mall_id, at));
        is_comparable.then(|| sum(self.of_day(at).filter(is_meant).map(value))).flatten()
    }

    pub(super) fn cancelled_amount(&self, at: NaiveDate, currency: &str) -> Option<i64> {
        let of_day = || self.cancellations_of_day(at);
        let is_there = |mall: &i64| of_day().any(|row| row.mall_id == *mall) || self.is_new(*mall, at);
        let is_whole = self.malls.keys().all(is_there) && of_day().next().is_some();
        is_whole
            .then(|| sum(of_day().filter(|row| row.currency == currency).map(|row| row.cancelled_amount)))
            .flatten()
    }

    /// The state at the end of a day: the snapshot of the next morning. `None` if that was taken before the day was over in
    /// one of the malls.
    pub(super) fn snapshot(&self, at: NaiveDate, subject: &str, status: &str) -> Option<i64> {
        let morning = at.checked_add_days(Days::new(1))?;
        let rows = || {
            self.snapshots
                .iter()
                .filter(|row| row.snapshot_day == morning && row.subject == subject && row.status == status)
        };
        // A reconstruction is made later, but for the beginning of its day.
        let instant_of = |row: &SnapshotRow| {
            if row.is_reconstructed { day_bounds(morning, self.time_zone).start } else { row.taken_at }
        };
        let is_whole = self.malls.iter().all(|(mall, zone)| {
            let end = day_bounds(at, *zone).end;
            self.is_new(*mall, at) || rows().any(|row| row.mall_id == *mall && instant_of(row) >= end)
        });
        (is_whole && rows().next().is_some()).then(|| sum(rows().map(|row| row.quantity))).flatten()
    }

    /// Whether some of a figure comes from rows of which this is so: that a later run failed to replace, or that wait for
    /// data. A snapshot is neither: it is taken of all malls at once.
    pub(super) fn is_any(
        &self,
        day: NaiveDate,
        measure: Measure,
        currency: Option<&str>,
        is_so: impl Fn(bool, bool) -> bool,
    ) -> bool {
        let is_meant = |of: &str| currency.is_none_or(|currency| of == currency);
        match measure {
            Measure::CancelledAmount => self.cancellations_of_day(day).any(|row| {
                is_meant(&row.currency) && is_so(row.outdated_at.is_some(), row.awaited.is_awaiting())
            }),
            Measure::ActiveMembers | Measure::OpenCarts | Measure::SoldOutProducts => false,
            Measure::NetSales
            | Measure::AverageOrder
            | Measure::Orders
            | Measure::CancelledOrders
            | Measure::NewCustomers => self.of_day(day).any(|row| {
                is_meant(&row.currency) && is_so(row.outdated_at.is_some(), row.awaited.is_awaiting())
            }),
        }
    }

    pub(super) fn awaiting(&self, day: NaiveDate, malls: &[Mall]) -> Vec<AwaitingMall> {
        let sales = self.of_day(day).map(|row| (row.mall_id, &row.awaited));
        let rows: Vec<(i64, &AwaitedColumns)> =
            sales.chain(self.cancellations_of_day(day).map(|row| (row.mall_id, &row.awaited))).collect();
        awaiting_malls(malls.iter().flat_map(|mall| {
            let of_mall = rows.iter().filter(|(id, _)| *id == mall.id);
            of_mall.map(|(id, awaited)| (*id, mall.name.as_str(), *awaited))
        }))
    }

    pub(super) fn outdated(&self, day: NaiveDate, malls: &[Mall]) -> Vec<OutdatedMall> {
        let sales = self.of_day(day).map(|row| (row.mall_id, row.computed_at, row.outdated_at));
        let cancellations =
            self.cancellations_of_day(day).map(|row| (row.mall_id, row.computed_at, row.outdated_at));
        let older: Vec<(i64, DateTime<Utc>)> = sales
            .chain(cancellations)
            .filter_map(|(mall, computed_at, outdated_at)| outdated_at.map(|_| (mall, computed_at)))
            .collect();
        outdated_malls(malls.iter().flat_map(|mall| {
            let of_mall = older.iter().filter(|(id, _)| *id == mall.id);
            of_mall.map(|(id, computed_at)| (*id, mall.name.as_str(), *computed_at))
        }))
    }

    pub(super) fn computed_at(&self, day: NaiveDate) -> DateTime<Utc> {
        self.of_day(day).map(|row| row.computed_at).max().unwrap_or(DateTime::UNIX_EPOCH)
    }

    pub(super) fn malls(&self, day: NaiveDate, malls: &[Mall]) -> Vec<MallFigures> {
        let before = day.pred_opt();
        let figures = |row: &SalesRow| {
            let mall = malls.iter().find(|mall| mall.id == row.mall_id)?;
            let is_awaiting = row.awaited.is_awaiting();
            let is_comparable = |before: &NaiveDate| !is_awaiting && self.is_reported(mall.id, *before);
            let net_before = before.filter(is_comparable).and_then(|before| {
                let then = self
                    .of_day(before)
                    .filter(|then| then.mall_id == mall.id && then.currency == row.currency);
                sum(then.map(|then| then.net_amount))
            });
            Some(MallFigures {
                id: mall.id,
                code: mall.code.clone(),
                name: mall.name.clone(),
                currency: row.currency.clone(),
                orders: row.orders,
                net_amount: row.net_amount,
                net_before,
                is_outdated: row.outdated_at.is_some(),
                is_awaiting,
            })
        };
        let mut shown: Vec<MallFigures> = self.of_day(day).filter_map(figures).collect();
        // Stable: within a mall they stay as the database sorted them.
        shown.sort_by_key(|shown| malls.iter().position(|mall| mall.code == shown.code));
        shown
    }

    pub(super) fn charts(&self, day: NaiveDate) -> BTreeMap<String, Vec<(NaiveDate, Option<i64>)>> {
        let days: Vec<NaiveDate> =
            (0..CHART_DAYS).rev().filter_map(|back| day.checked_sub_days(Days::new(back))).collect();
        let chart = |currency: &str| {
            let malls: BTreeSet<i64> =
                self.of_day(day).filter(|row| row.currency == currency).map(|row| row.mall_id).collect();
            let net_of = |at: NaiveDate| {
                let existing: Vec<&i64> = malls
                    .iter()
                    .filter(|mall| self.first_days.get(mall).is_some_and(|first| *first <= at))
                    .collect();
                let is_whole =
                    !existing.is_empty() && existing.iter().all(|mall| self.is_reported(**mall, at));
                let net = self.of_day(at).filter(|row| row.currency == currency).map(|row| row.net_amount);
                is_whole.then(|| sum(net)).flatten()
            };
            days.iter().map(|at| (*at, net_of(*at))).collect()
        };
        self.currencies(day).iter().map(|currency| (currency.clone(), chart(currency))).collect()
    }
}

/// A sum; `None` if it does not fit: no shop sells that much, and another sum would be a lie.
fn sum(mut amounts: impl Iterator<Item = i64>) -> Option<i64> {
    amounts.try_fold(0_i64, i64::checked_add)
}
