//! `report weekly-signups`: how many members signed up in each mall in a week, by channel and current status.
//!
//! Runs on Monday for the week (Monday to Sunday) that is over in each mall's own time zone. Each member is counted
//! once, in the week of their sign-up, by the status they had at its end. Only counts are disclosed,
//! and no small ones: see `weekly_signups/disclosure.rs`. Members who requested erasure are not counted at all.

mod disclosure;
mod document;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::context::Context;
use crate::db::{Db, FromRow};
use crate::documents::{Document, Table};
use crate::failure::Failure;
use crate::locale::Locale;
use crate::period::DayRange;
use crate::runner::{Exclusion, Items, JobSpec, Run, minutes};
use crate::severity::Severity;
use crate::shop::arrivals::Subject;
use crate::shop::malls::{Mall, selected_malls};
use crate::shop::times::Dated;
use crate::values;

use super::awaited::{self, AwaitedColumns};
use super::by_mall;
use super::delivery::{Letter, Mailing};
use super::driver::{Audience, Due, Report, ReportArgs};
use super::outdated::{FigureTable, Parts};
use super::periods::{self, Step};
use super::publication::Extent;
use super::stale;
use disclosure::{Disclosed, Statuses, disclose};

/// The counts of a week and mall; those by channel follow them.
const TABLE: FigureTable = FigureTable {
    name: "weekly_signups",
    period_column: "week_day",
    made_of: &[Dated::MEMBERS],
    parts: &[Parts { name: "weekly_signups_by_channel", which: "TRUE", by: &[], sums: &["signups"] }],
    words: &[("weekly_signups_by_channel", "channel")],
    awaits: &[Subject::Member],
    report: stale::WEEKLY_SIGNUPS,
    // The difference between two disclosed counts may be a single person.
    figures: &[],
    is_reported: "TRUE",
};

/// Arguments of `report weekly-signups`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    report: ReportArgs,
    /// Disclose no count of fewer people than this; smaller groups are merged into "other"
    // With a minimum of two, each of a pair could identify the other.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(i64).range(3..=1000))]
    min_cell: i64,
}

impl Report for Args {
    const SPEC: JobSpec = JobSpec {
        name: "report weekly-signups",
        summary: "Report how many members joined each mall last week, by channel (counts only)",
        details: "Members who requested erasure are not counted. Small groups are merged, so that nobody can be \
                  recognised.",
        page: Some("docs/weekly-signups.md"),
        schedule: Some("0 4 * * 1"),
        deadline: minutes(30),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
        items: Items::new("mall", "malls", "computed"),
    };
    const STEP: Step = Step::Week;
    const IS_SHOWN_BY_PERIOD: bool = false;
    const IS_MAILED_BY_PERIOD: bool = true;
    const IS_ATTACHED: bool = true;

    const TABLE: Option<FigureTable> = Some(TABLE);

    type Figures = document::Figures;

    fn args(&self) -> &ReportArgs {
        &self.report
    }

    async fn lacking(&self, db: &mut Db, period: DayRange, malls: &[Mall]) -> anyhow::Result<Vec<Mall>> {
        without_counts(db, period.first(), malls).await
    }

    async fn news(&self, db: &mut Db, period: DayRange, _malls: &[Mall]) -> anyhow::Result<Option<String>> {
        let week = period.first();
        let selected = self.report.malls.selected(db).await?;
        self.refuse_smaller(stored_minimums(db, week, &selected).await?, week)?;
        // One week with two minimums would reveal more than either of them.
        let others: Vec<(i64,)> = db
            .fetch_all(
                "SELECT DISTINCT min_cell FROM weekly_signups WHERE week_day = $1 AND min_cell <> $2",
                values![week, self.min_cell],
            )
            .await?;
        Ok(others.first().map(|(min_cell,)| format!("computed with --min-cell {min_cell}")))
    }

