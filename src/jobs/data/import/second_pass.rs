//! The second pass: loads the good lines, chunk by chunk.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use crate::db::{Db, Kind as DbKind};
use crate::failure::Failure;
use crate::runner::{Run, history};
use crate::shop::arrivals::files::FileDays;
use crate::shop::upsert::UpsertCounts;
use crate::wording::counted;

use super::bad_lines::BadLines;
use super::checkpoint::Checkpoint;
use super::feed::{FeedMessage, Pass};
use super::first_pass::{Checked, note_more_bad_lines};
use super::imported_file::ImportedFile;
use super::kind::{FileKind, Noted, Rows};

/// Bad lines that were skipped and are stored as rows. More of them are not informative, and somebody has to read each.
const KEPT_BAD_LINES: u64 = 5_000;

/// What the second pass did.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) lines: u64,
    pub(super) done_before: u64,
    pub(super) outcome: UpsertCounts,
    /// The records of which another part of the same export has other lines.
    pub(super) split: Noted,
}

impl Loaded {
    pub(super) fn sentence<K: FileKind>(&self) -> String {
        let UpsertCounts { new, changed, unchanged, stale, .. } = self.outcome;
        let mut sentence = format!(
            "read {}, {} new, {changed} changed, {unchanged} unchanged",
            counted(self.lines, "line", "lines"),
            counted(new, K::NOUNS.0, K::NOUNS.1)
        );
        if stale > 0 {
            // Writing to a String cannot fail.
            let _ = write!(sentence, ", {stale} older than the stored ones");
        }
        if self.done_before > 0 {
            let lines = counted(self.done_before, "line", "lines");
            let _ = write!(sentence, " (after {lines} of an earlier attempt)");
        }
        sentence
    }
}

/// Loads the good lines, chunk by chunk, from the point where an earlier attempt ended.
pub(super) async fn load<K: FileKind>(
    run: &mut Run<'_>,
    file: &ImportedFile,
    checked: Checked,
) -> anyhow::Result<Loaded> {
    let (id, now) = (run.id(), run.cx.now());
    let earlier: Option<Checkpoint> = run.checkpoint()?;
    let Checkpoint { lines: done_before, mut left_out, split, mut days, .. } =
        earlier.filter(|earlier| earlier.interpretation == file.interpretation).unwrap_or_default();
    if done_before == 0 && run.counts() != history::Counts::default() {
        run.start_over().await?;
    }
    run.leave_out(left_out);
    run.show_progress_after(done_before, Some(checked.lines));
    let mut loaded = Loaded { done_before, split, ..Loaded::default() };
    let mut bad_lines = BadLines::default();
    let pass = Pass::Load { duplicates: checked.duplicates, done_lines: done_before };
    let mut feed = file.feed::<K>(pass, run.db);
    loop {
        run.check_stop()?;
        let mut chunk = match feed.next().await.map_err(changed_during_import)? {
            FeedMessage::Chunk(chunk) => chunk,
            FeedMessage::End(end) => {
                file.refuse_other_content(&end.hash, CHANGED_ADVICE)?;
                break;
            }
        };
        run.read(chunk.lines);
        run.leave_out(chunk.left_out);
        left_out += chunk.left_out;
        let is_empty = chunk.rows.is_empty();
        let mut bad = chunk.bad;
        if K::LOOKS_UP {
            // Before the chunk, so that the findings go into the history with the chunk.
            chunk.rows.stage(run.db).await?;
            bad.extend(K::look_up(run.db).await?);
        }
        for bad in bad {
            if bad_lines.count() < KEPT_BAD_LINES {
                run.skip_item(&file.item_key(bad.line), "load", "BAD_INPUT", &bad.text());
            }
            bad_lines.note(vec![bad]);
        }
        loaded.lines += chunk.lines;
        let checkpoint = file.checkpoint(chunk.lines_so_far, left_out, loaded.split.clone(), days.clone());
        // As long as nothing was loaded, a later attempt starts over: a mall may have been added in the meantime.
        let is_worth_a_checkpoint = done_before > 0 || loaded.outcome != UpsertCounts::default() || !is_empty;
        let layout = Arc::clone(&file.layout);
        let (outcome, split, days_so_far) = run
            .chunk_ending(async |db| {
                let (mut outcome, mut checkpoint) = (UpsertCounts::default(), checkpoint);
                if !is_empty {
                    if !K::LOOKS_UP {
                        chunk.rows.stage(db).await?;
                    }
                    if let Some(since) = file.other_parts_since {
                        K::note_split(db, since, &mut checkpoint.split).await?;
                    }
                    outcome = K::store(db, &layout, now).await?;
                    if let Some(arriving) = &file.arriving {
                        arriving.add(db, &mut checkpoint.days).await?;
                    }
                }
                let written = u64::try_from(outcome.written_lines).unwrap_or(0);
                let stored = is_worth_a_checkpoint.then(|| serde_json::to_string(&checkpoint)).transpose()?;
                Ok(((outcome, checkpoint.split, checkpoint.days), written, stored))
            })
            .await?;
        (days, loaded.split) = (days_so_far, split);
        loaded.outcome.add(outcome);
    }
    if run.db.kind() == DbKind::Postgres {
        run.db.script(COMMIT_TO_DISK).await?;
    }
    let kept = usize::try_from(bad_lines.count().min(KEPT_BAD_LINES)).unwrap_or(usize::MAX);
    note_more_bad_lines(run, file, "load", &bad_lines, kept);
    // A retry reads only the lines that failed: the days came with the others.
    if file.wanted.is_none() {
        let is_unnoted = done_before == 0 && loaded.outcome == UpsertCounts::default();
        let checkpoint =
            is_unnoted.then(|| file.checkpoint(0, left_out, Noted::default(), FileDays::default()));
        run.chunk(checkpoint.as_ref(), async |db| match &file.arriving {
            Some(arriving) => arriving.note(db, &days, id, now).await,
            None => Ok(()),
        })
        .await?;
    }
    Ok(loaded)
}

