//! The first pass: reads the whole file as the load will, and writes nothing.

use std::collections::BTreeMap;

use crate::config::SkipLimit;
use crate::db::Db;
use crate::failure::Failure;
use crate::runner::Run;

use super::bad_lines::{BadLines, SHOWN_BAD_LINES};
use super::feed::{Feed, FeedMessage, Pass, duplicate_problem};
use super::imported_file::ImportedFile;
use super::kind::{BadLine, FileKind, LeftOut, Notes, Rows};

/// What the first pass found.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) lines: u64,
    pub(super) bad: BadLines,
    pub(super) duplicates: BTreeMap<u64, u64>,
    pub(super) notes: Notes,
}

/// A first pass: reads the whole file as the load will, and writes nothing.
pub(super) struct Checking<K: FileKind> {
    pub(super) feed: Feed<K::Rows>,
    pub(super) checked: Checked,
}

impl<K: FileKind> Checking<K> {
    pub(super) fn start(file: &ImportedFile, db: &Db) -> Self {
        Self { feed: file.feed::<K>(Pass::Check, db), checked: Checked::default() }
    }

    /// Takes the next chunk; false at the end.
    pub(super) async fn advance(&mut self, file: &ImportedFile, db: &mut Db) -> anyhow::Result<bool> {
        let checked = &mut self.checked;
        match self.feed.next().await? {
            FeedMessage::Chunk(mut chunk) => {
                checked.lines += chunk.lines;
                checked.notes.append(chunk.notes);
                checked.bad.note(chunk.bad);
                checked.notes.append(left_out_sales::<K>(db, &chunk.left_out_records).await?);
                if K::LOOKS_UP {
                    chunk.rows.stage(db).await?;
                    checked.bad.note(K::look_up(db).await?);
                }
                Ok(true)
            }
            FeedMessage::End(end) => {
                file.refuse_other_content(
                    &end.hash,
                    "nothing was imported; run the command again once the file is complete",
                )?;
                let is_wanted = |line: &u64| file.wanted.as_ref().is_none_or(|wanted| wanted.contains(line));
                let twice = end
                    .duplicates
                    .iter()
                    .filter(|(line, _)| is_wanted(line))
                    .map(|(line, other)| BadLine::new(*line, duplicate_problem::<K>(*other)));
                checked.bad.note(twice.collect());
                if end.more_duplicates > 0 {
                    return Err(
                        too_many_duplicates::<K>(file, end.duplicates.len() + end.more_duplicates).into()
                    );
                }
                checked.duplicates = end.duplicates;
                Ok(false)
            }
        }
    }
}

/// Notes which of the records that are left out were stored earlier: they stay as they are.
pub(super) async fn left_out_sales<K: FileKind>(db: &mut Db, left_out: &[LeftOut]) -> anyhow::Result<Notes> {
    let mut notes = Notes::default();
    if !left_out.is_empty() {
        for stored in K::stored_of(db, left_out).await? {
            let example = || format!("line {}, {} {}", stored.line, K::NOUNS.0, stored.key);
            notes.left_out_sales.add(&stored.currency, stored.amount, example);
        }
    }
    Ok(notes)
}

/// Reads the whole file of a run as its load will, and writes nothing.
pub(super) async fn check_all<K: FileKind>(
    run: &mut Run<'_>,
    file: &ImportedFile,
) -> anyhow::Result<Checked> {
    let mut checking = Checking::<K>::start(file, run.db);
    loop {
        run.check_stop()?;
        if !checking.advance(file, run.db).await? {
            return Ok(checking.checked);
        }
    }
}

pub(super) fn too_many_duplicates<K: FileKind>(file: &ImportedFile, lines: usize) -> Failure {
    Failure::bad_input(format!(
        "failed to read `{}`: {lines} {} occur more than once; nothing was imported",
        file.source.path().display(),
        K::NOUNS.1
    ))
    .hint(if K::MAX_LINES > 1 {
        format!(
            "the lines of each {0} have to be consecutive: sort the file by `{1}`, and delete each {0} that is there twice",
            K::NOUNS.0,
            K::columns()[1].name
        )
    } else {
        "is this a file of another kind?".to_owned()
    })
}

/// Fails the run if more lines are bad than may be skipped, with the bad ones as its item errors.
pub(super) fn refuse_too_many_bad_lines(
    run: &mut Run<'_>,
    file: &ImportedFile,
    checked: &Checked,
) -> anyhow::Result<()> {
    if file.wanted.is_some() {
        // The run that is retried was allowed to skip these lines; those that are good now are loaded.
        return Ok(());
    }
    let limit = run.skip_limit(SkipLimit::Count(0));
    if !limit.is_exceeded(checked.bad.count(), checked.lines) {
        return Ok(());
    }
    run.read(checked.lines);
    let shown = checked.bad.first(SHOWN_BAD_LINES);
    for bad in shown {
        run.skip_item(&file.item_key(bad.line), "check", "BAD_INPUT", &bad.text());
    }
    note_more_bad_lines(run, file, "check", &checked.bad, shown.len());
    let advice = format!("more than the skip limit of {limit}; nothing was imported");
    let failure = checked.bad.failure(&advice, checked.lines);
    let hint = format!("{}; --check shows all that is wrong", failure.hint.as_deref().unwrap_or_default());
    Err(failure.hint(hint).into())
}

/// A row for each kind of problem represents the bad lines beyond those that have their own rows.
pub(super) fn note_more_bad_lines(
    run: &mut Run<'_>,
    file: &ImportedFile,
    phase: &str,
    bad: &BadLines,
    shown: usize,
) {
    let more = bad.count() - shown as u64;
    if more == 0 {
        return;
    }
    let kinds = bad.kinds_in_words(usize::try_from(more).unwrap_or(usize::MAX));
    run.skip_more(more - kinds.len() as u64);
    for kind in kinds {
        run.skip_item(&file.name, phase, "BAD_INPUT", &kind);
    }
}
