//! A run, as its job sees it: chunks, checkpoints, items, and whether to go on.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::db::{Db, Kind};
use crate::failure::{Failure, MAX_ERROR_CHARACTERS, one_line};
use crate::mask::Redactor;
use crate::output::Progress;
use crate::printable::shortened;
use crate::values;

use super::exit::ExitCode;
use super::failpoint;
use super::history::{self, Counts, Execution, ItemError, bigint};
use super::interruption::{Interruption, Signals, StopSignal};
use super::job::Items;
use super::verdict;
use crate::config::SkipLimit;

/// How many different item errors a failure message quotes.
const QUOTED_ERRORS: usize = 5;
/// The most pieces of advice about failed items in one message.
const MAX_HINTS: usize = 3;
/// The class of an item whose results are not final. Nothing is gained by trying it again soon.
const PROVISIONAL: &str = "PROVISIONAL";

/// One attempt at an instance, handed to the job.
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub struct Run<'a> {
    /// The context.
    pub cx: &'a Context,
    /// The run's connection. Writes go through [`Run::chunk`].
    pub db: &'a mut Db,
    execution: &'a Execution,
    signals: &'a Signals,
    scenario: Scenario,
    discards_checkpoint: bool,
    counts: Counts,
    /// Items that were given up on with another one, which is the one that counts; less those that failed and are not
    /// what the job counts.
    left_out: i64,
    /// The counts of the last commit.
    committed: Counts,
    committed_left_out: i64,
    /// Items that are done, with results that are not final.
    provisional: u64,
    /// Whether anything was committed, by this attempt or those that it continues.
    has_committed: bool,
    has_checkpoint: bool,
    pending_errors: Vec<ItemError>,
    noted_items: Vec<String>,
    quoted_errors: Vec<QuotedError>,
    /// What to do about the failed items, each advice once.
    hints: Vec<String>,
    /// When repeating them helps.
    retry_once: Option<String>,
    summary: Vec<String>,
    left_behind: Option<String>,
    leaves_failures_open: bool,
    redactor: Redactor,
    progress: Progress,
}

/// An error of one or more items, of which the first is named.
struct QuotedError {
    item_key: String,
    message: String,
    more_items: u64,
}

impl QuotedError {
    /// The line of a failure message: `orders.csv:2 and 57 more: …`.
    fn line(self) -> String {
        let Self { item_key, message, more_items } = self;
        match more_items {
            0 => format!("{item_key}: {message}"),
            more => format!("{item_key} and {more} more: {message}"),
        }
    }
}

/// What a run writes with each chunk: the item errors so far, its counts, and that it still owns its instance.
struct Confirmation<'r> {
    cx: &'r Context,
    execution: &'r Execution,
    counts: Counts,
    /// They stay with the run until the commit: the deadline may drop its future at any await.
    errors: &'r [ItemError],
}

impl Confirmation<'_> {
    async fn write(&self, db: &mut Db, checkpoint: Option<String>, written: u64) -> anyhow::Result<()> {
        let Self { cx, execution, counts, errors } = self;
        history::insert_errors(db, execution.id, errors, cx.now()).await?;
        failpoint::reach(&cx.config, "in-chunk");
        // Last, so that the row is locked only for the moment of the commit: the heartbeat writes it too.
        let server_time = db.server_time().await?;
        let owned = db
            .execute(
                "UPDATE batch_execution
                 SET checkpoint = COALESCE($1, checkpoint), items_read = $2, items_written = $3,
                     items_skipped = $4, items_failed = $5, heartbeat_at = $6, lease_expires_at = $7
                 WHERE id = $8 AND epoch = $9 AND status = 'RUNNING'",
                values![
                    checkpoint,
                    bigint(counts.read),
                    bigint(counts.written + written),
                    bigint(counts.skipped),
                    bigint(counts.failed),
                    server_time,
                    server_time + cx.config.lease().lease(),
                    execution.id,
                    execution.epoch,
                ],
            )
            .await?;
        anyhow::ensure!(owned == 1, Interruption::LeaseLost);
        failpoint::reach(&cx.config, "at-commit");
        Ok(())
    }
}

