//! Reads a file on a separate thread, a chunk ahead of the database.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::db::Kind as DbKind;
use crate::failure::Failure;

use super::duplicates::Duplicates;
use super::kind::{BadLine, FileKind, LeftOut, Notes, Rows};
use super::layout::Layout;
use super::reader::{Record, Source};

/// Chunks that wait while the database works on another: one is enough to overlap, and limits memory.
const WAITING_CHUNKS: usize = 1;

/// A chunk is also full at this many bytes, however few lines it has: a line may contain long texts.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// What a pass through the file is for.
#[derive(Debug, Clone)]
pub(super) enum Pass {
    /// Finds the bad lines; nothing is written.
    Check,
    /// Turns the good ones into rows.
    Load {
        /// Lines of duplicate records, with the other line.
        duplicates: BTreeMap<u64, u64>,
        /// Lines that an earlier attempt committed.
        done_lines: u64,
    },
}

/// How to read the file.
#[derive(Debug, Clone)]
pub(super) struct ReadPlan {
    /// The purpose of this pass.
    pub(super) pass: Pass,
    /// The lines that failed before, if only they are to be processed.
    pub(super) wanted: Option<Arc<HashSet<u64>>>,
    /// Lines per chunk; the last record's lines may exceed it.
    pub(super) chunk_lines: u64,
    /// The database that the rows are for.
    pub(super) database: DbKind,
}

/// The result of a chunk of lines.
pub(super) struct Chunk<R> {
    /// The number of lines, good and bad.
    pub(super) lines: u64,
    /// The lines of the file up to and including this chunk: where a later attempt continues.
    pub(super) lines_so_far: u64,
    /// The rows of the good ones.
    pub(super) rows: R,
    /// The bad ones.
    pub(super) bad: Vec<BadLine>,
    /// The number of good ones that are left out, because another line of their record is bad or by a rule.
    pub(super) left_out: u64,
    /// The records that a rule leaves out as a whole; only of a check.
    pub(super) left_out_records: Vec<LeftOut>,
    /// What is worth knowing about the good ones.
    pub(super) notes: Notes,
}

/// What is known at the end of the file.
pub(super) struct End {
    /// The SHA-256 of what was read.
    pub(super) hash: String,
    /// Lines whose record is also on another line, with that line; only after a check.
    pub(super) duplicates: BTreeMap<u64, u64>,
    /// Further such lines.
    pub(super) more_duplicates: usize,
}

/// A message from the thread.
pub(super) enum FeedMessage<R> {
    /// A chunk.
    Chunk(Box<Chunk<R>>),
    /// The file's end.
    End(End),
}

/// A running pass over a file.
pub(super) struct Feed<R>(mpsc::Receiver<Result<FeedMessage<R>, Failure>>);

impl<R: Rows> Feed<R> {
    /// Starts to read.
    pub(super) fn start<K: FileKind<Rows = R>>(
        source: &Source,
        layout: &Arc<Layout>,
        plan: ReadPlan,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_CHUNKS);
        let (source, layout) = (source.clone(), Arc::clone(layout));
        tokio::task::spawn_blocking(move || {
            let mut pass = PassState::<K> {
                layout: &layout,
                chunk: empty_chunk(&plan, 0),
                plan: &plan,
                sender: &sender,
                duplicates: Duplicates::default(),
            };
            let news = match pass.read_through(&source) {
                Ok(hash) => pass.end(hash).map(FeedMessage::End),
                Err(Interrupted::Fault(fault)) => Err(fault),
                // The receiver is gone: the run has ended.
                Err(Interrupted::Deserted) => return,
            };
            drop(sender.blocking_send(news));
        });
        Self(receiver)
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> anyhow::Result<FeedMessage<R>> {
        match self.0.recv().await {
            Some(news) => Ok(news?),
            None => anyhow::bail!("the thread that reads the file ended early"),
        }
    }
}

/// Why a pass ends early.
enum Interrupted {
    Fault(Failure),
    Deserted,
}

impl From<Failure> for Interrupted {
    fn from(fault: Failure) -> Self {
        Self::Fault(fault)
    }
}