pub(super) const CHANGED_ADVICE: &str =
    "what was already imported stays; import the changed file to load the rest";

/// A fault that the first pass did not find must be new: the file changed.
pub(super) fn changed_during_import(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => {
            Failure::bad_input(format!("the file changed while it was imported: {}", failure.message))
                .hint(CHANGED_ADVICE)
                .into()
        }
        Err(error) => error,
    }
}

/// The lines that failed in the run that is retried, if that run loaded all the others; otherwise all lines: a run
/// that was refused because of its bad lines loaded none, and one that was killed did not load all of them.
pub(super) async fn wanted_lines(run: &mut Run<'_>, file_name: &str) -> anyhow::Result<Option<HashSet<u64>>> {
    let Some(items) = run.retry_items() else { return Ok(None) };
    let line_of = |item: &String| item.strip_prefix(file_name)?.strip_prefix(':')?.parse().ok();
    let Some(lines) = items.iter().map(line_of).collect::<Option<HashSet<u64>>>() else { return Ok(None) };
    let id = run.id();
    let retried = match history::find(run.db, id).await?.and_then(|own| own.retry_of) {
        Some(retried) => history::find(run.db, retried).await?,
        None => None,
    };
    let did_the_others = retried.is_some_and(|retried| {
        retried.is(history::Status::Partial) && retried.instance_key == run.instance_key()
    });
    Ok(did_the_others.then_some(lines))
}

// ---------------------------------------------------------------- staging

/// PostgreSQL does not have to wait for the disk at each chunk: after a server crash the last chunks and their
/// checkpoint are lost together, and the next start continues before them.
const COMMIT_WITHOUT_WAITING: &str = "SET synchronous_commit = off";
/// The run's end waits for the disk, and so for all previous chunks.
const COMMIT_TO_DISK: &str = "SET synchronous_commit = on";
/// SQLite's page cache for the tables' indexes: 8 MiB, because its default of 2 MiB holds the inner pages of only a few
/// million orders. And its log is copied into the file after 40 MB instead of after each chunk, so that an index page
/// that many chunks touch is copied once.
const CACHE_INDEXES: &str = "PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 10000";

pub(super) async fn prepare<K: FileKind>(db: &mut Db) -> anyhow::Result<()> {
    // The staging tables are never analysed, and plans are cached.
    db.plan_by_index().await?;
    db.script(db.pick(CACHE_INDEXES, COMMIT_WITHOUT_WAITING)).await?;
    K::prepare(db).await
}
