//! `data import`: loads a shop's data from a CSV file: orders, members, products, refunds and the data of mails.
//!
//! For shops without an API. A first pass checks the whole file before anything is written; a second one loads it in
//! chunks. Stored records are replaced by their natural keys, so that loading the same file twice changes nothing, and
//! a run that was killed continues after its last chunk.

mod articles;
mod carts;
mod consents;
mod coupons;
#[cfg(test)]
mod database_tests;
mod duplicates;
mod feed;
mod field;
mod foreign;
mod kind;
mod kinds;
mod line;
mod mapping;
mod members;
mod orders;
mod products;
mod reader;
mod refunds;
mod subscriptions;
mod with_lines;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{ImportFile, SkipLimit};
use crate::context::Context;
use crate::db::{Db, Kind as DbKind};
use crate::digest::{FINGERPRINT_DIGITS, fingerprint};
use crate::failure::Failure;
use crate::runner::{Completed, Exclusion, Freshness, Items, Job, JobSpec, Planned, Run, history, minutes};
use crate::severity::Severity;
use crate::shop::malls::{self, all_malls, selected_malls};
use crate::shop::upsert::UpsertCounts;
use crate::text_encoding::TextEncoding;
use crate::wording::{command, counted, share};

use self::feed::{Feed, FeedMessage, Pass, ReadPlan, duplicate_problem};
use self::field::Layout;
use self::kind::{BadLine, FileKind, Rows};
use self::kinds::Kind;
use self::reader::{Source, content_hash};

pub use self::mapping::{check_kinds, mapping_problems};

/// Lines to a commit: large enough that the statements' own cost vanishes, small enough that three chunks (one
/// being read, one waiting, one in the database) stay within a few MiB and a stop takes effect within a second.
const CHUNK_LINES: u64 = 10_000;
/// Bad lines that are stored as rows. More of them are not informative, and somebody has to read each.
const KEPT_BAD_LINES: u64 = 5_000;

/// Arguments of `data import`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What the file contains
    #[arg(long, value_enum)]
    kind: Kind,
    /// The mall that all its lines belong to, by code or ID (default: the column `mall`, or the configuration)
    #[arg(long, value_name = "MALL")]
    mall: Option<String>,
    /// The encoding of the file (default: the configuration's, else utf-8)
    #[arg(long, value_enum)]
    encoding: Option<TextEncoding>,
    /// The delimiter between fields: one ASCII character, or `tab` (default: the configuration's, else a comma)
    #[arg(long, value_name = "CHARACTER", value_parser = parse_delimiter)]
    delimiter: Option<char>,
    /// Commit after this many lines
    #[arg(long, value_name = "LINES", default_value_t = CHUNK_LINES, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    chunk_size: u64,
    /// Accept a file with a header and no lines, as on a day on which nothing happened (default: the configuration's, else
    /// it is refused)
    #[arg(long)]
    allow_empty: bool,
    /// The file
    file: PathBuf,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "data import",
        summary: "Load a shop's orders, members, products and other data from a CSV file",
        details: "The whole file is checked before anything is written. Loading the same file twice changes nothing.",
        page: Some("docs/import.md"),
        schedule: None,
        deadline: minutes(120),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
        items: Items::new("line", "lines", "stored"),
    };

    type Unit = File;

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<File>>> {
        let mall = self.mall_code(db).await?;
        let mut hash = content_hash(&self.path(cx))?;
        hash.truncate(FINGERPRINT_DIGITS);
        let kind = self.kind.name();
        let key = format!("{kind} {} {hash}", mall.as_deref().unwrap_or("*"));
        let mut planned = Planned::new(key, File { short_hash: hash })
            .titled(format!("{kind} {}", self.path(cx).display()))
            // Two files of one kind may contain the same orders, in an older and a newer state.
            .exclusive_by(kind);
        if let Some(mall) = mall {
            planned = planned.with("mall", mall);
        }
        Ok(vec![planned])
    }

    async fn freshness(
        &self,
        cx: &Context,
        db: &mut Db,
        completed: &Completed<'_, File>,
    ) -> anyhow::Result<Freshness> {
        let checkpoint = completed.run.checkpoint.as_deref();
        let earlier = checkpoint.and_then(|checkpoint| serde_json::from_str::<Checkpoint>(checkpoint).ok());
        let mall = self.mall_of_file(cx, db).await?;
        let now = interpretation(&self.source(cx), mall.as_deref(), self.config(cx));
        // The same content has a different meaning under another mapping.
        Ok(match earlier {
            Some(earlier) if earlier.interpretation != now => {
                Freshness::Due("the mapping, the encoding or the mall has changed since".to_owned())
            }
            _ => Freshness::Current(None),
        })
    }

    async fn run(&self, run: &mut Run<'_>, file: &File) -> anyhow::Result<()> {
        self.kind.import(self, run, file).await
    }
}