/// What a run is to do, and under which conditions.
pub(super) struct Scenario {
    /// How many items may be given up on, if set by the flag or the configuration.
    pub(super) skip_limit: Option<SkipLimit>,
    /// The items that are to be run again; `None` for all.
    pub(super) retry_items: Option<BTreeSet<String>>,
    /// The instance is complete except for what has become due since.
    pub(super) only_due: bool,
    /// Somebody asked for all of it again, even if it was complete.
    pub(super) is_again: bool,
    /// Whether the run may do just what an earlier one left: nobody asked for everything, or for certain items.
    pub(super) does_what_was_left: bool,
    /// How long the run may take.
    pub(super) deadline: Duration,
    /// The label of the run's bar, where several are shown at once.
    pub(super) progress_label: Option<String>,
}

/// What remains to be written at a run's end.
pub(super) struct Leftovers {
    /// The item errors that no chunk has written.
    pub(super) errors: Vec<ItemError>,
    /// The items that the run was limited to; `None` if it did all.
    pub(super) retry_items: Option<BTreeSet<String>>,
    /// The items that an earlier run gave up on and this one skipped silently: they are still open.
    pub(super) still_open: Vec<String>,
    /// What the job reports about its success.
    pub(super) summary: Vec<String>,
    /// The first different item errors, for the failure message.
    pub(super) quoted: Vec<String>,
    /// What to do about the failed items, each advice once.
    pub(super) hints: Vec<String>,
    /// When repeating them helps.
    pub(super) retry_once: Option<String>,
    /// What is there although the run did not succeed, in words.
    pub(super) left_behind: String,
    /// Whether its success says nothing about earlier failures.
    pub(super) leaves_failures_open: bool,
    /// For a run whose work was cut short: what is known of its last commit.
    pub(super) last_commit: Option<LastCommit>,
}

/// What a run that was cut short knows of its last commit. The one after it may have been on its way.
pub(super) struct LastCommit {
    /// The counts.
    counts: Counts,
    /// How many items it had left out with others.
    left_out: i64,
    /// The same after the commit that was on its way, if there was one.
    next_left_out: i64,
}

impl LastCommit {
    /// What is stored, in the words of the job, if these are the counts of the run's row.
    pub(super) fn left_behind(&self, items: &Items, stored: Counts) -> String {
        let left_out = if stored == self.counts { self.left_out } else { self.next_left_out };
        items.left_behind(stored, left_out, true, false)
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(
        cx: &'a Context,
        db: &'a mut Db,
        execution: &'a Execution,
        signals: &'a Signals,
        scenario: Scenario,
    ) -> Self {
        let count = |items: i64| u64::try_from(items).unwrap_or(0);
        let counts = Counts {
            read: count(execution.items_read),
            written: count(execution.items_written),
            skipped: count(execution.items_skipped),
            failed: count(execution.items_failed),
        };
        Self {
            cx,
            db,
            execution,
            signals,
            scenario,
            discards_checkpoint: false,
            counts,
            left_out: 0,
            provisional: 0,
            committed: counts,
            committed_left_out: 0,
            has_committed: counts != Counts::default(),
            has_checkpoint: execution.checkpoint.is_some(),
            pending_errors: Vec::new(),
            noted_items: Vec::new(),
            quoted_errors: Vec::new(),
            hints: Vec::new(),
            retry_once: None,
            summary: Vec::new(),
            left_behind: None,
            leaves_failures_open: false,
            redactor: cx.config.redactor(),
            progress: Progress::hidden(),
        }
    }

    /// The run's id, for rows that record who wrote them.
    pub fn id(&self) -> i64 {
        self.execution.id
    }

    /// The key of its instance.
    pub fn instance_key(&self) -> &str {
        &self.execution.instance_key
    }

    /// Where an earlier attempt's last committed chunk ended. `None` on a fresh start.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> anyhow::Result<Option<T>> {
        match &self.execution.checkpoint {
            Some(text) => Ok(Some(serde_json::from_str(text).map_err(|error| {
                Failure::failed(format!("failed to read the checkpoint of an earlier run: {error}"))
                    .hint("start over with --rerun")
            })?)),
            None => Ok(None),
        }
    }

    /// The run that this one repeats, if it is a retry.
    pub fn retried(&self) -> Option<i64> {
        self.execution.retry_of
    }

    /// The items that this run is to repeat; `None` if it is to do all.
    pub fn retry_items(&self) -> Option<&BTreeSet<String>> {
        self.scenario.retry_items.as_ref()
    }

    /// Whether an item is to be done: all are, or only those that failed before.
    pub fn is_wanted(&self, item_key: &str) -> bool {
        self.scenario.retry_items.as_ref().is_none_or(|items| items.contains(item_key))
    }

    /// Whether the instance was complete except for what has become due since (see [`super::Freshness::Due`]): the
    /// rest need not be repeated.
    pub fn only_due(&self) -> bool {
        self.scenario.only_due
    }

