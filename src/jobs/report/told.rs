//! What the recipients of a report were told last about a period, and what they have to be told now.
//!
//! Whatever replaces the figures of a period raises its revision, in the same transaction. A mail is noted with the revision
//! that there was before its figures were read, so that each recipient is up to date or not independently, whoever else was
//! told, and whatever was killed or ran side by side.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::db::{Db, FromRow, Problems};
use crate::locale::Locale;
use crate::shop::malls::Mall;
use crate::values;

/// How long it is known what was mailed to whom: longer than anybody looks back.
pub const TOLD_DAYS: u64 = 400;

/// How long after the figures were replaced a recipient is still told: an address of `--mail-to` that no run has named for so
/// long does not receive the report any more. A weekly report is mailed four times in it.
const OWED_DAYS: u64 = 30;

/// What stands for a mall's id in the key of a figure of all malls.
const ALL_MALLS: &str = "0";

/// A figure by which readers know a period, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headline {
    /// What it is, the same in every language.
    pub key: String,
    /// The mall's name, or what the malls are together.
    pub mall: String,
    /// The figure's name.
    pub label: String,
    /// Its value.
    pub shown: String,
    /// What stands for values that are not shown: it changes with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Whether it waits for data.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_provisional: bool,
}

impl Headline {
    /// A figure of a mall, or of all malls with the id 0.
    pub fn new(
        mall: (i64, &str),
        figure: &str,
        currency: Option<&str>,
        label: impl Into<String>,
        shown: String,
    ) -> Self {
        let (id, name) = mall;
        let key = format!("{id}/{figure}/{}", currency.unwrap_or_default());
        Self { key, mall: name.to_owned(), label: label.into(), shown, mark: None, is_provisional: false }
    }

    /// That a mall is reported, of a report whose changes are not shown. The mark changes with its figures.
    pub fn of_presence(mall: (i64, &str), mark: String) -> Self {
        Self { mark: Some(mark), ..Self::new(mall, "", None, "", String::new()) }
    }

    /// What a mall's figures are split into, such as its products: too many to be named. The mark changes with them.
    pub fn of_parts(
        mall: (i64, &str),
        parts: &str,
        currency: &str,
        label: &str,
        locale: Locale,
        mark: String,
    ) -> Self {
        let shown =
            locale.pick("changed (see the report)", "変更あり（レポート参照）", "변경됨(보고서 참조)");
        Self { mark: Some(mark), ..Self::new(mall, parts, Some(currency), label, shown.to_owned()) }
    }

    /// The same, provisional if it waits for data.
    #[must_use]
    pub fn awaiting(self, is_provisional: bool) -> Self {
        Self { is_provisional, ..self }
    }

    fn is_shown(&self) -> bool {
        !self.label.is_empty()
    }

    fn is_of_parts(&self) -> bool {
        self.is_shown() && self.mark.is_some()
    }

    /// Of which mall and in which currency it is.
    fn group(&self) -> (&str, &str) {
        let (mall, rest) = self.key.split_once('/').unwrap_or_default();
        (mall, rest.rsplit_once('/').unwrap_or_default().1)
    }

    /// Whether it has another value now. Of what was told without a mark that is not known.
    fn differs_from(&self, now: &Self) -> bool {
        self.shown != now.shown || (self.mark.is_some() && self.mark != now.mark)
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
    /// The revision of the figures that the recipient knows of.
    pub revision: i64,
    /// What cannot be read of it.
    #[row(problems)]
    problems: Problems,
}

/// What everybody knows of a period, as it was before its figures were loaded.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The period's first day.
    pub period: NaiveDate,
    /// The revision of its figures, or an earlier one; 0 if they were never replaced.
    pub revision: i64,
    told: Vec<Told>,
}

impl Standing {
    /// Loads it. What is loaded of the figures afterwards is of this revision or of a later one.
    pub async fn load(db: &mut Db, report: &str, period: NaiveDate) -> anyhow::Result<Self> {
        let revised: Option<(i64,)> = db
            .fetch_optional(
                "SELECT revision FROM report_revisions WHERE report = $1 AND period_day = $2",
                values![report, period],
            )
            .await?;
        let mut told: Vec<Told> = db
            .fetch_all(
                "SELECT recipient, malls, formats, locale, subject, digest, is_provisional, figures, version, revision
                 FROM report_mailings WHERE report = $1 AND period_day = $2
                 ORDER BY recipient, malls, formats, locale",
                values![report, period],
            )
            .await?;
        // Of a row that cannot be read nobody knows who was told what.
        told.retain(|told| told.problems.is_empty());
        Ok(Self { period, revision: revised.map_or(0, |(revision,)| revision), told })
    }