impl Args {
    /// Checks the file, then loads it.
    async fn import<K: FileKind>(&self, run: &mut Run<'_>, file: &File) -> anyhow::Result<()> {
        let file = self.open::<K>(run, file).await?;
        prepare::<K>(run.db).await?;
        let checked = check::<K>(run, &file).await?;
        self.refuse_no_lines(run.cx, &file, &checked)?;
        refuse_too_many_bad_lines(run, &file, &checked)?;
        let loaded = load::<K>(run, &file, checked).await?;
        run.summarise(loaded.sentence::<K>());
        Ok(())
    }

    /// A header alone is far more often an export that failed than a day on which nothing happened.
    fn refuse_no_lines(&self, cx: &Context, file: &ImportedFile, checked: &Checked) -> Result<(), Failure> {
        // A retry reads only the lines that failed.
        if checked.lines > 0 || file.wanted.is_some() || self.allow_empty || self.config(cx).allow_empty {
            return Ok(());
        }
        let path = file.source.path.display();
        Err(Failure::bad_input(format!("`{path}` has a header and no lines; nothing was imported"))
            .hint(format!(
                "if nothing happened that day, add --allow-empty; if that is usual, set allow_empty = true in [import.{}]",
                self.kind.name()
            ))
            .retry_with("--allow-empty")
            .retry_once("if nothing happened that day"))
    }

    /// Finds the columns in the file's header, and which lines to process.
    async fn open<K: FileKind>(&self, run: &mut Run<'_>, file: &File) -> anyhow::Result<ImportedFile> {
        let config = self.config(run.cx);
        let source = self.source(run.cx);
        mapping::refuse_unknown_columns(config, self.kind)?;
        let mall = self.mall_of_file(run.cx, run.db).await?;
        let malls = all_malls(run.db).await?;
        if let Some(mall) = malls.iter().find(|one| Some(&one.code) == mall.as_ref()) {
            mall.time_zone()?;
        }
        let (_, header) = source.open()?;
        let file_name = source.path.display().to_string();
        let interpretation = interpretation(&source, mall.as_deref(), config);
        let layout = Layout::new(self.kind.name(), &file_name, &header, K::columns(), config, &malls, mall)?;
        Ok(ImportedFile {
            name: source.name(),
            wanted: wanted_lines(run, &source.name()).await?.map(Arc::new),
            source,
            layout: Arc::new(layout),
            short_hash: file.short_hash.clone(),
            interpretation,
            chunk_lines: self.chunk_size,
        })
    }