    /// Whether the run retries another one, and nobody asked for all of it again.
    pub fn is_plain_retry(&self) -> bool {
        self.execution.retry_of.is_some() && !self.scenario.is_again
    }

    /// Whether somebody asked for all of it again.
    pub fn is_asked_again(&self) -> bool {
        self.scenario.is_again
    }

    /// What the last run of the instance left, if it did all but some items: that run, and those items.
    pub async fn left_by_partial_run(&mut self) -> anyhow::Result<Option<(Execution, BTreeSet<String>)>> {
        if !self.scenario.does_what_was_left || self.has_checkpoint {
            return Ok(None);
        }
        let Some(last) = history::attempt_before(self.db, self.execution).await? else { return Ok(None) };
        let items = history::items_to_retry(self.db, last.id).await?;
        Ok(items.map(|items| (last, items)))
    }

    /// If this run fails, the next attempt starts over instead of resuming at the checkpoint: the cause may lie before
    /// it.
    pub fn discard_checkpoint_on_failure(&mut self) {
        self.discards_checkpoint = true;
    }

    pub(super) fn discards_checkpoint(&self) -> bool {
        self.discards_checkpoint
    }

    /// How long the whole run may take.
    pub fn deadline(&self) -> Duration {
        self.scenario.deadline
    }

    /// The limit on items given up on: the flag's or the configuration's, otherwise the job's own.
    pub fn skip_limit(&self, default: SkipLimit) -> SkipLimit {
        self.scenario.skip_limit.unwrap_or(default)
    }

    /// Whether somebody watches the run's progress: then its total is worth a separate call.
    pub fn is_watched(&self) -> bool {
        self.cx.output.is_watched()
    }

    /// Shows progress towards `total` items, where somebody watches.
    pub fn show_progress(&mut self, total: Option<u64>) {
        self.show_progress_after(0, total);
    }

    /// Shows progress of a run that resumes after an earlier one did `done` of `total` items; the rate and the time
    /// left are this run's own.
    pub fn show_progress_after(&mut self, done: u64, total: Option<u64>) {
        // The old bar leaves its line first.
        self.progress = Progress::hidden();
        self.progress = self.cx.output.progress(self.scenario.progress_label.as_deref(), done, total);
    }

    /// Counts items read.
    pub fn read(&mut self, items: u64) {
        self.counts.read += items;
        self.progress.advance(items);
    }

    /// Counts items written.
    pub fn written(&mut self, items: u64) {
        self.counts.written += items;
    }

    /// What the run has counted so far, including the earlier attempts that it continues.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The counts for the run's end. A resumed run reads again what was read for a chunk that was never committed.
    pub(super) fn counts_at_end(&self, is_work_done: bool) -> Counts {
        let is_read_again = !is_work_done && self.has_checkpoint;
        Counts { read: if is_read_again { self.committed.read } else { self.counts.read }, ..self.counts }
    }

    /// Starts over: the counts of earlier attempts are discarded.
    pub async fn start_over(&mut self) -> anyhow::Result<()> {
        self.counts = Counts::default();
        self.left_out = 0;
        let (id, now) = (self.id(), self.cx.now());
        // What is still bad will be found again.
        self.chunk(None::<&str>, async |db| Ok(history::resolve_errors_of(db, id, now).await?)).await?;
        Ok(())
    }

    /// Adds a sentence to the summary at the end.
    pub fn summarise(&mut self, sentence: String) {
        self.summary.push(sentence);
    }

    /// Says what is there if the run does not succeed, for a job whose items end in more ways than done and not done.
    pub fn leaves(&mut self, sentence: String) {
        self.left_behind = Some(sentence);
    }

    /// Notes that what failed before still waits and could not be tried: if the run completes, earlier failures of the job stay
    /// open, and nobody is told that it has recovered.
    pub fn leave_failures_open(&mut self) {
        self.leaves_failures_open = true;
    }

    /// Gives up on an item because of its data. The row is written with the next chunk.
    pub fn skip_item(&mut self, item_key: &str, phase: &str, class: &str, message: &str) {
        self.counts.skipped += 1;
        self.note_error(item_key, phase, "SKIPPED", class, message);
    }

