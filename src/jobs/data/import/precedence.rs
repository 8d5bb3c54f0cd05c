//! Which of two files of a kind is the newer one, by when they were exported: an old file that is imported late must not
//! pass for the latest state.

use chrono::{DateTime, Days, Utc};

use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::period::shown_instant;
use crate::runner::Job;
use crate::runner::history::{self, Status};
use crate::shop::arrivals::files::named_day;
use crate::shop::arrivals::habits::EarlierFile;

use super::{Args, Checkpoint};

/// Imports of a kind, mall and section that are looked at: those of two months of nights.
const EXAMINED_RUNS: i64 = 60;

/// The imports of the same content, and of the other files of the same kind, mall and section.
pub(super) struct Precedence {
    /// The last run that stored the same content, or a part of it.
    pub(super) own: Option<Own>,
    /// The import of the newest one of the others.
    pub(super) newest: Option<Newest>,
    /// What the last one that ended well said of its lines.
    pub(super) noted: Option<String>,
    /// How the last one was interpreted.
    pub(super) interpretation: Option<String>,
    /// When the last file was exported, if that is the time of its records.
    pub(super) dated_by_export: Option<DateTime<Utc>>,
    /// All that were read to their end.
    pub(super) earlier: Vec<EarlierFile>,
    /// Of each of the others, when it was exported and when its import began.
    others: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

/// An import of the same content.
pub(super) struct Own {
    /// Its run.
    pub(super) run: i64,
    /// Whether it stored nothing: there is no state that it could take back.
    pub(super) is_empty: bool,
    /// When the content was exported then.
    pub(super) exported: Option<DateTime<Utc>>,
}

/// An import that stored something. It may have ended in any way: what is stored is stored.
pub(super) struct Newest {
    /// Its run.
    pub(super) run: i64,
    title: String,
    /// When its file was exported.
    pub(super) exported: DateTime<Utc>,
}

impl Precedence {
    /// What the history knows of them. `origin` is that of the file, as in the checkpoints of others.
    pub(super) async fn of(
        db: &mut Db,
        instance_key: &str,
        origin: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Self> {
        // The kind. Which mall it is for may be said by a flag or by the configuration.
        let scope = instance_key.split_inclusive(' ').next().unwrap_or_default();
        let job = Args::SPEC.name;
        let field = ("origin", origin);
        let runs = history::with_checkpoint_lately(db, job, scope, field, EXAMINED_RUNS).await?;
        // What was exported later was so by a clock that was ahead. A shop may be in a zone where it is tomorrow.
        let tomorrow = now.checked_add_days(Days::new(1)).unwrap_or(now);
        let last = history::last_with_checkpoint(db, Args::SPEC.name, instance_key).await?;
        let own = last.and_then(|last| {
            let checkpoint = serde_json::from_str::<Checkpoint>(last.checkpoint.as_deref()?).ok()?;
            Some(Own { run: last.id, is_empty: checkpoint.lines == 0, exported: checkpoint.exported })
        });
        let of_origin = runs.into_iter().filter_map(|run| {
            let checkpoint = serde_json::from_str::<Checkpoint>(run.checkpoint.as_deref()?).ok()?;
            // Versions that did not note it had one source for all.
            let is_of_origin = checkpoint.origin.as_deref().is_none_or(|other| other == origin);
            is_of_origin.then_some((run, checkpoint))
        });
        let (mut newest, mut noted, mut dated_by_export, mut earlier) =
            (None::<Newest>, None, None, Vec::new());
        let (mut interpreted, mut others) = (None, Vec::new());
        for (place, (run, checkpoint)) in of_origin.enumerate() {
            let is_partial = run.is(Status::Partial);
            let has_ended_well = is_partial || run.is(Status::Completed);
            let Checkpoint { interpretation, exported, dates_records, noted: of_run, days, .. } = checkpoint;
            // A file of which nothing was stored says nothing about how those before it were read.
            if has_ended_well {
                interpreted.get_or_insert(interpretation);
            }
            let Some(exported) = exported else { continue };
            if has_ended_well && noted.is_none() {
                noted = Some(of_run);
            }
            if exported > tomorrow {
                continue;
            }
            if has_ended_well {
                let name = run.title.as_deref().and_then(|title| title.rsplit('/').next());
                let named_day = name.and_then(named_day);
                earlier.push(EarlierFile { run: run.id, is_partial, exported, named_day, days });
            }
            // The last one, and what came before it in a row of such files.
            if dates_records && (place == 0 || dated_by_export.is_some()) {
                dated_by_export = dated_by_export.max(Some(exported));
            }
            if run.instance_key == instance_key {
                continue;
            }
            others.push((exported, run.started_at));
            if newest.as_ref().is_none_or(|newest| newest.exported < exported) {
                let title = run.title.unwrap_or(run.instance_key);
                newest = Some(Newest { run: run.id, title, exported });
            }
        }
        Ok(Self {
            own,
            newest,
            noted: noted.flatten(),
            interpretation: interpreted,
            dated_by_export,
            earlier,
            others,
        })
    }

    /// Since when other parts of an export of that moment were imported, such as the other members of an archive.
    pub(super) fn other_parts_since(&self, exported: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.others.iter().filter(|(other, _)| *other == exported).map(|(_, began)| *began).min()
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