    /// What a mail like this said last.
    pub fn of(&self, address: &Address) -> Option<&Told> {
        self.told.iter().find(|told| told.is_to(address))
    }

    /// The malls of which the recipient of a mail was told by mails of the same form.
    pub fn malls_told(&self, told: &Told) -> BTreeSet<i64> {
        let is_same_form = |other: &&Told| {
            other.recipient == told.recipient && other.formats == told.formats && other.locale == told.locale
        };
        self.told.iter().filter(is_same_form).flat_map(Told::mall_ids).collect()
    }

    /// Those whose mail is of an earlier revision.
    pub fn owed(&self) -> impl Iterator<Item = &Told> {
        self.told.iter().filter(|told| told.revision < self.revision)
    }
}

/// Raises the revision of a period's figures; in the transaction that replaces them, so that no kill comes between.
pub async fn revise(db: &mut Db, report: &str, period: NaiveDate, now: DateTime<Utc>) -> anyhow::Result<()> {
    db.execute(
        "INSERT INTO report_revisions (report, period_day, revision, revised_at) VALUES ($1, $2, 1, $3)
         ON CONFLICT (report, period_day) DO UPDATE
         SET revision = report_revisions.revision + 1, revised_at = excluded.revised_at",
        values![report, period, now],
    )
    .await?;
    Ok(())
}

/// Whether anybody was told of a period.
pub async fn is_anybody_told(db: &mut Db, report: &str, period: NaiveDate) -> anyhow::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM report_mailings WHERE report = $1 AND period_day = $2)";
    let (is_told,): (bool,) = db.fetch_one(sql, values![report, period]).await?;
    Ok(is_told)
}

/// The periods that somebody has to be told of again, with the recipients, of the last `OWED_DAYS`.
pub async fn owed(db: &mut Db, report: &str, now: DateTime<Utc>) -> anyhow::Result<Vec<(NaiveDate, String)>> {
    #[derive(FromRow)]
    struct Owed {
        period_day: NaiveDate,
        recipient: String,
        #[row(problems)]
        problems: Problems,
    }
    let since = now.checked_sub_days(Days::new(OWED_DAYS)).unwrap_or(now);
    let owed: Vec<Owed> = db
        .fetch_all(
            "SELECT DISTINCT m.period_day, m.recipient
             FROM report_revisions r
             JOIN report_mailings m ON m.report = r.report AND m.period_day = r.period_day
             WHERE r.report = $1 AND r.revised_at >= $2 AND m.revision < r.revision",
            values![report, since],
        )
        .await?;
    // Nobody knows what such a row says that somebody was told, or whom.
    let owed = owed.into_iter().filter(|owed| owed.problems.is_empty());
    Ok(owed.map(|owed| (owed.period_day, owed.recipient)).collect())
}

impl Told {
    /// Whether it was this mail.
    fn is_to(&self, address: &Address) -> bool {
        self.recipient == address.recipient
            && self.malls == address.malls
            && self.formats == address.formats
            && self.locale == address.locale
    }

    /// The malls that it was about at first, by id.
    pub fn mall_ids(&self) -> Vec<i64> {
        self.malls.split(',').filter_map(|id| id.parse().ok()).collect()
    }

