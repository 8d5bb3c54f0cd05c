//! Reads a file on a thread of its own, a chunk ahead of the database.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::db::{Bulk, Kind as DbKind};
use crate::failure::Failure;

use super::duplicates::Duplicates;
use super::field::Layout;
use super::kind::{BadLine, FileKind, Rows};
use super::reader::{Record, Source};

/// Chunks that wait while the database works on another: one is enough to overlap, and bounds the memory.
const WAITING_CHUNKS: usize = 1;

/// A chunk is full with so many bytes too, however few lines they are: a line may hold long texts.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// What a pass through the file is for.
#[derive(Debug, Clone)]
pub(super) enum Pass {
    /// Finds the bad lines; nothing is written.
    Check,
    /// Makes rows of the good ones.
    Load {
        /// Lines of records that are twice in the file, with the other line.
        duplicates: BTreeMap<u64, u64>,
        /// Lines that an earlier attempt has committed.
        done_lines: u64,
    },
}

/// How to go through the file.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// What for.
    pub(super) pass: Pass,
    /// The lines that failed before, if only they are to be done.
    pub(super) wanted: Option<Arc<HashSet<u64>>>,
    /// Lines to a chunk; the last record's lines may come on top.
    pub(super) chunk_lines: u64,
    /// The database that the rows are for.
    pub(super) database: DbKind,
}

/// What comes of a chunk of lines.
pub(super) struct Chunk {
    /// The lines, good and bad ones.
    pub(super) lines: u64,
    /// The lines of the file up to and with this chunk: where a later attempt goes on.
    pub(super) lines_so_far: u64,
    /// The rows of the good ones.
    pub(super) rows: Rows,
    /// The bad ones.
    pub(super) bad: Vec<BadLine>,
}

/// What is known at the end of the file.
pub(super) struct End {
    /// The SHA-256 of what was read.
    pub(super) hash: String,
    /// Lines whose record is on another line too, with that line; after a check only.
    pub(super) duplicates: BTreeMap<u64, u64>,
    /// Further such lines.
    pub(super) more_duplicates: usize,
}

/// A piece of news from the thread.
pub(super) enum News {
    /// A chunk.
    Chunk(Chunk),
    /// The file's end.
    End(End),
}

/// A pass through a file in the making.
pub(super) struct Feed(mpsc::Receiver<Result<News, Failure>>);

impl Feed {
    /// Starts to read.
    pub(super) fn start<K: FileKind>(source: &Source, layout: &Arc<Layout>, order: Order) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_CHUNKS);
        let (source, layout) = (source.clone(), Arc::clone(layout));
        tokio::task::spawn_blocking(move || {
            let mut pass = PassThrough::<K> {
                layout: &layout,
                chunk: empty_chunk::<K>(&order, 0),
                order: &order,
                sender: &sender,
                duplicates: Duplicates::default(),
                kind: PhantomData,
            };
            let news = match pass.read_through(&source) {
                Ok(hash) => pass.end(hash).map(News::End),
                Err(Interrupted::Fault(fault)) => Err(fault),
                // Nobody listens any more: the run has ended.
                Err(Interrupted::Deserted) => return,
            };
            drop(sender.blocking_send(news));
        });
        Self(receiver)
    }

    /// The next piece of news.
    pub(super) async fn next(&mut self) -> anyhow::Result<News> {
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

struct PassThrough<'p, K> {
    layout: &'p Layout,
    order: &'p Order,
    sender: &'p mpsc::Sender<Result<News, Failure>>,
    duplicates: Duplicates,
    chunk: Chunk,
    kind: PhantomData<K>,
}

fn empty_chunk<K: FileKind>(order: &Order, lines_so_far: u64) -> Chunk {
    let loads = K::staging()
        .into_iter()
        .map(|(table, columns)| Bulk::for_database(order.database, table, columns))
        .collect();
    Chunk { lines: 0, lines_so_far, rows: Rows { loads, ordinal: 1 }, bad: Vec::new() }
}

