//! A file, how it is read, and which of its lines.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::failure::Failure;
use crate::shop::arrivals::files::FileDays;

use super::arrival::Arriving;
use super::checkpoint::Checkpoint;
use super::feed::{Feed, Pass, ReadPlan};
use super::kind::{FileKind, Noted};
use super::layout::Layout;
use super::reader::Source;

/// A file, how it is read, and which lines to process.
pub(super) struct ImportedFile {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) layout: Arc<Layout>,
    pub(super) wanted: Option<Arc<HashSet<u64>>>,
    /// The beginning of the hash of the instance's content.
    pub(super) short_hash: String,
    /// See [`Checkpoint::origin`].
    pub(super) origin: String,
    /// When it was exported.
    pub(super) exported: DateTime<Utc>,
    pub(super) interpretation: String,
    /// See [`Checkpoint::noted`].
    pub(super) noted: Option<String>,
    /// The same of the last import of its kind, mall and section.
    pub(super) noted_before: Option<String>,
    /// Since when other parts of the same export were imported, if there are any.
    pub(super) other_parts_since: Option<DateTime<Utc>>,
    /// What tells which days have come with it.
    pub(super) arriving: Option<Arriving>,
    pub(super) chunk_lines: u64,
}

impl ImportedFile {
    /// The checkpoint after so many lines.
    pub(super) fn checkpoint(&self, lines: u64, left_out: u64, split: Noted, days: FileDays) -> Checkpoint {
        Checkpoint {
            lines,
            left_out,
            interpretation: self.interpretation.clone(),
            exported: Some(self.exported),
            dates_records: !self.layout.records_changes(),
            origin: Some(self.origin.clone()),
            noted: self.noted.clone(),
            split,
            days,
        }
    }

    pub(super) fn feed<K: FileKind>(&self, pass: Pass, db: &Db) -> Feed<K::Rows> {
        let plan = ReadPlan {
            pass,
            wanted: self.wanted.clone(),
            chunk_lines: self.chunk_lines,
            database: db.kind(),
        };
        Feed::start::<K>(&self.source, &self.layout, plan)
    }

    pub(super) fn item_key(&self, line: u64) -> String {
        format!("{}:{line}", self.name)
    }

    /// Refuses a content other than that of the run's instance.
    pub(super) fn refuse_other_content(&self, hash: &str, advice: &str) -> Result<(), Failure> {
        if hash.starts_with(&self.short_hash) {
            return Ok(());
        }
        Err(Failure::bad_input(format!("`{}` changed while it was read", self.source.path().display()))
            .hint(advice))
    }
}