    fn config<'c>(&self, cx: &'c Context) -> &'c ImportFile {
        cx.config.import_file(self.kind.name())
    }

    fn path(&self, cx: &Context) -> PathBuf {
        cx.working_dir().join(&self.file)
    }

    fn source(&self, cx: &Context) -> Source {
        let config = self.config(cx);
        let delimiter = self.delimiter.or(config.delimiter).unwrap_or(',');
        Source {
            path: self.path(cx),
            encoding: self.encoding.unwrap_or(config.encoding),
            // Both the flag and the configuration accept only ASCII.
            delimiter: u8::try_from(delimiter).unwrap_or(b','),
        }
    }

    /// The code of the mall that all lines belong to, from the flag or the configuration.
    async fn mall_of_file(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Option<String>> {
        match (self.mall_code(db).await?, &self.config(cx).mall) {
            (Some(mall), _) => Ok(Some(mall)),
            (None, Some(configured)) => Ok(Some(configured_mall(db, configured, self.kind).await?)),
            (None, None) => Ok(None),
        }
    }

    /// The code of the mall that the flag names.
    async fn mall_code(&self, db: &mut Db) -> anyhow::Result<Option<String>> {
        let Some(mall) = &self.mall else { return Ok(None) };
        let found = selected_malls(db, std::slice::from_ref(mall)).await?;
        Ok(found.into_iter().next().map(|mall| mall.code))
    }
}

/// A file by its content.
pub struct File {
    /// The beginning of the hash of its content.
    short_hash: String,
}

fn parse_delimiter(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        _ if matches!(text, "tab" | "\\t") => Ok('\t'),
        (Some(delimiter), None) if delimiter.is_ascii() && !matches!(delimiter, '"' | '\n' | '\r') => {
            Ok(delimiter)
        }
        _ => Err("write one ASCII character such as `;`, or `tab`".to_owned()),
    }
}

async fn configured_mall(db: &mut Db, configured: &str, kind: Kind) -> anyhow::Result<String> {
    let found = selected_malls(db, &[configured.to_owned()]).await.map_err(|error| {
        match error.downcast::<Failure>() {
            Ok(failure) => {
                let message = format!("[import.{}] mall: {}", kind.name(), failure.message);
                let named = Failure::configuration(message);
                match failure.hint {
                    Some(hint) => named.hint(hint).into(),
                    None => named.into(),
                }
            }
            Err(error) => error,
        }
    })?;
    Ok(found.into_iter().next().map_or_else(|| configured.to_owned(), |mall| mall.code))
}

/// A digest of how a file's columns and values are interpreted: a later attempt continues, and a success remains valid,
/// only if that has not changed.
fn interpretation(source: &Source, mall: Option<&str>, config: &ImportFile) -> String {
    // Without `allow_empty`, which says nothing about a line.
    let ImportFile { columns, time_format, mall: mall_of_file, encoding, delimiter, values, allow_empty: _ } =
        config;
    let config = format!(
        "ImportFile {{ columns: {columns:?}, time_format: {time_format:?}, mall: {mall_of_file:?}, \
         encoding: {encoding:?}, delimiter: {delimiter:?}, values: {values:?} }}"
    );
    let text = format!("{} {} {mall:?} {config}", source.encoding, source.delimiter);
    fingerprint(text)
}