impl<K: FileKind> PassThrough<'_, K> {
    /// Reads the file to its end, record by record. Gives its hash.
    fn read_through(&mut self, source: &Source) -> Result<String, Interrupted> {
        let (mut reader, _) = source.open()?;
        let done_lines = match self.order.pass {
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
        // The lines of a record. The buffers are kept from one to the next.
        let mut record: Vec<Record> = Vec::new();
        let mut length = 0;
        while reader.next_record(&mut line)? {
            if length > 0 && !self.continues(&record[0], &line) {
                self.take(&record[..length])?;
                length = 0;
            }
            if length == K::MOST_LINES {
                return Err(Failure::bad_input(format!(
                    "failed to read `{}`: line {}: the {} has more than {} lines",
                    source.path.display(),
                    line.line(),
                    K::NOUNS.0,
                    K::MOST_LINES
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
            self.take(&record[..length])?;
        }
        self.send()?;
        Ok(reader.into_hash())
    }

    /// Whether a line belongs to the same record as the one before.
    fn continues(&self, first: &Record, next: &Record) -> bool {
        if K::MOST_LINES == 1 {
            return false;
        }
        let (first, next) = (self.layout.fields(first), self.layout.fields(next));
        let key = K::key(&first);
        !key.0.is_empty() && key == K::key(&next) && first.mall_code() == next.mall_code()
    }

    /// Takes a record into the chunk, and sends the chunk if it is full.
    fn take(&mut self, record: &[Record]) -> Result<(), Interrupted> {
        let first = record[0].line();
        let lines = record.len() as u64;
        if let Pass::Check = self.order.pass {
            self.note_key(&record[0])?;
        }
        let is_wanted = self
            .order
            .wanted
            .as_ref()
            .is_none_or(|wanted| record.iter().any(|line| wanted.contains(&line.line())));
        self.chunk.lines_so_far += lines;
        if is_wanted {
            self.chunk.lines += lines;
            match &self.order.pass {
                Pass::Load { duplicates, .. } if duplicates.contains_key(&first) => {
                    let problem = duplicate_problem::<K>(duplicates[&first]);
                    self.chunk.bad.push(BadLine { line: first, problem });
                }
                Pass::Check if !K::LOOKS_UP => self.note_bad(K::read(self.layout, record, None)),
                Pass::Check | Pass::Load { .. } => {
                    let read = K::read(self.layout, record, Some(&mut self.chunk.rows));
                    self.note_bad(read);
                }
            }
        }
        let bytes: usize = self.chunk.rows.loads.iter().map(Bulk::bytes).sum();
        if self.chunk.lines >= self.order.chunk_lines || bytes >= CHUNK_BYTES {
            self.send()?;
        }
        Ok(())
    }

    fn note_bad(&mut self, read: Result<(), Vec<BadLine>>) {
        if let Err(bad) = read {
            self.chunk.bad.extend(bad);
        }
    }

    fn note_key(&mut self, record: &Record) -> Result<(), Interrupted> {
        let fields = self.layout.fields(record);
        let key = K::key(&fields);
        // A record without a key is bad for that reason already.
        if !key.0.is_empty() {
            let mut hasher = DefaultHasher::new();
            (fields.mall_code(), key).hash(&mut hasher);
            self.duplicates.note(hasher.finish(), record.line()).map_err(|error| temporary_file(&error))?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Interrupted> {
        let next = empty_chunk::<K>(self.order, self.chunk.lines_so_far);
        let chunk = std::mem::replace(&mut self.chunk, next);
        self.sender.blocking_send(Ok(News::Chunk(chunk))).map_err(|_| Interrupted::Deserted)
    }

    fn end(self, hash: String) -> Result<End, Failure> {
        let (duplicates, more_duplicates) =
            self.duplicates.found().map_err(|error| temporary_file(&error))?;
        Ok(End { hash, duplicates, more_duplicates })
    }
}

/// What is wrong with a record that is twice in its file.
pub(super) fn duplicate_problem<K: FileKind>(other_line: u64) -> String {
    let advice = if K::MOST_LINES > 1 { ": its lines have to be together" } else { "" };
    format!("the same {} is on line {other_line} too{advice}", K::NOUNS.0)
}

fn temporary_file(error: &std::io::Error) -> Failure {
    Failure::failed(format!("failed to use a temporary file for the keys of a large file: {error}"))
        .hint("make room in the folder of temporary files, or name another one in TMPDIR")
}