    /// The first of some malls of which something was told, and nothing is there to be told now.
    pub fn missing<'m>(&self, malls: &'m [Mall], now: &[Headline]) -> Option<&'m Mall> {
        let before = self.headlines();
        let are_of = |headlines: &[Headline], mall: &Mall| {
            let prefix = format!("{}/", mall.id);
            headlines.iter().any(|headline| headline.key.starts_with(&prefix))
        };
        malls.iter().find(|mall| are_of(&before, mall) && !are_of(now, mall))
    }

    fn headlines(&self) -> Vec<Headline> {
        serde_json::from_str(&self.figures).unwrap_or_default()
    }

    /// What has changed since, as the template's `correction`. Null if what was told was not final, and this is not either:
    /// apart from the malls of which final figures were told beside the others, and have changed.
    pub fn correction(&self, now: &[Headline], is_provisional: bool, locale: Locale) -> Value {
        if self.digest.is_none() {
            return Value::Null;
        }
        let mut before = self.headlines();
        let mut now = now.to_vec();
        if self.is_provisional && is_provisional {
            // A mail of an earlier version does not say whose figures were provisional.
            if before.iter().all(|figure| !figure.is_provisional) {
                return Value::Null;
            }
            before.retain(|figure| !figure.is_provisional);
            now.retain(|figure| before.iter().any(|told| told.key == figure.key));
            let is_changed = |told: &Headline| {
                now.iter()
                    .find(|figure| figure.key == told.key)
                    .is_none_or(|figure| told.differs_from(figure))
            };
            if !before.iter().any(is_changed) {
                return Value::Null;
            }
            return json!({ "was_provisional": false, "rows": changes(&before, &now, locale) });
        }
        json!({ "was_provisional": self.is_provisional, "rows": changes(&before, &now, locale) })
    }
}

/// The figures that differ, old and new side by side.
fn changes(before: &[Headline], now: &[Headline], locale: Locale) -> Vec<Value> {
    let old: BTreeMap<&str, &Headline> = before.iter().map(|figure| (figure.key.as_str(), figure)).collect();
    // Among provisional figures alone it is worth saying.
    let is_any_provisional = before.iter().any(|figure| figure.is_provisional);
    let row = |figure: &Headline, before: &str, after: &str| {
        let old = old.get(figure.key.as_str());
        json!({
            "mall": figure.mall,
            "figure": figure.label,
            "before": before,
            "after": after,
            "was_final": is_any_provisional && old.is_some_and(|old| !old.is_provisional),
        })
    };
    let mut changed = BTreeSet::new();
    let mut rows = Vec::new();
    for figure in now.iter().filter(|figure| figure.is_shown() && !figure.is_of_parts()) {
        let told = match old.get(figure.key.as_str()) {
            Some(told) => told.shown.as_str(),
            // An earlier version told fewer figures of a mall: this one may have been the same.
            None if figure.group().0 != ALL_MALLS
                && before.iter().any(|told| told.group() == figure.group()) =>
            {
                continue;
            }
            None => "–",
        };
        if told != figure.shown {
            changed.insert(figure.group());
            rows.push(row(figure, told, &figure.shown));
        }
    }
    let is_gone = |figure: &&Headline| now.iter().all(|now| now.key != figure.key);
    for figure in before.iter().filter(|figure| figure.is_shown() && !figure.is_of_parts()).filter(is_gone) {
        changed.insert(figure.group());
        rows.push(row(figure, &figure.shown, "–"));
    }
    // Where a figure has changed, its parts have too.
    let parts = now.iter().filter(|figure| figure.is_of_parts() && !changed.contains(&figure.group()));
    for figure in parts {
        if old.get(figure.key.as_str()).is_some_and(|told| told.differs_from(figure)) {
            let as_mailed = locale.pick("as mailed", "送付時", "발송 시");
            rows.push(row(figure, as_mailed, &figure.shown));
        }
    }
    rows
}

/// A mail as it is noted.
pub struct Mailed<'m> {
    /// The report.
    pub report: &'m str,
    /// The first day of its period.
    pub period: NaiveDate,
    /// The revision of its figures.
    pub revision: i64,
    /// The subject from the configuration.
    pub subject: Option<&'m str>,
    /// The fingerprint of its figures; `None` if it is held back.
    pub digest: Option<&'m str>,
    /// Whether they are provisional.
    pub is_provisional: bool,
    /// Its figures.
    pub headlines: &'m [Headline],
}

/// Which mail about a period it is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The version of the mail before; `None` if there was none.
    pub after: Option<i64>,
    /// Its own version; 0 if it is held back.
    pub version: i64,
}

/// Notes what somebody is told; in the transaction that queues the mail. Returns whether it is: not if another run has told
/// them something since it was looked up.
pub async fn note(
    db: &mut Db,
    mailed: &Mailed<'_>,
    address: &Address,
    place: Place,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    // No mail has a version below 0: a first one is noted only if there is none.
    let after = place.after.unwrap_or(-1);
    let noted = db.execute(
        "INSERT INTO report_mailings (report, period_day, recipient, malls, formats, locale, subject, digest,
             is_provisional, figures, version, revision, mailed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (report, period_day, recipient, malls, formats, locale) DO UPDATE
         SET subject = excluded.subject, digest = excluded.digest, is_provisional = excluded.is_provisional,
             figures = excluded.figures, version = excluded.version, revision = excluded.revision,
             mailed_at = excluded.mailed_at
         WHERE report_mailings.version = $14",
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
            place.version,
            mailed.revision,
            now,
            after
        ],
    )
    .await?;
    Ok(noted > 0)
}