struct PassState<'p, K: FileKind> {
    layout: &'p Layout,
    plan: &'p ReadPlan,
    sender: &'p mpsc::Sender<Result<FeedMessage<K::Rows>, Failure>>,
    duplicates: Duplicates,
    chunk: Chunk<K::Rows>,
}

fn empty_chunk<R: Rows>(plan: &ReadPlan, lines_so_far: u64) -> Chunk<R> {
    Chunk {
        lines: 0,
        lines_so_far,
        rows: R::none(plan.database),
        bad: Vec::new(),
        left_out: 0,
        left_out_records: Vec::new(),
        notes: Notes::default(),
    }
}

impl<K: FileKind> PassState<'_, K> {
    /// Reads the file to its end, record by record. Returns its hash.
    fn read_through(&mut self, source: &Source) -> Result<String, Interrupted> {
        let (mut reader, _) = source.open()?;
        let done_lines = match self.plan.pass {
            Pass::Check => 0,
            Pass::Load { done_lines, .. } => done_lines,
        };
        let mut line = Record::default();
        for _ in 0..done_lines {
            if !reader.next_record(&mut line)? {
                break;
            }
        }
        self.chunk.lines_so_far = done_lines;
        // The lines of a record. The buffers are reused.
        let mut record: Vec<Record> = Vec::new();
        let mut length = 0;
        while reader.next_record(&mut line)? {
            if !self.derive(&mut line, &record[..length]) {
                self.take(&mut record[..length])?;
                length = 0;
            }
            if length == K::MAX_LINES {
                return Err(Failure::bad_input(format!(
                    "failed to read `{}`: line {}: the {} has more than {} lines",
                    source.path().display(),
                    line.line(),
                    K::NOUNS.0,
                    K::MAX_LINES
                ))
                .into());
            }
            if length == record.len() {
                record.push(Record::default());
            }
            std::mem::swap(&mut record[length], &mut line);
            length += 1;
        }
        if length > 0 {
            self.take(&mut record[..length])?;
        }
        self.send()?;
        Ok(reader.into_hash())
    }

    /// Makes a line's derived fields, as one more of these lines of a record if it is one. Whether it is.
    fn derive(&self, line: &mut Record, before: &[Record]) -> bool {
        let layout = self.layout;
        let Some(first) = before.first() else {
            layout.derive(line, &[]);
            return true;
        };
        if !layout.looks_back() {
            layout.derive(line, &[]);
            return self.continues(first, line);
        }
        if layout.may_continue(first, line) {
            layout.derive(line, before);
            if self.continues(first, line) {
                return true;
            }
        }
        // On its own a line shows whose it is: what was filled from another record must not.
        layout.derive(line, &[]);
        if !self.continues(first, line) {
            return false;
        }
        // The same key, written in another way.
        layout.derive(line, before);
        true
    }

    /// Whether a line belongs to the same record as the one before.
    fn continues(&self, first: &Record, next: &Record) -> bool {
        if K::MAX_LINES == 1 {
            return false;
        }
        let (first, next) = (self.layout.fields(first), self.layout.fields(next));
        let key = K::key(&first);
        !key.0.is_empty() && key == K::key(&next) && first.mall_code() == next.mall_code()
    }

    /// Adds a record to the chunk, and sends the chunk if it is full.
    fn take(&mut self, record: &mut [Record]) -> Result<(), Interrupted> {
        let lines = record.len() as u64;
        self.chunk.lines_so_far += lines;
        let is_wanted = self
            .plan
            .wanted
            .as_ref()
            .is_none_or(|wanted| record.iter().any(|line| wanted.contains(&line.line())));
        let count = self.kept(record, is_wanted);
        let kept = &record[..count];
        match (&self.plan.pass, kept.first()) {
            (Pass::Check, Some(first)) => self.note_key(first)?,
            (Pass::Check, None) if is_wanted => self.note_left_out(&record[0]),
            _ => {}
        }
        if is_wanted {
            self.chunk.lines += lines;
            self.chunk.left_out += lines - kept.len() as u64;
            if !kept.is_empty() {
                self.read(kept);
            }
        }
        if self.chunk.lines >= self.plan.chunk_lines || self.chunk.rows.bytes() >= CHUNK_BYTES {
            self.send()?;
        }
        Ok(())
    }

    /// Moves the lines of a record that no rule leaves out to its beginning, in order; how many there are.
    fn kept(&mut self, record: &mut [Record], is_wanted: bool) -> usize {
        let rules = self.layout.skip_rules();
        if rules.is_empty() {
            return record.len();
        }
        let of_record =
            record.iter().filter_map(|line| line.skipped_by).find(|rule| rules[*rule].whole_record);
        let sets_last = |line: &Record| line.skipped_by.is_some_and(|rule| rules[rule].sets_last);
        if of_record.is_none() && record.iter().all(sets_last) {
            // An order all of whose items are cancelled is a cancelled order, and not one that never was.
            return record.len();
        }
        let mut kept = 0;
        for place in 0..record.len() {
            match of_record.or(record[place].skipped_by) {
                None => {
                    record.swap(kept, place);
                    kept += 1;
                }
                Some(rule) if is_wanted => *self.chunk.notes.left_out.entry(rule).or_default() += 1,
                Some(_) => {}
            }
        }
        kept
    }

    /// Notes a record that is left out as a whole, unless its mall or key is unknown.
    fn note_left_out(&mut self, first: &Record) {
        let fields = self.layout.fields(first);
        let key = K::key(&fields).0;
        if let Some(shop) = fields.shop().ok().filter(|_| !key.is_empty()) {
            let (line, mall_id, key) = (first.line(), shop.id, key.to_owned());
            self.chunk.left_out_records.push(LeftOut { line, mall_id, key });
        }
    }

    /// Reads the lines of a record.
    fn read(&mut self, record: &[Record]) {
        let first = record[0].line();
        let bad_before = self.chunk.bad.len();
        match &self.plan.pass {
            Pass::Load { duplicates, .. } if duplicates.contains_key(&first) => {
                let problem = duplicate_problem::<K>(duplicates[&first]);
                self.chunk.bad.push(BadLine::new(first, problem));
            }
            pass => {
                let is_staged = K::LOOKS_UP || matches!(pass, Pass::Load { .. });
                let rows = is_staged.then_some(&mut self.chunk.rows);
                let read = K::read(self.layout, record, rows, &mut self.chunk.notes);
                self.note_bad(read);
            }
        }
        match (self.chunk.bad.len() - bad_before) as u64 {
            0 => {}
            bad => self.chunk.left_out += record.len() as u64 - bad,
        }
    }

    fn note_bad(&mut self, read: Result<(), Vec<BadLine>>) {
        if let Err(bad) = read {
            self.chunk.bad.extend(bad);
        }
    }

    fn note_key(&mut self, record: &Record) -> Result<(), Interrupted> {
        let fields = self.layout.fields(record);
        let key = K::key(&fields);
        // A record without a key is already bad for that reason.
        if !key.0.is_empty() {
            let mut hasher = DefaultHasher::new();
            (fields.mall_code(), key).hash(&mut hasher);
            self.duplicates.note(hasher.finish(), record.line()).map_err(|error| temporary_file(&error))?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Interrupted> {
        let next = empty_chunk(self.plan, self.chunk.lines_so_far);
        let chunk = std::mem::replace(&mut self.chunk, next);
        self.sender.blocking_send(Ok(FeedMessage::Chunk(Box::new(chunk)))).map_err(|_| Interrupted::Deserted)
    }

    fn end(self, hash: String) -> Result<End, Failure> {
        let (duplicates, more_duplicates) =
            self.duplicates.found().map_err(|error| temporary_file(&error))?;
        Ok(End { hash, duplicates, more_duplicates })
    }
}

/// What is wrong with a duplicate record.
pub(super) fn duplicate_problem<K: FileKind>(other_line: u64) -> String {
    let advice = if K::MAX_LINES > 1 {
        ": its lines have to be consecutive; if it is there twice, delete one"
    } else {
        ""
    };
    format!("the same {} is also on line {other_line}{advice}", K::NOUNS.0)
}

fn temporary_file(error: &std::io::Error) -> Failure {
    let folder = std::env::temp_dir();
    let folder = folder.display();
    Failure::failed(format!(
        "failed to use a temporary file in `{folder}` for the keys of a large file: {error}"
    ))
    .hint("make room there, or set TMPDIR to another folder")
}