    /// Gives up on items for a reason that persists until somebody fixes it, given as keys and messages: only the
    /// first run reports it. Later ones skip silently what is open in the history of the job's other instances, unless
    /// they retry a run.
    pub async fn skip_items_once(
        &mut self,
        items: &[(String, String)],
        phase: &str,
        class: &str,
    ) -> anyhow::Result<()> {
        let noted = if items.is_empty() || self.execution.retry_of.is_some() {
            Vec::new()
        } else {
            let keys: Vec<&str> = items.iter().map(|(key, _)| key.as_str()).collect();
            history::noted_items(self.db, self.execution, phase, &keys).await?
        };
        for (key, message) in items {
            if noted.contains(key) {
                self.noted_items.push(key.clone());
            } else {
                self.skip_item(key, phase, class, message);
            }
        }
        Ok(())
    }

    /// Counts further items that were given up on and share another item's row.
    pub fn skip_more(&mut self, items: u64) {
        self.counts.skipped += items;
    }

    /// Notes items that have no fault of their own, but cannot be done without another one that was given up on.
    pub fn leave_out(&mut self, items: u64) {
        self.left_out += i64::try_from(items).unwrap_or(i64::MAX);
    }

    /// Notes that something failed which is not one of the items that the job counts: a part of a list, of which all that
    /// was read is stored.
    pub fn fail_part(&mut self, key: &str, phase: &str, error: &anyhow::Error) {
        self.fail_item(key, phase, error);
        self.left_out -= 1;
    }

    /// Notes that an item is done, but that its results are not final, for a reason that is not the item's: the run is
    /// partial, and the item is not finished until another run says otherwise.
    pub fn note_provisional(&mut self, item_key: &str, phase: &str, reason: &Failure) {
        self.provisional += 1;
        self.skip_item(item_key, phase, PROVISIONAL, &reason.message);
        self.advise(reason.hint.as_deref());
    }

    /// How many items are done with results that are not final.
    pub(super) fn provisional(&self) -> u64 {
        self.provisional
    }

    /// Notes that so many of the failures that an earlier attempt counted were those of parts.
    pub fn failed_parts_before(&mut self, parts: u64) {
        self.left_out -= i64::try_from(parts).unwrap_or(i64::MAX);
    }

    /// Notes that an item failed; the others go on. The row is written with the next chunk.
    pub fn fail_item(&mut self, item_key: &str, phase: &str, error: &anyhow::Error) {
        self.counts.failed += 1;
        self.advise(verdict::hint(error));
        if self.retry_once.is_none() {
            self.retry_once = verdict::retry_once(error).map(str::to_owned);
        }
        self.note_error(item_key, phase, "FAILED", ExitCode::of(error).class(), &one_line(error));
    }

    /// Notes what to do about an item, each advice once.
    fn advise(&mut self, hint: Option<&str>) {
        if let Some(hint) = hint.map(|hint| self.redactor.redact(hint))
            && self.hints.len() < MAX_HINTS
            && !self.hints.contains(&hint)
        {
            self.hints.push(hint);
        }
    }

    fn note_error(&mut self, item_key: &str, phase: &str, kind: &str, class: &str, message: &str) {
        // PostgreSQL has no NUL in a text; quoted data may.
        let kept = |text: &str| {
            let text = self.redactor.redact(text).replace('\0', "␀");
            shortened(&text, MAX_ERROR_CHARACTERS).into_owned()
        };
        let (item_key, message) = (kept(item_key), kept(message));
        // Five lines that say the same tell less than one with its count.
        if let Some(quoted) = self.quoted_errors.iter_mut().find(|quoted| quoted.message == message) {
            quoted.more_items += 1;
        } else if self.quoted_errors.len() < QUOTED_ERRORS {
            self.quoted_errors.push(QuotedError {
                item_key: item_key.clone(),
                message: message.clone(),
                more_items: 0,
            });
        }
        self.pending_errors.push(ItemError {
            item_key,
            phase: phase.to_owned(),
            kind: kind.to_owned(),
            error_class: class.to_owned(),
            message,
        });
    }

    /// Ends the run if it was asked to stop. For use between two steps that commit nothing.
    pub fn check_stop(&self) -> Result<(), Interruption> {
        self.signals.heard().map_or(Ok(()), |signal| Err(Interruption::Stopped(signal)))
    }

    /// Waits until the run is asked to stop, for work in a separate process.
    pub async fn stop_requested(&self) -> StopSignal {
        self.signals.clone().wait().await
    }

    /// Commits one chunk: what `work` writes, the checkpoint after it, the item errors so far and the check that this
    /// run still owns its instance, all in one transaction. Afterwards ends the run if it was asked to stop.
    pub async fn chunk<T>(
        &mut self,
        checkpoint: Option<&(impl Serialize + ?Sized)>,
        work: impl AsyncFnOnce(&mut Db) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.chunk_writing(checkpoint, async |db| Ok((work(db).await?, 0))).await
    }

