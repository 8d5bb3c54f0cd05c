//! The malls that a command works on, chosen by code or ID.

use chrono_tz::Tz;

use crate::db::{Db, DbError, FromRow, Problems};
use crate::failure::Failure;
use crate::spelling;
use crate::values;
use crate::wording::command;

/// The platform of a mall whose orders an application of the shop's own keeps in this database. All other malls' orders are
/// copies of what another system decides about.
pub const APP: &str = "app";

/// A row of `malls`. One that cannot be read has no time zone, like one whose time zone does not exist.
#[derive(Debug, Clone, FromRow)]
pub struct Mall {
    /// Its ID.
    pub id: i64,
    /// Its code, by which people and files name it.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Where its data comes from (`csv`, `cafe24`, [`APP`]).
    pub platform: String,
    /// IANA name of its time zone.
    pub time_zone: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Whether jobs work on it.
    pub is_active: bool,
    /// The platform's own id of the shop; the code if absent.
    pub account: Option<String>,
    /// Which of the account's shops it is.
    pub shop_no: i64,
    /// What cannot be read of it.
    #[row(problems)]
    pub problems: Problems,
}

impl Mall {
    /// The key by which a customer of the mall is told something once, whatever the mall is called by then.
    pub fn notice_key(&self, kind: &str, about: &str) -> String {
        format!("{kind}:{}/{about}", self.id)
    }

    /// The platform's own id of the shop.
    pub fn account(&self) -> &str {
        self.account.as_deref().unwrap_or(&self.code)
    }

    /// Its time zone, if the stored name is valid.
    pub fn time_zone(&self) -> anyhow::Result<Tz> {
        self.check()?;
        self.time_zone.parse().map_err(|_| {
            Failure::configuration(format!(
                "mall `{}` has the time zone `{}`, which does not exist",
                self.code, self.time_zone
            ))
            .hint(command(&["mall", "add", &self.code, "--time-zone", nearest_zone(&self.time_zone)]))
            .into()
        })
    }
}

impl Mall {
    /// Refuses a row that holds what this program could not have written.
    fn check(&self) -> Result<(), Failure> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let failure = Failure::bad_input(format!("mall `{}` (ID {}): {}", self.code, self.id, self.problems));
        if self.problems.include("code") {
            return Err(
                failure.hint(format!("correct its `code` in the table `malls`, by its ID {}", self.id))
            );
        }
        let flags = [
            ("name", "--name", "NAME"),
            ("platform", "--platform", "PLATFORM"),
            ("time_zone", "--time-zone", "ZONE"),
            ("currency", "--currency", "CURRENCY"),
            ("account", "--account", "ID"),
        ];
        let mut words = vec!["mall", "add", self.code.as_str()];
        words.extend(
            flags
                .iter()
                .filter(|(column, ..)| self.problems.include(column))
                .flat_map(|(_, flag, value)| [*flag, *value]),
        );
        Err(failure.hint(command(&words)))
    }
}

/// The flag `--mall`, the same for every job.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct MallArgs {
    /// Work only on these malls, by code or ID, separated by commas (default: all active)
    #[arg(long, value_delimiter = ',', value_name = "MALL")]
    mall: Vec<String>,
}

impl MallArgs {
    /// The malls as they were named; empty for all active ones.
    pub fn named(&self) -> &[String] {
        &self.mall
    }

    /// The malls that were named, which must exist; otherwise all active ones.
    pub async fn selected(&self, db: &mut Db) -> anyhow::Result<Vec<Mall>> {
        selected_malls(db, &self.mall).await
    }
}

/// All malls, in the order of their codes.
pub async fn all_malls(db: &mut Db) -> Result<Vec<Mall>, DbError> {
    let sql = format!(
        "SELECT id, code, name, platform, time_zone, currency, is_active, account, shop_no FROM malls ORDER BY {}",
        db.by_bytes("code")
    );
    db.fetch_all(&sql, values![]).await
}

/// The active malls, or those named by code or ID, which must exist.
pub async fn selected_malls(db: &mut Db, wanted: &[String]) -> anyhow::Result<Vec<Mall>> {
    Ok(choose(all_malls(db).await?, wanted)?)
}

/// The same of malls that were read.
pub fn choose(malls: Vec<Mall>, wanted: &[String]) -> Result<Vec<Mall>, Failure> {
    if wanted.is_empty() {
        return Ok(malls.into_iter().filter(|mall| mall.is_active).collect());
    }
    let mut selected: Vec<Mall> = Vec::new();
    for name in wanted {
        let found = malls
            .iter()
            .find(|mall| mall.code == *name)
            .or_else(|| malls.iter().find(|mall| name.parse() == Ok(mall.id)))
            .ok_or_else(|| unknown_mall(name, &malls))?;
        if !selected.iter().any(|mall| mall.id == found.id) {
            selected.push(found.clone());
        }
    }
    selected.sort_by(|first, second| first.code.cmp(&second.code));
    Ok(selected)
}

/// Whether a text may be a mall's code.
pub fn is_code(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain)
}

/// The zone whose name is most like this one; `ZONE` if none is. Its place counts: half of all names begin with the same
/// few continents.
fn nearest_zone(name: &str) -> &'static str {
    let place = |zone: &'static str| zone.rsplit('/').next().unwrap_or(zone);
    let zones = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let wanted = name.rsplit('/').next().unwrap_or(name);
    // A command with a zone that is only a guess would be typed at night.
    let is_misspelt = |known: &&str| strsim::osa_distance(wanted, known) * 3 <= wanted.len();
    let nearest = spelling::nearest(wanted, zones().map(place).filter(is_misspelt));
    let alike = nearest.and_then(|nearest| {
        let same_place = || zones().filter(|zone| place(zone) == nearest);
        spelling::nearest(name, same_place()).or_else(|| same_place().next())
    });
    alike.unwrap_or("ZONE")
}

fn unknown_mall(name: &str, malls: &[Mall]) -> Failure {
    let known: Vec<&str> = malls.iter().map(|mall| mall.code.as_str()).collect();
    let hint = if known.is_empty() {
        let words = ["mall", "add", name, "--name", "NAME", "--time-zone", "ZONE", "--currency", "CURRENCY"];
        format!("add it: {}", command(&words))
    } else {
        format!("the malls are {}", known.join(", "))
    };
    Failure::usage(format!("unknown mall `{name}`")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, on_both_databases};

    on_both_databases![malls_are_in_the_same_order_on_both_databases];

    async fn malls_are_in_the_same_order_on_both_databases(db: &mut TestDb) {
        for code in ["a_b", "B", "a1", "a", "a.b"] {
            db.mall(code, "Asia/Tokyo", "JPY").await;
        }
        let codes: Vec<String> =
            selected_malls(db, &[]).await.unwrap().into_iter().map(|mall| mall.code).collect();
        assert_eq!(codes, ["B", "a", "a.b", "a1", "a_b"]);
    }
}