/// Notes that a recipient needs no mail about a revision: what they were told is still true, or is replaced by what is final.
pub async fn settle(
    db: &mut Db,
    report: &str,
    standing: &Standing,
    address: &Address,
    told: &Told,
) -> anyhow::Result<()> {
    if told.revision >= standing.revision {
        return Ok(());
    }
    db.execute(
        "UPDATE report_mailings SET revision = $1
         WHERE report = $2 AND period_day = $3 AND recipient = $4 AND malls = $5 AND formats = $6 AND locale = $7
           AND version = $8 AND revision < $1",
        values![
            standing.revision,
            report,
            standing.period,
            &address.recipient,
            &address.malls,
            &address.formats,
            &address.locale,
            told.version
        ],
    )
    .await?;
    Ok(())
}

/// Forgets what was told of periods before a day: nobody is told of them any more.
pub async fn forget(db: &mut Db, report: &str, before: NaiveDate) -> anyhow::Result<()> {
    for sql in [
        "DELETE FROM report_mailings WHERE report = $1 AND period_day < $2",
        "DELETE FROM report_revisions WHERE report = $1 AND period_day < $2",
    ] {
        db.execute(sql, values![report, before]).await?;
    }
    Ok(())
}

/// The word that marks a mail of provisional figures that also corrects final ones.
pub fn word_beside_provisional(locale: Locale) -> &'static str {
    locale.pick("provisional, with a correction", "仮・訂正あり", "잠정·정정 포함")
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

    /// `net ¥1 ¥2`: a figure before and after.
    fn rows(before: &[Headline], now: &[Headline], locale: Locale) -> Vec<String> {
        let row = |row: &Value| format!("{} {} {}", row["figure"], row["before"], row["after"]);
        changes(before, now, locale).iter().map(|of| row(of).replace('"', "")).collect()
    }

    #[test]
    fn what_differs_is_shown_side_by_side() {
        let before = [headline("net", "¥1"), headline("orders", "2"), headline("gone", "3")];
        let now = [headline("net", "¥2"), headline("orders", "2")];
        assert_eq!(rows(&before, &now, Locale::En), ["net ¥1 ¥2", "gone 3 –"]);
    }

    #[test]
    fn a_figure_that_was_not_told_is_new_only_with_its_mall_or_currency() {
        let dollars = Headline::new((1, "Tokyo"), "net", Some("USD"), "net", "$4".to_owned());
        let now = [headline("net", "¥1"), headline("tax", "¥5"), dollars];
        assert_eq!(rows(&[headline("net", "¥1")], &now, Locale::En), ["net – $4"]);
        let total = |figure: &str| Headline::new((0, "Total"), figure, Some("JPY"), figure, "¥1".to_owned());
        assert_eq!(rows(&[total("net")], &[total("net"), total("fees")], Locale::En), ["fees – ¥1"]);
    }

    #[test]
    fn parts_are_named_where_nothing_else_has_changed() {
        let parts = |mark: &str, locale| {
            Headline::of_parts((1, "Tokyo"), "products", "JPY", "by product", locale, mark.to_owned())
        };
        for (locale, row) in [
            (Locale::En, "by product as mailed changed (see the report)"),
            (Locale::Ja, "by product 送付時 変更あり（レポート参照）"),
            (Locale::Ko, "by product 발송 시 변경됨(보고서 참조)"),
        ] {
            let [before, now] = ["a", "b"].map(|mark| [headline("net", "¥1"), parts(mark, locale)]);
            assert_eq!(rows(&before, &now, locale), [row]);
            assert_eq!(rows(&before, &before, locale), [""; 0]);
            let now = [headline("net", "¥2"), parts("b", locale)];
            assert_eq!(rows(&before, &now, locale), ["net ¥1 ¥2"]);
            // Told by a version that did not know of parts.
            assert_eq!(rows(&before[..1], &now[1..], locale)[..], ["net ¥1 –"]);
        }
    }
}
