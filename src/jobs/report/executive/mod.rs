//! `report executive`: a day's key figures for management, with changes since the day before and the week before.
//!
//! Runs every morning for the newest finished day of each mall, on what `report daily-sales`, `report
//! daily-cancellations` and `stats refresh` stored: it computes no sales itself. A mall whose sales are not reported
//! yet is left out and named; if none is left, the report fails with that error. A mall whose sales failed, or whose
//! stored figures cannot be read, is a failed item beside those that are reported. A missing comparison is shown as a dash.
//! The report is sent as a mail with a chart inside.

mod document;
mod figures;

use std::collections::BTreeSet;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde_json::json;

use crate::context::Context;
use crate::db::Db;
use crate::documents::{Document, Table, picture};
use crate::locale::Locale;
use crate::mail::outgoing::Attachment;
use crate::period::DayRange;
use crate::runner::{Exclusion, Items, JobSpec, Run, minutes};
use crate::severity::Severity;
use crate::shop::malls::Mall;

use super::awaited;
use super::delivery::{Letter, Mailing};
use super::driver::{Audience, Report, ReportArgs};
use super::outdated::FigureTable;
use super::periods::{Step, current_in};
use super::publication::{Extent, font_folders, missing_characters};
use super::shown_malls::in_order;
use super::soundness::Unreadable;
use super::stale;
use super::told;
use figures::{Figures, Loaded, MissingPart, ReportScope};

/// The content id by which the template refers to the chart: `<img src="cid:chart">`.
const CHART_CONTENT_ID: &str = "chart";

/// Arguments of `report executive`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    report: ReportArgs,
    /// Leave out the malls whose sales are not reported yet, and name them (default without days and malls)
    #[arg(long)]
    leave_out_missing: bool,
}

impl Report for Args {
    const SPEC: JobSpec = JobSpec {
        name: "report executive",
        summary: "Report yesterday's key figures to management, with changes and a chart",
        details: "It shows what `report daily-sales`, `report daily-cancellations` and `stats refresh` have stored. \
                  A mall whose sales are not reported yet is left out and named.",
        page: None,
        schedule: Some("0 10 * * *"),
        deadline: minutes(10),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
        items: Items::new("mall", "malls", "computed"),
    };
    const STEP: Step = Step::Day;
    const IS_SHOWN_BY_PERIOD: bool = true;
    const IS_MAILED_BY_PERIOD: bool = true;
    const IS_ATTACHED: bool = false;

    const TABLE: Option<FigureTable> = None;

    type Figures = Figures;

    fn args(&self) -> &ReportArgs {
        &self.report
    }