    /// The same for work that returns how many items it has written: they count with its own commit, so that a run
    /// that resumes there includes them.
    pub async fn chunk_writing<T>(
        &mut self,
        checkpoint: Option<&(impl Serialize + ?Sized)>,
        work: impl AsyncFnOnce(&mut Db) -> anyhow::Result<(T, u64)>,
    ) -> anyhow::Result<T> {
        let checkpoint = checkpoint.map(serde_json::to_string).transpose()?;
        self.chunk_ending(async |db| {
            let (result, written) = work(db).await?;
            Ok((result, written, checkpoint))
        })
        .await
    }

    /// The same for work that knows only at its end what its checkpoint holds, which it returns as JSON.
    pub async fn chunk_ending<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Db) -> anyhow::Result<(T, u64, Option<String>)>,
    ) -> anyhow::Result<T> {
        self.check_stop()?;
        let confirmation = Confirmation {
            cx: self.cx,
            execution: self.execution,
            counts: self.counts,
            errors: &self.pending_errors,
        };
        let result = self
            .db
            .transaction(async |db| {
                let (result, written, checkpoint) = work(db).await?;
                let has_checkpoint = checkpoint.is_some();
                confirmation.write(db, checkpoint, written).await?;
                Ok((result, written, has_checkpoint))
            })
            .await;
        self.after_chunk(result)
    }

    /// A chunk of which all statements see the database as it was at one moment, without a checkpoint: for figures that
    /// are added up by several of them. If others write the same rows meanwhile, `work` starts over.
    pub async fn chunk_on_snapshot<T>(
        &mut self,
        work: impl AsyncFn(&mut Db) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.check_stop()?;
        // The heartbeat writes the run's row all the time, so that it cannot be written on the snapshot.
        let mut other = match self.db.kind() {
            Kind::Sqlite => None,
            Kind::Postgres => Some(super::open_connection(self.cx, self.execution.id).await?),
        };
        let confirmation = Confirmation {
            cx: self.cx,
            execution: self.execution,
            counts: self.counts,
            errors: &self.pending_errors,
        };
        let confirm = async |db: &mut Db| confirmation.write(db, None, 0).await;
        let result = self.db.transaction_on_snapshot(other.as_mut(), work, confirm).await;
        if let Some(other) = other {
            other.close().await;
        }
        self.after_chunk(result.map(|result| (result, 0, false)))
    }

    /// Notes what a chunk has committed: its result, how many items it has written and whether it has a checkpoint.
    fn after_chunk<T>(&mut self, result: anyhow::Result<(T, u64, bool)>) -> anyhow::Result<T> {
        if let Ok((_, written, has_checkpoint)) = &result {
            self.pending_errors.clear();
            self.counts.written += written;
            self.committed = self.counts;
            self.committed_left_out = self.left_out;
            self.has_committed = true;
            self.has_checkpoint |= has_checkpoint;
        }
        failpoint::reach(&self.cx.config, "after-chunk");
        let (result, ..) = result?;
        self.check_stop()?;
        Ok(result)
    }

    /// What remains to be written at the run's end, and what is there already, in the words of the job.
    pub(super) fn into_leftovers(self, items: &Items, is_work_done: bool) -> Leftovers {
        // What is provisional is there.
        let there =
            |counts: Counts| Counts { skipped: counts.skipped.saturating_sub(self.provisional), ..counts };
        let (counts, left_out) = match (is_work_done, self.has_committed) {
            (true, _) | (_, false) => (self.counts, self.left_out),
            (false, true) => {
                (Counts { written: self.counts.written, ..self.committed }, self.committed_left_out)
            }
        };
        Leftovers {
            left_behind: self.left_behind.unwrap_or_else(|| {
                items.left_behind(there(counts), left_out, self.has_committed, is_work_done)
            }),
            last_commit: (!is_work_done).then_some(LastCommit {
                counts: Counts { written: self.counts.written, ..self.committed },
                left_out: self.committed_left_out,
                next_left_out: self.left_out,
            }),
            errors: self.pending_errors,
            leaves_failures_open: self.leaves_failures_open,
            retry_items: self.scenario.retry_items,
            still_open: self.noted_items,
            summary: self.summary,
            quoted: self.quoted_errors.into_iter().map(QuotedError::line).collect(),
            hints: self.hints,
            retry_once: self.retry_once,
        }
    }
}