    async fn compute(&self, run: &mut Run<'_>, period: DayRange) -> anyhow::Result<()> {
        let week = period.first();
        let due = Due::find(self, run, period).await?;
        // The stored minimum of the week's other malls applies to these too: two minimums in one week reveal more.
        let mut kept = selected_malls(run.db, &[]).await?;
        kept.retain(|mall| !due.malls.iter().any(|replaced| replaced.id == mall.id));
        let kept = stored_minimums(run.db, week, &kept).await?;
        let min_cell = kept.last().copied().unwrap_or(0).max(self.min_cell);
        self.refuse_smaller(kept, week)?;
        let (id, now) = (run.id(), run.cx.now());
        let replace_mall = async |db: &mut Db, mall: &Mall, awaited: &AwaitedColumns| {
            let channels = count(db, week, mall).await?;
            let computation = Computation { run: id, now, min_cell, awaited: awaited.clone() };
            replace_mall(db, week, mall, &disclose(channels, min_cell), &computation).await
        };
        let computed = by_mall::replace(run, TABLE, period, &due, replace_mall).await?;
        let mut sentence = due.sentence(computed);
        if min_cell > self.min_cell {
            sentence.push_str(&format!(", with --min-cell {min_cell} like the rest of the week"));
        }
        run.summarise(sentence);
        Ok(())
    }

    /// Another command may have replaced them since.
    async fn check_stored(&self, db: &mut Db, weeks: &BTreeSet<NaiveDate>) -> anyhow::Result<()> {
        let malls = self.report.malls.selected(db).await?;
        for &week in weeks {
            self.refuse_smaller(stored_minimums(db, week, &malls).await?, week)?;
        }
        Ok(())
    }

    async fn load(
        &self,
        cx: &Context,
        db: &mut Db,
        periods: &BTreeSet<NaiveDate>,
        audience: &Audience<'_>,
    ) -> anyhow::Result<document::Figures> {
        let malls = audience.malls(&self.report, db).await?;
        document::Figures::load(db, periods, &malls, cx.config.report()).await
    }

    fn check(figures: &document::Figures) -> Result<(), Failure> {
        figures.check()
    }

    fn computed_at(figures: &document::Figures, now: DateTime<Utc>) -> DateTime<Utc> {
        figures.computed_at(now)
    }

    fn document(figures: &document::Figures, time_zone: Tz, locale: Locale, extent: Extent) -> Document {
        document::document(figures, time_zone, locale, extent)
    }

    fn flat_table(figures: &document::Figures, locale: Locale) -> Table {
        document::flat_table(figures, locale)
    }

    fn letter(
        cx: &Context,
        figures: &document::Figures,
        periods: &BTreeSet<NaiveDate>,
        mailing: &Mailing,
    ) -> anyhow::Result<Option<Letter>> {
        let Some(&week) = periods.first().filter(|_| !figures.is_empty()) else { return Ok(None) };
        let week = DayRange::week_of(week);
        Ok(Some(Letter {
            period: week.to_string(),
            data: document::variables(figures, week, mailing.locale),
            awaiting: awaited::variables(&figures.awaiting(), cx.time_zone(), mailing.locale),
            identity: document::flat_table(figures, mailing.locale),
            pictures: Vec::new(),
            lacking: Self::check(figures).err(),
            headlines: Some(figures.headlines()),
        }))
    }
}

impl Args {
    /// Counts that were computed with a smaller minimum disclose more than this command may disclose.
    fn refuse_smaller(&self, minimums: BTreeSet<i64>, week: NaiveDate) -> Result<(), Failure> {
        let Some(smallest) = minimums.into_iter().next().filter(|smallest| *smallest < self.min_cell) else {
            return Ok(());
        };
        let period = DayRange::week_of(week);
        Err(Failure::failed(format!("the counts of {period} were computed with --min-cell {smallest}")).hint(
            format!(
                "replace them: batchctl report weekly-signups --date {week} --min-cell {} --rerun",
                self.min_cell
            ),
        ))
    }
}

/// The malls that have no counts for the week yet.
async fn without_counts(db: &mut Db, week: NaiveDate, malls: &[Mall]) -> anyhow::Result<Vec<Mall>> {
    let stored: Vec<(i64,)> =
        db.fetch_all("SELECT mall_id FROM weekly_signups WHERE week_day = $1", values![week]).await?;
    Ok(malls.iter().filter(|mall| !stored.contains(&(mall.id,))).cloned().collect())
}