    fn implied_flag(&self) -> Option<&'static str> {
        self.leaves_out_missing().then_some("leave_out_missing")
    }

    async fn unreadable(
        &self,
        cx: &Context,
        db: &mut Db,
        period: DayRange,
        malls: &[Mall],
    ) -> anyhow::Result<Unreadable> {
        figures::unreadable(db, self.scope(cx, period.first()), malls).await
    }

    /// A mall whose sales failed or cannot be read is a failed item, and the others are reported. So is a part of a mall's
    /// figures that cannot be read: the report is without it.
    async fn compute(&self, run: &mut Run<'_>, period: DayRange) -> anyhow::Result<()> {
        let malls = self.malls_about(run.cx, run.db, period.first()).await?;
        let malls = in_order(malls, run.cx.config.report());
        let scope = self.scope(run.cx, period.first());
        let loaded = run.db.read_on_snapshot(async |db| Loaded::load(db, scope, &malls).await).await?;
        let Loaded { figures, lacking, warnings } = loaded;
        run.read(malls.len() as u64);
        let mut whole = malls;
        whole.retain(|mall| lacking.iter().all(|part| part.mall != mall.id));
        for MissingPart { key, is_part, failure, .. } in lacking {
            if is_part {
                run.fail_part(&key, "read", &failure.into());
            } else {
                run.fail_item(&key, "read", &failure.into());
            }
        }
        for warning in &warnings {
            run.cx.output.warn(warning);
        }
        let Some(figures) = figures else { return Ok(()) };
        run.written(figures.reported_malls() as u64);
        run.summarise(figures.sentence());
        whole.retain(|mall| figures.malls.iter().any(|reported| reported.id == mall.id));
        follow_up(run, period.first(), &whole).await
    }

    async fn load(
        &self,
        cx: &Context,
        db: &mut Db,
        periods: &BTreeSet<NaiveDate>,
        audience: &Audience<'_>,
    ) -> anyhow::Result<Figures> {
        let day = *periods.first().context("no day to report on")?;
        let malls = match audience {
            Audience::Mail(mailing) if mailing.is_scheduled => mailing.malls.clone(),
            Audience::Mail(_) | Audience::Command => self.malls_about(cx, db, day).await?,
        };
        let malls = in_order(malls, cx.config.report());
        // What it lacks has failed in the run.
        let Loaded { figures, lacking, .. } = Loaded::load(db, self.scope(cx, day), &malls).await?;
        match (figures, lacking.into_iter().next()) {
            (Some(figures), first) => Ok(Figures { lacking: first.map(|part| part.failure), ..figures }),
            (None, Some(first)) => Err(first.failure.into()),
            (None, None) => anyhow::bail!("no mall to report on"),
        }
    }

    fn computed_at(figures: &Figures, _now: DateTime<Utc>) -> DateTime<Utc> {
        figures.computed_at
    }

    fn document(figures: &Figures, time_zone: Tz, locale: Locale, extent: Extent) -> Document {
        document::document(figures, time_zone, locale, extent)
    }

    fn flat_table(figures: &Figures, locale: Locale) -> Table {
        document::flat_table(figures, locale)
    }

    fn letter(
        cx: &Context,
        figures: &Figures,
        periods: &BTreeSet<NaiveDate>,
        mailing: &Mailing,
    ) -> anyhow::Result<Option<Letter>> {
        let Some(day) = periods.first() else { return Ok(None) };
        let locale = mailing.locale;
        let charts = document::charts(figures, locale);
        let picture = picture::draw(&charts, locale, font_folders(cx))?;
        if let Some(missing) =
            picture.as_ref().map(|picture| &picture.missing).filter(|missing| !missing.is_empty())
        {
            cx.output.warn(&format!("the chart of {day}: {}", missing_characters(missing)));
        }
        let mut data = document::variables(figures, locale);
        data["has_chart"] = json!(picture.is_some());
        Ok(Some(Letter {
            period: day.to_string(),
            data,
            awaiting: awaited::variables(&figures.awaiting, cx.time_zone(), locale),
            identity: document::without_comparisons(figures, locale),
            lacking: figures.lacking.clone(),
            pictures: picture.into_iter().map(|picture| inline(picture.bytes)).collect(),
            headlines: Some(document::headlines(figures, locale)),
        }))
    }
}

impl Args {
    /// The malls in a day's report: those whose newest finished day it is or, for a day that was asked for, all malls in
    /// which it is over.
    async fn malls_about(&self, cx: &Context, db: &mut Db, day: NaiveDate) -> anyhow::Result<Vec<Mall>> {
        if self.report.dates.is_given() {
            return self.report.malls_of(cx, db, DayRange::single(day), false).await;
        }
        let malls = self.report.malls.selected(db).await?;
        let current = current_in(cx, Step::Day, day, malls);
        if current.is_empty() {
            // An earlier day, whose figures have changed since.
            return self.report.malls_of(cx, db, DayRange::single(day), false).await;
        }
        Ok(current)
    }

    fn leaves_out_missing(&self) -> bool {
        self.leave_out_missing || (!self.report.dates.is_given() && self.report.malls.named().is_empty())
    }

    /// The scheduled report does not wait for any mall; one that was asked for is complete.
    fn scope(&self, cx: &Context, day: NaiveDate) -> ReportScope {
        ReportScope {
            day,
            are_named: !self.report.malls.named().is_empty(),
            may_lack_some: self.leaves_out_missing(),
            time_zone: cx.time_zone(),
            today: cx.today(),
        }
    }
}

/// What it shows of these malls was computed again: whoever was told of it has to be told again. A mall that it lacks keeps
/// its mark, so that this is done again once its figures can be read.
async fn follow_up(run: &mut Run<'_>, day: NaiveDate, malls: &[Mall]) -> anyhow::Result<()> {
    let marked = stale::find_marked(run.db, stale::EXECUTIVE, day).await?;
    if malls.iter().all(|mall| !marked.contains(&mall.id)) {
        return Ok(());
    }
    let now = run.cx.now();
    run.chunk(None::<&str>, async |db| {
        for mall in malls {
            stale::unmark(db, stale::EXECUTIVE, day, mall.id).await?;
        }
        told::revise(db, stale::EXECUTIVE, day, now).await
    })
    .await
}

fn inline(bytes: Vec<u8>) -> Attachment {
    Attachment {
        name: "chart.png".to_owned(),
        content_type: "image/png".to_owned(),
        content_id: Some(CHART_CONTENT_ID.to_owned()),
        bytes,
    }
}