/// The lines that failed in the run that is retried, if that run loaded all the others; otherwise all lines: a run
/// that was refused because of its bad lines loaded none, and one that was killed did not load all of them.
async fn wanted_lines(run: &mut Run<'_>, file_name: &str) -> anyhow::Result<Option<HashSet<u64>>> {
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

/// A file, how it is read, and which lines to process.
struct ImportedFile {
    name: String,
    source: Source,
    layout: Arc<Layout>,
    wanted: Option<Arc<HashSet<u64>>>,
    /// The beginning of the hash of the instance's content.
    short_hash: String,
    interpretation: String,
    chunk_lines: u64,
}

impl ImportedFile {
    fn feed<K: FileKind>(&self, pass: Pass, db: &Db) -> Feed<K::Rows> {
        let plan = ReadPlan {
            pass,
            wanted: self.wanted.clone(),
            chunk_lines: self.chunk_lines,
            database: db.kind(),
        };
        Feed::start::<K>(&self.source, &self.layout, plan)
    }

    fn item_key(&self, line: u64) -> String {
        format!("{}:{line}", self.name)
    }

    /// Refuses a content other than that of the run's instance.
    fn refuse_other_content(&self, hash: &str, advice: &str) -> Result<(), Failure> {
        if hash.starts_with(&self.short_hash) {
            return Ok(());
        }
        Err(Failure::bad_input(format!("`{}` changed while it was read", self.source.path.display()))
            .hint(advice))
    }
}

// ---------------------------------------------------------------- the first pass

/// What the first pass found.
#[derive(Default)]
struct Checked {
    lines: u64,
    /// The first bad lines.
    bad: Vec<BadLine>,
    bad_lines: u64,
    duplicates: BTreeMap<u64, u64>,
}

impl Checked {
    fn note(&mut self, bad: Vec<BadLine>) {
        self.bad_lines += bad.len() as u64;
        let room = usize::try_from(KEPT_BAD_LINES).unwrap_or(usize::MAX).saturating_sub(self.bad.len());
        self.bad.extend(bad.into_iter().take(room));
    }
}

/// Reads the whole file as the load will, and writes nothing.
async fn check<K: FileKind>(run: &mut Run<'_>, file: &ImportedFile) -> anyhow::Result<Checked> {
    let mut checked = Checked::default();
    let mut feed = file.feed::<K>(Pass::Check, run.db);
    loop {
        run.check_stop()?;
        match feed.next().await? {
            FeedMessage::Chunk(mut chunk) => {
                checked.lines += chunk.lines;
                checked.note(chunk.bad);
                if K::LOOKS_UP {
                    chunk.rows.stage(run.db).await?;
                    checked.note(K::look_up(run.db).await?);
                }
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
                    .map(|(line, other)| BadLine { line: *line, problem: duplicate_problem::<K>(*other) });
                checked.note(twice.collect());
                if end.more_duplicates > 0 {
                    return Err(
                        too_many_duplicates::<K>(file, end.duplicates.len() + end.more_duplicates).into()
                    );
                }
                checked.duplicates = end.duplicates;
                return Ok(checked);
            }
        }
    }
}

fn too_many_duplicates<K: FileKind>(file: &ImportedFile, lines: usize) -> Failure {
    Failure::bad_input(format!(
        "failed to read `{}`: {lines} {} occur more than once; nothing was imported",
        file.source.path.display(),
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
fn refuse_too_many_bad_lines(
    run: &mut Run<'_>,
    file: &ImportedFile,
    checked: &Checked,
) -> anyhow::Result<()> {
    if file.wanted.is_some() {
        // The run that is retried was allowed to skip these lines; those that are good now are loaded.
        return Ok(());
    }
    let limit = run.skip_limit(SkipLimit::Count(0));
    if !limit.is_exceeded(checked.bad_lines, checked.lines) {
        return Ok(());
    }
    run.read(checked.lines);
    for bad in &checked.bad {
        run.skip_item(&file.item_key(bad.line), "check", "BAD_INPUT", &bad.problem);
    }
    let more = checked.bad_lines - checked.bad.len() as u64;
    note_more_bad_lines(run, file, more);
    Err(Failure::bad_input(format!(
        "{} bad, more than the skip limit of {limit}; nothing was imported",
        share(checked.bad_lines, checked.lines, "line", "lines")
    ))
    .hint(match checked.bad.iter().find_map(|bad| unknown_mall(&bad.problem)) {
        None => "fix the file, or skip bad lines with --skip-limit N".to_owned(),
        Some(code) => {
            let add = command(&["mall", "add", code, "--currency", "CURRENCY", "--time-zone", "ZONE"]);
            format!("fix the file, or add the mall with `{add}`, or skip bad lines with --skip-limit N")
        }
    })
    .into())
}

/// The mall that a line belongs to, if its problem is that there is no such mall and there could be.
fn unknown_mall(problem: &str) -> Option<&str> {
    let (code, _) = problem.strip_prefix("`mall`: unknown mall `")?.split_once('`')?;
    malls::is_code(code).then_some(code)
}

/// One row represents the bad lines beyond those that have their own rows.
fn note_more_bad_lines(run: &mut Run<'_>, file: &ImportedFile, more: u64) {
    if more > 0 {
        run.skip_more(more - 1);
        let lines = counted(more, "more line is", "more lines are");
        run.skip_item(&file.name, "check", "BAD_INPUT", &format!("{lines} bad"));
    }
}

// ---------------------------------------------------------------- the second pass

/// Where a chunk ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    /// The lines of the file up to there, without the header.
    lines: u64,
    /// The good ones of them that were left out with a bad one.
    #[serde(default)]
    left_out: u64,
    /// See [`interpretation`]. Checkpoints of older versions call it `manner`.
    #[serde(alias = "manner")]
    interpretation: String,
}

/// What the second pass did.
#[derive(Default)]
struct Loaded {
    lines: u64,
    done_before: u64,
    outcome: UpsertCounts,
}

impl Loaded {
    fn sentence<K: FileKind>(&self) -> String {
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
async fn load<K: FileKind>(
    run: &mut Run<'_>,
    file: &ImportedFile,
    checked: Checked,
) -> anyhow::Result<Loaded> {
    let earlier: Option<Checkpoint> = run.checkpoint()?;
    let (done_before, mut left_out) = earlier
        .filter(|earlier| earlier.interpretation == file.interpretation)
        .map_or((0, 0), |earlier| (earlier.lines, earlier.left_out));
    if done_before == 0 && run.counts() != history::Counts::default() {
        run.start_over().await?;
    }
    run.leave_out(left_out);
    run.show_progress_after(done_before, Some(checked.lines));
    let mut loaded = Loaded { done_before, ..Loaded::default() };
    let mut bad_lines = 0;
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
            bad_lines += 1;
            if bad_lines <= KEPT_BAD_LINES {
                run.skip_item(&file.item_key(bad.line), "load", "BAD_INPUT", &bad.problem);
            }
        }
        loaded.lines += chunk.lines;
        let checkpoint =
            Checkpoint { lines: chunk.lines_so_far, left_out, interpretation: file.interpretation.clone() };
        // As long as nothing was loaded, a later attempt starts over: a mall may have been added in the meantime.
        let is_worth_a_checkpoint = done_before > 0 || loaded.outcome != UpsertCounts::default() || !is_empty;
        let now = run.cx.now();
        let layout = Arc::clone(&file.layout);
        let outcome = run
            .chunk_writing(is_worth_a_checkpoint.then_some(&checkpoint), async |db| {
                if is_empty {
                    return Ok((UpsertCounts::default(), 0));
                }
                if !K::LOOKS_UP {
                    chunk.rows.stage(db).await?;
                }
                let outcome = K::store(db, &layout, now).await?;
                Ok((outcome, u64::try_from(outcome.written_lines).unwrap_or(0)))
            })
            .await?;
        loaded.outcome.add(outcome);
    }
    if run.db.kind() == DbKind::Postgres {
        run.db.script(COMMIT_TO_DISK).await?;
    }
    note_more_bad_lines(run, file, bad_lines.saturating_sub(KEPT_BAD_LINES));
    Ok(loaded)
}

const CHANGED_ADVICE: &str = "what was already imported stays; import the changed file to load the rest";

/// A fault that the first pass did not find must be new: the file changed.
fn changed_during_import(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => {
            Failure::bad_input(format!("the file changed while it was imported: {}", failure.message))
                .hint(CHANGED_ADVICE)
                .into()
        }
        Err(error) => error,
    }
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

async fn prepare<K: FileKind>(db: &mut Db) -> anyhow::Result<()> {
    // The staging tables are never analysed, and plans are cached.
    db.plan_by_index().await?;
    db.script(db.pick(CACHE_INDEXES, COMMIT_WITHOUT_WAITING)).await?;
    K::prepare(db).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problems that the first pass finds in a file, without a database.
    fn problems<K: FileKind>(text: &str, config: &ImportFile) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.csv");
        std::fs::write(&path, text).unwrap();
        let source = Source { path, encoding: TextEncoding::Utf8, delimiter: b',' };
        let (mut reader, header) = source.open().unwrap();
        let mall = crate::shop::malls::Mall {
            id: 1,
            code: "main".to_owned(),
            name: "main".to_owned(),
            platform: "csv".to_owned(),
            time_zone: "Asia/Tokyo".to_owned(),
            currency: "JPY".to_owned(),
            is_active: true,
            account: None,
            shop_no: 1,
            problems: crate::db::Problems::default(),
        };
        let layout = Layout::new(
            "orders",
            "file.csv",
            &header,
            K::columns(),
            config,
            &[mall],
            Some("main".to_owned()),
        )
        .unwrap();
        let mut lines = Vec::new();
        let mut line = reader::Record::default();
        while reader.next_record(&mut line).unwrap() {
            lines.push(std::mem::take(&mut line));
        }
        let bad = K::read(&layout, &lines, None).err().unwrap_or_default();
        bad.into_iter().map(|bad| format!("{}: {}", bad.line, bad.problem)).collect()
    }

    fn order_problems(lines: &str) -> Vec<String> {
        let header = "order_no,status,ordered_at,total_amount,product_code,quantity,unit_price_amount,paid_at,cancelled_at";
        problems::<orders::Orders>(&format!("{header}\n{lines}"), &ImportFile::default())
    }

    #[test]
    fn a_good_order_has_no_problems() {
        let lines = "1,PAID,2026-11-19 10:00,300,A,1,100,2026-11-19 10:05,\n1,PAID,2026-11-19 10:00,300,B,2,100,2026-11-19 10:05,\n";
        assert_eq!(order_problems(lines), Vec::<String>::new());
    }

    #[test]
    fn an_order_without_the_day_its_report_needs_is_bad() {
        assert_eq!(
            order_problems("1,SHIPPED,2026-11-19 10:00,300,A,1,100,,\n"),
            ["2: `paid_at`: is empty, but the order is SHIPPED"]
        );
        assert_eq!(
            order_problems("1,ORDER_CANCELLED,2026-11-19 10:00,300,A,1,100,,\n"),
            ["2: `cancelled_at`: is empty, but the order is ORDER_CANCELLED"]
        );
    }

    #[test]
    fn lines_of_one_order_must_agree_and_be_distinguishable() {
        let lines = "1,PAYMENT_WAIT,2026-11-19 10:00,300,A,1,100,,\n\
                     1,PAYMENT_WAIT,2026-11-19 10:00,400,B,1,100,,\n\
                     1,PAYMENT_WAIT,2026-11-19 10:00,300,A,2,100,,\n\
                     1,PAYMENT_WAIT,2026-11-19 10:00,300,A,2,100,,\n\
                     1,PAYMENT_WAIT,2026-11-19 10:00,300,A,1,100,,\n";
        assert_eq!(
            order_problems(lines),
            [
                "3: `total_amount`: `400` differs from `300` on line 2 of the same order",
                "4: `product_code`: `A` occurs twice in the same order: distinguish its lines with a column `line_no`",
                "5: the line is the same as line 4: remove it, or, if the product really is in the order twice, number \
                 both lines in a column `line_no`",
                "6: the line is the same as line 2: remove it, or, if the product really is in the order twice, number \
                 both lines in a column `line_no`",
            ]
        );
    }

    #[test]
    fn a_mapped_header_and_a_mapped_value_become_ours() {
        let mut config = ImportFile::default();
        config.columns.insert("member_code".to_owned(), "会員番号".to_owned());
        config.values.insert("status".to_owned(), [("有効".to_owned(), "ACTIVE".to_owned())].into());
        let file = "\u{feff} 会員番号 ,status,signed_up_at\nM1,有効,2026-11-19 10:00\n";
        assert_eq!(problems::<members::Members>(file, &config), Vec::<String>::new());
    }

    #[test]
    fn a_delimiter_is_one_ascii_character() {
        assert_eq!(parse_delimiter("tab"), Ok('\t'));
        assert_eq!(parse_delimiter(";"), Ok(';'));
        assert!(
            parse_delimiter("").is_err() && parse_delimiter("；").is_err() && parse_delimiter("::").is_err()
        );
    }
}