/// The minimums with which these malls' counts of a week were computed.
async fn stored_minimums(db: &mut Db, week: NaiveDate, malls: &[Mall]) -> anyhow::Result<BTreeSet<i64>> {
    let stored: Vec<(i64, i64)> = db
        .fetch_all("SELECT mall_id, min_cell FROM weekly_signups WHERE week_day = $1", values![week])
        .await?;
    let is_asked = |id: i64| malls.iter().any(|mall| mall.id == id);
    Ok(stored.into_iter().filter(|(mall, _)| is_asked(*mall)).map(|(_, min_cell)| min_cell).collect())
}

// ---------------------------------------------------------------- the counts

#[derive(FromRow)]
struct ChannelRow {
    channel: String,
    active: i64,
    unconfirmed: i64,
    withdrawn: i64,
}

/// Counts the week's sign-ups by channel; '' if the shop states none. By the status at the week's end, so that a later count
/// of the same members comes to the same: who confirms or leaves afterwards changes nothing. If it is not known when a
/// member left or confirmed, that was before.
async fn count(db: &mut Db, week: NaiveDate, mall: &Mall) -> anyhow::Result<Vec<(String, Statuses)>> {
    let bounds = periods::bounds(DayRange::week_of(week), mall.time_zone()?);
    let rows: Vec<ChannelRow> = db
        .fetch_all(
            "SELECT TRIM(COALESCE(channel, '')) AS channel,
                    COUNT(*) FILTER (WHERE status_then = 'ACTIVE') AS active,
                    COUNT(*) FILTER (WHERE status_then = 'UNCONFIRMED') AS unconfirmed,
                    COUNT(*) FILTER (WHERE status_then = 'WITHDRAWN') AS withdrawn
             FROM (SELECT channel,
                          CASE WHEN status = 'WITHDRAWN' AND (withdrawn_at IS NULL OR withdrawn_at < $3) THEN 'WITHDRAWN'
                               WHEN status = 'UNCONFIRMED' OR confirmed_at >= $3 THEN 'UNCONFIRMED'
                               ELSE 'ACTIVE' END AS status_then
                   FROM members
                   WHERE mall_id = $1 AND signed_up_at >= $2 AND signed_up_at < $3
                     AND erasure_requested_at IS NULL) signed_up
             GROUP BY TRIM(COALESCE(channel, ''))",
            values![mall.id, bounds.start, bounds.end],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let ChannelRow { channel, active, unconfirmed, withdrawn } = row;
            (channel, Statuses { active, unconfirmed, withdrawn })
        })
        .collect())
}

/// The run that computed the counts, with its time and minimum, and the data that they wait for.
struct Computation {
    run: i64,
    now: DateTime<Utc>,
    min_cell: i64,
    awaited: AwaitedColumns,
}

/// Replaces one mall's rows of the week. Only what may be disclosed is ever stored.
async fn replace_mall(
    db: &mut Db,
    week: NaiveDate,
    mall: &Mall,
    told: &Disclosed,
    computation: &Computation,
) -> anyhow::Result<()> {
    for table in [
        "DELETE FROM weekly_signups WHERE week_day = $1 AND mall_id = $2",
        "DELETE FROM weekly_signups_by_channel WHERE week_day = $1 AND mall_id = $2",
    ] {
        db.execute(table, values![week, mall.id]).await?;
    }
    let [active, unconfirmed, withdrawn] = told.statuses;
    db.execute(
        "INSERT INTO weekly_signups (week_day, mall_id, min_cell, signups, active, unconfirmed, withdrawn,
             execution_id, computed_at, awaited_subject, awaited_since, awaited_day, awaited_run)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        values![
            week,
            mall.id,
            computation.min_cell,
            told.signups,
            active,
            unconfirmed,
            withdrawn,
            computation.run,
            computation.now,
            computation.awaited.awaited_subject.as_deref(),
            computation.awaited.awaited_since,
            computation.awaited.awaited_day,
            computation.awaited.awaited_run,
        ],
    )
    .await?;
    for group in &told.groups {
        let [active, unconfirmed, withdrawn] = group.statuses.map_or([None; 3], |cells| cells.map(Some));
        db.execute(
            "INSERT INTO weekly_signups_by_channel (week_day, mall_id, channel, is_other, signups, active, unconfirmed,
                 withdrawn)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            values![
                week,
                mall.id,
                group.channel.as_deref().unwrap_or_default(),
                group.channel.is_none(),
                group.signups,
                active,
                unconfirmed,
                withdrawn,
            ],
        )
        .await?;
    }
    Ok(())
}
