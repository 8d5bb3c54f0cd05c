//! `report executive`: a day's figures for the management, with what changed since the day and the week before.
//!
//! Runs every morning for the newest finished day of each mall, on what `report daily-sales`, `report
//! daily-cancellations` and `stats refresh` have stored: it computes no sale itself. A mall whose sales are not reported
//! yet is left out and named; without any it fails and says so. A comparison that is not there is a dash. It goes out as a mail with a chart inside.

mod document;
mod figures;

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde_json::json;

use crate::config::DeliveredReport;
use crate::context::Context;
use crate::db::Db;
use crate::documents::picture;
use crate::shop::malls::{Mall, selected_malls};
use crate::mail::outgoing::Attachment;
use crate::period::{DateArgs, DayRange};
use crate::runner::{Exclusion, Instance, Job, JobSpec, Run, minutes};
use crate::severity::Severity;

use super::delivery::{Letter, Mailing, Sender};
use super::periods::{self, Step, current_in, first_day};
use super::publication::{Content, PublicationArgs};
use figures::Figures;

/// How the template refers to the chart: `<img src="cid:chart">`.
const CHART_CONTENT_ID: &str = "chart";

/// Report a day's figures to the management, with changes and a chart
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    dates: DateArgs,
    /// Report on these malls, by code or number (default: all active)
    #[arg(long, value_delimiter = ',', value_name = "MALL")]
    mall: Vec<String>,
    #[command(flatten)]
    publication: PublicationArgs,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "report executive",
        summary: "Report a day's figures to the management, with changes and a chart",
        schedule: Some("0 10 * * *"),
        deadline: minutes(10),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
    };

    async fn instances(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Instance>> {
        self.publication.check(cx)?;
        let malls = selected_malls(db, &self.mall).await?;
        self.sender().check(cx, db).await?;
        let days = periods::asked(cx, Step::Day, &self.dates, &malls, None)?;
        if malls.is_empty() {
            cx.output.status("No active mall: nothing to report (add one with `batchctl mall add`)");
            return Ok(Vec::new());
        }
        let instance = |day| periods::instance(Self::SPEC.name, day, &self.mall, &malls, &[]);
        Ok(days.into_iter().map(instance).collect())
    }

    async fn run(&self, run: &mut Run<'_>, instance: &Instance) -> anyhow::Result<()> {
        let day = first_day(instance)?;
        let malls = self.malls_about(run.cx, run.db, day).await?;
        let figures = self.figures(run.cx, run.db, day, &malls).await?;
        run.read(malls.len() as u64);
        run.summarise(figures.sentence());
        Ok(())
    }

    async fn deliver(&self, cx: &Context, db: &mut Db, completed: &[Instance]) -> anyhow::Result<()> {
        if !self.publication.formats(cx).is_empty() {
            let locale = self.publication.locale(cx);
            for day in completed.iter().map(first_day).collect::<anyhow::Result<BTreeSet<_>>>()? {
                let malls = self.malls_about(cx, db, day).await?;
                let figures = self.figures(cx, db, day, &malls).await?;
                let content = Content {
                    created: figures.computed_at,
                    document: &|_| document::document(&figures, cx.time_zone(), locale),
                    flat: &|| document::flat_table(&figures, locale),
                };
                self.publication.publish(cx, &content)?;
            }
        }
        let sender = self.sender();
        sender
            .send_all(cx, db, completed, async |db, mailing| self.mail(cx, db, &sender, mailing).await)
            .await
    }
}

impl Args {
    fn sender(&self) -> Sender<'_> {
        Sender {
            report: DeliveredReport::Executive,
            step: Step::Day,
            publication: &self.publication,
            wanted: &self.mall,
            is_by_period: true,
        }
    }

    /// The malls that a day's report is about: those whose newest finished day it is, or, of a day that was asked for,
    /// all in which it is over.
    async fn malls_about(&self, cx: &Context, db: &mut Db, day: NaiveDate) -> anyhow::Result<Vec<Mall>> {
        if self.dates.is_given() {
            return periods::malls_of(cx, db, &self.mall, DayRange::single(day), false).await;
        }
        let malls = selected_malls(db, &self.mall).await?;
        Ok(current_in(cx, Step::Day, day, malls))
    }

    /// A day's figures. What goes out by itself every morning waits for no mall; what somebody asked for is whole.
    async fn figures(
        &self,
        cx: &Context,
        db: &mut Db,
        day: NaiveDate,
        malls: &[Mall],
    ) -> anyhow::Result<Figures> {
        let may_lack_some = !self.dates.is_given() && self.mall.is_empty();
        Figures::load(db, day, malls, may_lack_some, cx.time_zone()).await
    }

    /// Mails a day's figures.
    async fn mail(
        &self,
        cx: &Context,
        db: &mut Db,
        sender: &Sender<'_>,
        mailing: &Mailing,
    ) -> anyhow::Result<()> {
        let locale = mailing.locale;
        for &day in &mailing.periods {
            let malls = if mailing.is_standing {
                mailing.malls.clone()
            } else {
                self.malls_about(cx, db, day).await?
            };
            let figures = self.figures(cx, db, day, &malls).await?;
            let charts = document::charts(&figures, locale);
            let picture = picture::draw(&charts, locale, &cx.config.pdf_font_dirs())?;
            let mut data = document::variables(&figures, locale);
            data["has_chart"] = json!(picture.is_some());
            let letter = Letter {
                period: day.to_string(),
                data,
                identity: document::without_comparisons(&figures, locale),
                content: Content {
                    created: figures.computed_at,
                    document: &|_| document::document(&figures, cx.time_zone(), locale),
                    flat: &|| document::flat_table(&figures, locale),
                },
                pictures: picture.into_iter().map(|picture| inline(picture.bytes)).collect(),
            };
            sender.send(cx, db, mailing, letter).await?;
        }
        Ok(())
    }
}

fn inline(bytes: Vec<u8>) -> Attachment {
    Attachment {
        name: "chart.png".to_owned(),
        content_type: "image/png".to_owned(),
        content_id: Some(CHART_CONTENT_ID.to_owned()),
        bytes,
    }
}
