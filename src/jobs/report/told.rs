//! What the recipients of a report were told last about a period, and what they have to be told now.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::db::{Db, FromRow};
use crate::locale::Locale;
use crate::values;

/// A figure by which readers know a period, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headline {
    /// What it is, the same in every language.
    pub key: String,
    /// The mall's name; empty for a figure of all.
    pub mall: String,
    /// The figure's name.
    pub label: String,
    /// Its value.
    pub shown: String,
}

impl Headline {
    /// A figure of a mall.
    pub fn new(
        mall: (i64, &str),
        figure: &str,
        currency: Option<&str>,
        label: impl Into<String>,
        shown: String,
    ) -> Self {
        let (id, name) = mall;
        let key = format!("{id}/{figure}/{}", currency.unwrap_or_default());
        Self { key, mall: name.to_owned(), label: label.into(), shown }
    }
}

/// To whom a mail was, or is to be, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The recipient, as addressed.
    pub recipient: String,
    /// The malls it is about, by id: `1,2`.
    pub malls: String,
    /// Its files: `csv,pdf`.
    pub formats: String,
    /// Its language.
    pub locale: String,
}

/// What somebody was told last.
#[derive(Debug, Clone, FromRow)]
pub struct Told {
    /// To whom.
    pub recipient: String,
    /// About which malls.
    pub malls: String,
    /// With which files.
    pub formats: String,
    /// In which language.
    pub locale: String,
    /// Under which subject; `None` for the template's.
    pub subject: Option<String>,
    /// The fingerprint of the mail's figures; `None` if it is held back.
    pub digest: Option<String>,
    /// Whether they were provisional.
    pub is_provisional: bool,
    figures: String,
    /// How many mails there were.
    pub version: i64,
}

/// What was mailed to everybody about a period.
pub async fn all_told(db: &mut Db, report: &str, period: NaiveDate) -> anyhow::Result<Vec<Told>> {
    Ok(db
        .fetch_all(
            "SELECT recipient, malls, formats, locale, subject, digest, is_provisional, figures, version
             FROM report_mailings WHERE report = $1 AND period_day = $2
             ORDER BY recipient, malls, formats, locale",
            values![report, period],
        )
        .await?)
}

impl Told {
    /// Whether it was this mail.
    pub fn is_to(&self, address: &Address) -> bool {
        self.recipient == address.recipient
            && self.malls == address.malls
            && self.formats == address.formats
            && self.locale == address.locale
    }

    /// What has changed since, as the template's `correction`; null if what was told was not final, and this is not either.
    pub fn correction(&self, now: &[Headline], is_provisional: bool) -> Value {
        if self.digest.is_none() || (self.is_provisional && is_provisional) {
            return Value::Null;
        }
        let before: Vec<Headline> = serde_json::from_str(&self.figures).unwrap_or_default();
        json!({ "was_provisional": self.is_provisional, "rows": changes(&before, now) })
    }
}

/// The figures that differ, old and new side by side.
fn changes(before: &[Headline], now: &[Headline]) -> Vec<Value> {
    let old: BTreeMap<&str, &Headline> = before.iter().map(|figure| (figure.key.as_str(), figure)).collect();
    let row = |figure: &Headline, before: &str, after: &str| json!({ "mall": figure.mall, "figure": figure.label, "before": before, "after": after });
    let mut rows: Vec<Value> = now
        .iter()
        .filter_map(|figure| {
            let before = old.get(figure.key.as_str()).map_or("–", |old| old.shown.as_str());
            (before != figure.shown).then(|| row(figure, before, &figure.shown))
        })
        .collect();
    let is_gone = |figure: &&Headline| now.iter().all(|now| now.key != figure.key);
    rows.extend(before.iter().filter(is_gone).map(|figure| row(figure, &figure.shown, "–")));
    rows
}

/// A mail as it is noted.
pub struct Mailed<'m> {
    /// The report.
    pub report: &'m str,
    /// The first day of its period.
    pub period: NaiveDate,
    /// The subject from the configuration.
    pub subject: Option<&'m str>,
    /// The fingerprint of its figures; `None` if it is held back.
    pub digest: Option<&'m str>,
    /// Whether they are provisional.
    pub is_provisional: bool,
    /// Its figures.
    pub headlines: &'m [Headline],
}

/// Notes what somebody is told; in the transaction that queues the mail.
pub async fn note(
    db: &mut Db,
    mailed: &Mailed<'_>,
    address: &Address,
    version: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO report_mailings (report, period_day, recipient, malls, formats, locale, subject, digest,
             is_provisional, figures, version, mailed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (report, period_day, recipient, malls, formats, locale) DO UPDATE
         SET subject = excluded.subject, digest = excluded.digest, is_provisional = excluded.is_provisional,
             figures = excluded.figures, version = excluded.version, mailed_at = excluded.mailed_at",
        values![
            mailed.report,
            mailed.period,
            &address.recipient,
            &address.malls,
            &address.formats,
            &address.locale,
            mailed.subject,
            mailed.digest,
            mailed.is_provisional,
            serde_json::to_string(mailed.headlines)?,
            version,
            now
        ],
    )
    .await?;
    Ok(())
}

/// Forgets what was told of periods before a day: nobody is told of them any more.
pub async fn forget(db: &mut Db, report: &str, before: NaiveDate) -> anyhow::Result<()> {
    db.execute("DELETE FROM report_mailings WHERE report = $1 AND period_day < $2", values![report, before])
        .await?;
    Ok(())
}

/// The word that marks a mail whose figures replace others that were mailed.
pub fn word(was_provisional: bool, locale: Locale) -> &'static str {
    if was_provisional {
        locale.pick("final", "確定", "확정")
    } else {
        locale.pick("correction", "訂正", "정정")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headline(figure: &str, shown: &str) -> Headline {
        Headline::new((1, "Tokyo"), figure, Some("JPY"), figure, shown.to_owned())
    }

    #[test]
    fn what_differs_is_shown_side_by_side() {
        let before = [headline("net", "¥1"), headline("orders", "2"), headline("gone", "3")];
        let now = [headline("net", "¥2"), headline("orders", "2"), headline("new", "4")];
        let rows: Vec<String> = changes(&before, &now)
            .iter()
            .map(|row| format!("{} {} {}", row["figure"], row["before"], row["after"]).replace('"', ""))
            .collect();
        assert_eq!(rows, ["net ¥1 ¥2", "new – 4", "gone 3 –"]);
    }
}
