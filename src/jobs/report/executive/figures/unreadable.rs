//! What cannot be read of the stored rows: what the report lacks, or does not compare with.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::{MissingPart, ReportScope, days_before};
use crate::failure::Failure;
use crate::jobs::report::soundness::{self, Unreadable};
use crate::shop::malls::Mall;
use crate::wording::command;

/// What cannot be read of each table, and is left out with all rows of the same mall and day.
#[derive(Default)]
pub(super) struct UnreadableByTable {
    pub(super) sales: Unreadable,
    pub(super) cancellations: Unreadable,
    /// By the day whose end they show.
    pub(super) snapshots: Unreadable,
}

impl UnreadableByTable {
    /// What the day's figures of a mall that is reported lack: they are not shown without it.
    pub(super) fn parts_of(&self, mall: &Mall, scope: &ReportScope) -> Vec<MissingPart> {
        let day = scope.day;
        let part = |table: &str, failure| {
            let key = format!("{}/{table}", mall.code);
            MissingPart { mall: mall.id, key, is_part: true, failure }
        };
        let cancellations = self.cancellations.of(mall.id, day).map(|problem| {
            part("daily_cancellations", soundness::failure("daily-cancellations", mall, day, problem))
        });
        let snapshot = self.snapshots.of(mall.id, day).map(|problem| {
            part("statistics_snapshots", snapshot_failure(mall, scope, problem, &self.snapshots))
        });
        cancellations.into_iter().chain(snapshot).collect()
    }

    /// What is not compared with, each once.
    pub(super) fn warnings(&self, day: NaiveDate, malls: &[Mall]) -> Vec<String> {
        let before = days_before(day);
        let is_before = |at: NaiveDate| before.contains(&Some(at));
        let of_sales = self.sales.warnings(malls, |at| at != day);
        let of_others = [&self.cancellations, &self.snapshots];
        let of_others = of_others.into_iter().flat_map(|found| found.warnings(malls, is_before));
        let warnings: BTreeSet<String> = of_sales.chain(of_others).collect();
        warnings.into_iter().collect()
    }
}

/// Today's snapshot can be taken again, and that removes rows of no day; an older one cannot.
fn snapshot_failure(mall: &Mall, scope: &ReportScope, problem: &str, snapshots: &Unreadable) -> Failure {
    let morning = scope.day.succ_opt().unwrap_or(scope.day);
    let failure = Failure::bad_input(format!(
        "the snapshot of mall `{}` for {morning} cannot be read: {problem}",
        mall.code
    ));
    failure.hint(if morning == scope.today || snapshots.has_rows_without_period(mall.id) {
        command(&["stats", "refresh", "--rerun"])
    } else {
        format!("correct that row in the database, by its `mall_id` {}, or delete it", mall.id)
    })
}
