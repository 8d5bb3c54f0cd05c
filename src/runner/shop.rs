//! Malls and recipients as items of a run: one that cannot be used fails or is skipped by name, and the rest go on.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use lettre::message::Mailbox;

use crate::db::{Db, DbError};
use crate::failure::Failure;
use crate::period::local_day;
use crate::shop::malls::{Mall, all_malls, choose};
use crate::shop::recipients::{Addressed, Parsed, Purpose, drop_suppressed, item_key, parse_addresses};
use crate::shop::times::{Dated, Misdated, misdated_where};

use super::run::Run;

/// The days that it was at these malls at these instants, or at all active ones if none is named; without those whose time
/// zone does not exist, and none if a named one does not.
pub(super) async fn days_of_malls(
    db: &mut Db,
    named: &[String],
    instants: [DateTime<Utc>; 2],
) -> Result<BTreeSet<NaiveDate>, DbError> {
    let malls = all_malls(db).await?;
    let Ok(malls) = choose(malls, named) else { return Ok(BTreeSet::new()) };
    let zones = malls.iter().filter_map(|mall| mall.time_zone().ok());
    Ok(zones.flat_map(|time_zone| instants.map(|at| local_day(at, time_zone))).collect())
}

impl Run<'_> {
    /// The malls whose time zone exists, with that zone. A mall whose zone does not exist is a failed item.
    pub fn usable_malls(&mut self, malls: Vec<Mall>) -> Vec<(Mall, Tz)> {
        let mut usable = Vec::with_capacity(malls.len());
        for mall in malls {
            match mall.time_zone() {
                Ok(time_zone) => usable.push((mall, time_zone)),
                Err(error) => {
                    self.read(1);
                    self.fail_item(&mall.code, "mall", &error);
                }
            }
        }
        usable
    }

    /// Fails a mall's rows that have no proper time: no query for a day or a period finds them.
    pub async fn fail_misdated(&mut self, mall: &Mall, dated: &Dated) -> anyhow::Result<()> {
        self.fail_misdated_where(mall, dated, "TRUE").await
    }

    /// The same for those for which a condition holds.
    pub async fn fail_misdated_where(
        &mut self,
        mall: &Mall,
        dated: &Dated,
        condition: &str,
    ) -> anyhow::Result<()> {
        for Misdated { key, problem } in misdated_where(self.db, mall, dated, condition).await? {
            let key = format!("{}/{key}", mall.code);
            if self.is_wanted(&key) || self.is_wanted(&mall.code) {
                self.read(1);
                self.fail_item(&key, "read", &Failure::bad_input(problem).into());
            }
        }
        Ok(())
    }

    /// Those of a page who can be reached by mail, with their addresses. One whose row cannot be read fails. One with an
    /// invalid address is skipped; only the first run that finds it reports it, not every night's run until somebody fixes
    /// it.
    pub async fn reachable<T: Addressed>(
        &mut self,
        mut page: Vec<T>,
        purpose: Purpose,
    ) -> anyhow::Result<Vec<(T, Mailbox)>> {
        // A mall that failed as a whole is wanted as a whole.
        page.retain(|one| self.is_wanted(&item_key(one)) || self.is_wanted(one.mall_code()));
        page.retain(|one| match one.problems().check() {
            Ok(()) => true,
            Err(failure) => {
                self.fail_item(&item_key(one), "read", &failure.into());
                false
            }
        });
        let Parsed { mut found, unusable } = parse_addresses(page);
        self.skip_items_once(&unusable, "address", "BAD_INPUT").await?;
        drop_suppressed(self.db, &mut found, purpose).await?;
        Ok(found)
    }
}
