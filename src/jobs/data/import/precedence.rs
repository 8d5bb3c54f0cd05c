//! Which of two files of a kind is the newer one, by when they were exported: an old file that is imported late must not
//! pass for the latest state.

use chrono::{DateTime, Utc};

use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::period::shown_instant;
use crate::runner::Job;
use crate::runner::history;

use super::{Args, Checkpoint};

/// Imports that are looked at: those of a few months of nights.
const EXAMINED_RUNS: i64 = 500;

/// The imports of an instance and of the other files of the same kind and mall.
pub(super) struct Precedence {
    /// The last run that completed the instance.
    pub(super) own: Option<i64>,
    /// The import of the newest one of the others.
    pub(super) newest: Option<Newest>,
    /// When the last file was exported, if that is the time of its records.
    pub(super) dated_by_export: Option<DateTime<Utc>>,
}

/// An import that completed.
pub(super) struct Newest {
    /// Its run.
    pub(super) run: i64,
    title: String,
    /// When its file was exported.
    pub(super) exported: DateTime<Utc>,
}

impl Precedence {
    /// What the history knows of them.
    pub(super) async fn of(db: &mut Db, instance_key: &str) -> anyhow::Result<Self> {
        // All but the content's hash.
        let scope = |key: &str| key.rsplit_once(' ').map(|(scope, _)| scope.to_owned());
        let runs = history::completed_lately(db, Args::SPEC.name, EXAMINED_RUNS).await?;
        let runs = runs.into_iter().filter(|run| scope(&run.instance_key) == scope(instance_key));
        let (mut own, mut newest, mut dated_by_export) = (None, None::<Newest>, None);
        for (place, run) in runs.enumerate() {
            let is_own = run.instance_key == instance_key;
            let checkpoint = run.checkpoint.as_deref();
            let checkpoint = checkpoint.and_then(|text| serde_json::from_str::<Checkpoint>(text).ok());
            if is_own && own.is_none() {
                own = Some(run.id);
            }
            let Some(Checkpoint { exported: Some(exported), dates_records, .. }) = checkpoint else {
                continue;
            };
            // The last one, and what came before it in a row of such files.
            if dates_records && (place == 0 || dated_by_export.is_some()) {
                dated_by_export = dated_by_export.max(Some(exported));
            }
            if !is_own && newest.as_ref().is_none_or(|newest| newest.exported < exported) {
                let title = run.title.unwrap_or(run.instance_key);
                newest = Some(Newest { run: run.id, title, exported });
            }
        }
        Ok(Self { own, newest, dated_by_export })
    }
}

impl Newest {
    /// How it is named in a sentence.
    pub(super) fn named(&self, cx: &Context) -> String {
        let Self { run, title, exported } = self;
        format!("run {run} has imported `{title}`, exported {}", shown_instant(*exported, cx.time_zone()))
    }
}

/// The refusal to take a file for the latest state which most likely is not.
pub(super) fn refuse_old(cx: &Context, shown: &str, why: &str, newest: &Newest) -> Failure {
    Failure::bad_input(format!("`{shown}` {why}, and {}: nothing was imported", newest.named(cx)))
        .hint("if it is to be imported all the same, add --rerun: what is stored from a newer file stays")
        .retry_with("--rerun")
        .retry_once("if it is to be imported all the same")
}
