//! `data import`: loads a shop's data from CSV files: orders, members, products, refunds and the data of mails.
//!
//! For shops without an API. A first pass checks the whole file before anything is written; a second one loads it in
//! chunks. Stored records are replaced by their natural keys, so that loading the same file twice changes nothing, and
//! a run that was killed continues after its last chunk.

mod arrival;
mod articles;
mod bad_lines;
mod carts;
mod consents;
mod container;
mod coupons;
#[cfg(test)]
mod database_tests;
mod duplicates;
mod feed;
mod field;
mod foreign;
mod guess;
mod inbox;
mod kind;
mod kinds;
mod layout;
mod line;
mod mapping;
mod members;
mod orders;
mod plan;
mod precedence;
pub mod presets;
mod products;
mod reader;
mod refunds;
mod selection;
mod subscriptions;
#[cfg(test)]
mod tests;
mod with_lines;
mod words;

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::{Holdings, ImportColumn, ImportSection, OneOrMore, SkipLimit};
use crate::context::Context;
use crate::db::{Db, Kind as DbKind};
use crate::digest::fingerprint;
use crate::failure::{Failure, FailureKind};
use crate::money::minor_to_display;
use crate::period::{last_finished_day, parse_duration, shown_instant};
use crate::runner::{
    Completed, Exclusion, Freshness, Items, Job, JobSpec, Planned, Run, history, minutes, report_error,
};
use crate::severity::Severity;
use crate::shop::arrivals::files::{FileDays, StagedRows};
use crate::shop::malls::{all_malls, selected_malls};
use crate::shop::upsert::UpsertCounts;
use crate::text_encoding::TextEncoding;
use crate::wording::counted;

use self::arrival::Arriving;
use self::bad_lines::{BadLines, SHOWN_BAD_LINES};
use self::container::{Input, STANDARD_INPUT, on_a_thread};
use self::feed::{Feed, FeedMessage, Pass, ReadPlan, duplicate_problem};
use self::inbox::{Seen, Waiting};
use self::kind::{BadLine, FileKind, LeftOut, Noted, Notes, Rows};
use self::kinds::Kind;
use self::layout::Layout;
use self::mapping::{Choice, Mapping};
use self::precedence::{Newest, Own, Precedence, refuse_old};
use self::reader::{Source, encoding_of};
use self::selection::{Piped, Selected, instance_key, short_hash, unread};

pub use self::mapping::{check_kinds, mapping_problems};

/// Lines to a commit: large enough that the statements' own cost vanishes, small enough that three chunks (one
/// being read, one waiting, one in the database) stay within a few MiB and a stop takes effect within a second.
const CHUNK_LINES: u64 = 10_000;
/// Bad lines that were skipped and are stored as rows. More of them are not informative, and somebody has to read each.
const KEPT_BAD_LINES: u64 = 5_000;

/// Arguments of `data import`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What the files contain
    #[arg(long, value_enum, required_unless_present_any = ["inbox", "guess"])]
    kind: Option<Kind>,
    /// The mall that all its lines belong to, by code or ID (default: the column `mall`, or the configuration)
    #[arg(long, value_name = "MALL")]
    mall: Option<String>,
    /// The platform whose export it is: see `data presets list` (default: the configuration's)
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// The section of the configuration that says how it is written: NAME for `[import.KIND.NAME]` (default: the mall's, else
    /// `[import.KIND]`)
    #[arg(long, value_name = "NAME")]
    section: Option<String>,
    /// Check the whole file, show everything that is wrong with it, and store nothing; exit 65 if it is bad
    #[arg(long)]
    check: bool,
    /// Look at the header and some lines, print the mapping that they seem to need, with its doubts as comments, and store
    /// nothing
    #[arg(long, conflicts_with_all = ["check", "inbox"])]
    guess: bool,
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
    /// When the file was exported: an instant (RFC 3339), a day (its beginning), or a duration such as 2h for two hours ago
    /// (default: when the file was last written)
    #[arg(long, value_name = "INSTANT")]
    as_of: Option<String>,
    /// Import what waits in this folder, oldest first, and move each file to `done` or `failed` below it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "as_of"])]
    inbox: Option<PathBuf>,
    /// Leave a file in the inbox alone that was written less than this long ago
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1m", requires = "inbox")]
    min_age: Duration,
    /// Only this file of the inbox, at once, and even if it was moved already
    #[arg(long, value_name = "NAME", requires = "inbox")]
    inbox_file: Option<String>,
    /// Only this member of a ZIP archive
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// The beginning of the hash of the content that is meant, if several files have had the name
    #[arg(long, value_name = "HASH", requires = "inbox_file", hide = true)]
    content: Option<String>,
    /// The files: CSV, also packed with gzip or in a ZIP archive; `-` is standard input
    #[arg(required_unless_present = "inbox")]
    file: Vec<PathBuf>,
    /// What is read, once it is chosen.
    #[arg(skip)]
    input: Option<Input>,
    /// What messages call the file, if it cannot be read.
    #[arg(skip)]
    called: Option<PathBuf>,
    /// Standard input, once it was read.
    #[arg(skip)]
    piped: Piped,
}

impl Job for Args {
    const SPEC: JobSpec = JobSpec {
        name: "data import",
        summary: "Load a shop's orders, members, products and other data from CSV files",
        details: "A whole file is checked before anything is written. Loading the same file twice changes nothing.",
        page: Some("docs/import.md"),
        schedule: None,
        deadline: minutes(120),
        severity: Severity::Medium,
        exclusion: Exclusion::Instance,
        items: Items::new("line", "lines", "stored"),
    };

    type Unit = File;

    async fn plan(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Planned<File>>> {
        if let Some(kind) = self.kind {
            self.mapping(cx, kind, self.mall_code(db).await?.as_deref())?;
        }
        let selected = self.select(cx, db).await?;
        let is_alone = selected.len() == 1;
        let mut planned = Vec::new();
        for (place, one) in selected.into_iter().enumerate() {
            let Some(one) = one.planned(cx, db, is_alone).await? else { continue };
            // A failure of one file is no other's.
            planned.push(if is_alone { one } else { one.in_lane(place.to_string()) });
        }
        Ok(planned)
    }

    async fn freshness(
        &self,
        cx: &Context,
        db: &mut Db,
        completed: &Completed<'_, File>,
    ) -> anyhow::Result<Freshness> {
        let checkpoint = completed.run.checkpoint.as_deref();
        let earlier = checkpoint.and_then(|checkpoint| serde_json::from_str::<Checkpoint>(checkpoint).ok());
        let file = completed.unit;
        let args = &file.args;
        let mall = args.mall_code(db).await?;
        let mapping = args.mapping(cx, args.kind()?, mall.as_deref())?;
        let mall = args.mall_of_file(mall, &mapping, db).await?;
        let now = args.interpretation(mall.as_deref(), &mapping.keys);
        // The same content has a different meaning under another mapping.
        if earlier.as_ref().is_some_and(|earlier| earlier.interpretation != now) {
            return Ok(Freshness::Due("the mapping, the encoding or the mall has changed since".to_owned()));
        }
        let was_exported = earlier.as_ref().and_then(|earlier| earlier.exported);
        if file.may_cover_more(db, was_exported).await? {
            return Ok(Freshness::Due("it was exported once more, and nothing had changed".to_owned()));
        }
        let Some(newest) = file.overtaken_by(db, completed.run.id).await? else {
            file.is_imported.set(true);
            return Ok(Freshness::Current(None));
        };
        let news = newest.named(cx);
        // As the shop wrote it again, or as somebody took an old file for a new one: the run asks which.
        if file.exported > newest.exported {
            return Ok(Freshness::Due(news));
        }
        file.is_imported.set(true);
        Ok(Freshness::Current(Some(format!("{news}: add --rerun to import this one again"))))
    }

    async fn try_out(&self, cx: &Context, db: &mut Db) -> anyhow::Result<()> {
        let mut checked = Ok(());
        for Selected { args, refused, .. } in self.select(cx, db).await? {
            let found = match refused {
                Some(refused) => Err(refused.into()),
                None => args.kind()?.check(&args, cx, db).await,
            };
            if let Err(error) = found {
                // The last of several bad files is told by the command's end.
                if let Err(earlier) = std::mem::replace(&mut checked, Err(error)) {
                    report_error(cx, &earlier);
                }
            }
        }
        checked
    }

    async fn run(&self, run: &mut Run<'_>, file: &File) -> anyhow::Result<()> {
        let done = match &file.refused {
            Some(refused) => Err(refused.clone().into()),
            None => file.import(run).await,
        };
        done.map_err(|error| file.with_its_place(error, run.id()))
    }

    async fn clear_away(&self, cx: &Context, db: &mut Db, file: &File) -> anyhow::Result<()> {
        let Some(waiting) = &file.waiting else { return Ok(()) };
        let last = history::last_attempt(db, Self::SPEC.name, &file.key).await?;
        // One that was turned away, or stopped before it began, is still to be imported, however an earlier run ended.
        let last = last.filter(|last| file.is_imported.get() || Some(last.id) > file.attempt_before);
        if let Some(left) = waiting.end(last.as_ref())? {
            cx.output.warn(&left);
        }
        Ok(())
    }
}

impl Selected {
    /// The instance that imports it.
    async fn planned(
        self,
        cx: &Context,
        db: &mut Db,
        is_alone: bool,
    ) -> anyhow::Result<Option<Planned<File>>> {
        let Self { args, waiting, mut refused, exported } = self;
        let mall = args.mall_code(db).await?;
        let mapping = args.mapping(cx, args.kind()?, mall.as_deref())?;
        let of_file = match args.mall_of_file(mall.clone(), &mapping, db).await {
            Ok(of_file) => of_file,
            // That it does not exist is the run's failure.
            Err(error) if error.is::<Failure>() => None,
            Err(error) => return Err(error),
        };
        let origin =
            format!("{} {}", of_file.as_deref().unwrap_or("*"), args.section.as_deref().unwrap_or_default());
        let hash = match &args.input {
            Some(input) if refused.is_none() => match short_hash(input).await? {
                Ok(hash) => Some(hash),
                // Another command has taken it since it was found.
                Err(_) if waiting.as_ref().is_some_and(|waiting| waiting.is_gone()) => return Ok(None),
                // Of several files, and of those in an inbox, each fails alone.
                Err(failure) if waiting.is_some() || !is_alone && failure.kind == FailureKind::BadInput => {
                    refused = Some(failure);
                    None
                }
                Err(failure) => return Err(failure.into()),
            },
            _ => None,
        };
        let kind = args.kind()?.name();
        let shown = args.shown();
        let content = hash.clone().unwrap_or_else(|| {
            let seen = waiting.as_ref().map_or_else(|| Seen::at(&shown), |waiting| Some(waiting.seen()));
            unread(&shown, seen)
        });
        let key = instance_key(args.kind()?, mall.as_deref(), &content);
        let attempt_before = history::last_attempt(db, Args::SPEC.name, &key).await?.map(|last| last.id);
        let title = match &hash {
            // Two streams have nothing in common but their name.
            Some(hash) if args.input.as_ref().is_some_and(Input::is_standard_input) => {
                format!("{kind} {} {hash}", shown.display())
            }
            _ => format!("{kind} {}", shown.display()),
        };
        let file = File {
            short_hash: hash.clone().unwrap_or_default(),
            key: key.clone(),
            origin,
            exported,
            waiting: waiting.clone(),
            refused,
            attempt_before,
            is_imported: Cell::new(false),
            args: args.clone(),
        };
        let mut planned = Planned::new(key, file)
            .titled(title)
            // Two files of one kind may contain the same orders, in an older and a newer state.
            .exclusive_by(kind);
        for (argument, value) in args.repeated(cx, mall, Some(content))? {
            planned = planned.with(argument, value);
        }
        Ok(Some(planned))
    }
}

impl Args {
    /// Whether the file is only to be checked.
    pub fn only_checks(&self) -> bool {
        self.check
    }

    /// Whether only the mapping of the file is asked for.
    pub fn only_guesses(&self) -> bool {
        self.guess
    }

    /// Prints the mapping that the file seems to need.
    pub async fn guess_mapping(&self, cx: &Context) -> anyhow::Result<()> {
        let input = self.selected_alone(cx).await?;
        let content = {
            let input = input.clone();
            on_a_thread(move |wanted| input.content(wanted)).await??
        };
        let question = guess::Question {
            content: &content,
            file: self.file.first().context("a file that was not named")?,
            member: input.member(),
            kind: self.kind,
            encoding: self.encoding,
            delimiter: self.delimiter,
        };
        guess::guess(cx, &question).await
    }

    /// Checks the file, shows what is wrong with it, and stores nothing.
    pub async fn check_file(&self, cx: &Context) -> anyhow::Result<()> {
        let mut db = cx.db().await?;
        let checked = self.try_out(cx, &mut db).await;
        db.close().await;
        checked
    }

    /// Checks the file, then loads it.
    async fn import<K: FileKind>(&self, run: &mut Run<'_>, file: &File) -> anyhow::Result<()> {
        let (mut file, source) = self.open::<K>(run.cx, run.db, file).await?;
        file.wanted = wanted_lines(run, &source).await?.map(Arc::new);
        prepare::<K>(run.db).await?;
        let checked = check_all::<K>(run, &file).await?;
        self.refuse_no_lines(&file, &checked)?;
        refuse_too_many_bad_lines(run, &file, &checked)?;
        let notes = notes_in_words::<K>(&file.layout, &checked.notes);
        let loaded = load::<K>(run, &file, checked).await?;
        run.summarise(loaded.sentence::<K>());
        for note in notes {
            run.summarise(note);
        }
        Ok(())
    }

    /// Checks the file, and shows what is wrong with it and how it is read.
    async fn check<K: FileKind>(&self, cx: &Context, db: &mut Db) -> anyhow::Result<()> {
        let (file, _) = self.open::<K>(cx, db, &File::unknown(self, cx)).await?;
        prepare::<K>(db).await?;
        let mut checking = Checking::<K>::start(&file, db);
        while checking.advance(&file, db).await? {}
        let checked = checking.checked;
        self.refuse_no_lines(&file, &checked)?;
        let mut text = String::new();
        for note in notes_in_words::<K>(&file.layout, &checked.notes) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "note: {note}");
        }
        let lines = counted(checked.lines, "line", "lines");
        if checked.bad.is_empty() {
            let _ = write!(text, "{}: {lines}, all good; nothing was stored", file.name);
            return Ok(cx.output.text(&text)?);
        }
        cx.output.data(checked.bad.table(cx).as_bytes())?;
        text.push_str(&checked.bad.sample(&file).unwrap_or_default());
        cx.output.text(text.trim_end())?;
        Err(checked.bad.failure("nothing was stored", checked.lines).into())
    }

    /// A header alone is far more often an export that failed than a day on which nothing happened.
    fn refuse_no_lines(&self, file: &ImportedFile, checked: &Checked) -> Result<(), Failure> {
        let allows_empty = file.layout.mapping.keys.allow_empty == Some(true);
        // A retry reads only the lines that failed.
        if checked.lines > 0 || file.wanted.is_some() || self.allow_empty || allows_empty {
            return Ok(());
        }
        let path = file.source.path().display();
        Err(Failure::bad_input(format!("`{path}` has a header and no lines; nothing was imported"))
            .hint(format!(
                "if nothing happened that day, add --allow-empty; if that is usual, set allow_empty = true in [{}]",
                file.layout.mapping.section
            ))
            .retry_with("--allow-empty")
            .retry_once("if nothing happened that day"))
    }

    /// Finds the columns in the file's header. Returns the file's name too.
    async fn open<K: FileKind>(
        &self,
        cx: &Context,
        db: &mut Db,
        file: &File,
    ) -> anyhow::Result<(ImportedFile, String)> {
        let mall = self.mall_code(db).await?;
        let mapping = self.mapping(cx, self.kind()?, mall.as_deref())?;
        mapping.refuse_misuse()?;
        let mall = self.mall_of_file(mall, &mapping, db).await?;
        let malls = all_malls(db).await?;
        if let Some(mall) = malls.iter().find(|one| Some(&one.code) == mall.as_ref()) {
            mall.time_zone()?;
        }
        let source = self.source(&mapping.keys).await?;
        let (_, header) = source.open()?;
        let file_name = source.path().display().to_string();
        let interpretation = self.interpretation(mall.as_deref(), &mapping.keys);
        let before = Precedence::of(db, &file.key, &file.origin).await?.dated_by_export;
        let is_of_period = mapping.keys.holds == Some(Holdings::Period);
        let arriving = Arriving::of(self, file.exported, is_of_period, malls.clone(), mall.as_deref())?;
        let layout = Layout::new(&mapping, &file_name, &header, K::columns(), &malls, mall)?
            .exported(file.exported, before);
        let name = source.name();
        let file = ImportedFile {
            name: name.clone(),
            wanted: None,
            source,
            origin: file.origin.clone(),
            layout: Arc::new(layout),
            short_hash: file.short_hash.clone(),
            exported: file.exported,
            interpretation,
            arriving,
            chunk_lines: self.chunk_size,
        };
        Ok((file, name))
    }

    /// How a file of this kind is written, by the flags and the configuration. `mall` is that of the flag.
    fn mapping(&self, cx: &Context, kind: Kind, mall: Option<&str>) -> anyhow::Result<Mapping> {
        let (section, preset) = (self.section.as_deref(), self.preset.as_deref());
        Mapping::choose(&cx.config, kind, Choice { section, preset, mall })
    }

    /// What the file contains, once that is known.
    fn kind(&self) -> anyhow::Result<Kind> {
        self.kind.context("a file whose kind is not known")
    }

    /// What messages call the file.
    fn shown(&self) -> PathBuf {
        let called = self.called.as_ref().or(self.file.first()).cloned();
        self.input.as_ref().map_or_else(|| called.unwrap_or_default(), Input::shown)
    }

    /// The arguments of the line that imports this content again, where they differ from those that were given.
    fn repeated(
        &self,
        cx: &Context,
        mall: Option<String>,
        hash: Option<String>,
    ) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut repeated = Vec::new();
        let mut repeat =
            |argument, value: Option<String>| repeated.extend(value.map(|value| (argument, value)));
        repeat("mall", mall);
        repeat("member", self.input.as_ref().and_then(Input::member).map(str::to_owned));
        if let Some(text) = &self.as_of {
            repeat("as_of", Some(cx.moment("--as-of", text)?.to_rfc3339()));
        }
        match (&self.inbox, self.file.as_slice()) {
            (Some(_), _) => {
                repeat("kind", Some(self.kind()?.name().to_owned()));
                repeat("section", self.section.clone());
                repeat("inbox_file", self.inbox_file.clone());
                repeat("content", hash);
            }
            (None, [file]) if file.as_os_str() != STANDARD_INPUT => {
                repeat("file", Some(cx.working_dir().join(file).to_string_lossy().into_owned()));
            }
            (None, files) => repeat("file", files.first().map(|file| file.to_string_lossy().into_owned())),
        }
        Ok(repeated)
    }

    /// The encodings to be tried.
    fn encodings(&self, keys: &ImportSection) -> Vec<TextEncoding> {
        match self.encoding {
            Some(encoding) => vec![encoding],
            None if keys.encoding.is_empty() => vec![TextEncoding::default()],
            None => keys.encoding.to_vec(),
        }
    }

    fn delimiter(&self, keys: &ImportSection) -> u8 {
        let delimiter = self.delimiter.or(keys.delimiter).unwrap_or(',');
        // Both the flag and the configuration accept only ASCII.
        u8::try_from(delimiter).unwrap_or(b',')
    }

    async fn source(&self, keys: &ImportSection) -> anyhow::Result<Source> {
        let input = self.input.clone().context("a file that was not chosen")?;
        let encodings = self.encodings(keys);
        let (content, encoding) = on_a_thread(move |wanted| {
            let content = input.content(wanted)?;
            let encoding = encoding_of(&content, &encodings, wanted)?;
            Ok((content, encoding))
        })
        .await??;
        Ok(Source {
            encoding,
            content,
            delimiter: self.delimiter(keys),
            quotes: keys.quotes.unwrap_or_default(),
        })
    }

    /// A digest of how a file's columns and values are interpreted: a later attempt continues, and a success remains valid,
    /// only if that has not changed.
    fn interpretation(&self, mall: Option<&str>, keys: &ImportSection) -> String {
        interpretation(&self.encodings(keys), self.delimiter(keys), mall, keys)
    }

    /// The code of the mall that all lines belong to, from the flag or the configuration.
    async fn mall_of_file(
        &self,
        mall: Option<String>,
        mapping: &Mapping,
        db: &mut Db,
    ) -> anyhow::Result<Option<String>> {
        match (mall, &mapping.keys.mall) {
            (Some(mall), _) => Ok(Some(mall)),
            (None, Some(configured)) => Ok(Some(configured_mall(db, configured, &mapping.section).await?)),
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
    /// The instance's key.
    key: String,
    /// See [`Checkpoint::origin`].
    origin: String,
    /// When it was exported.
    exported: DateTime<Utc>,
    /// The file of an inbox that it is, or is in.
    waiting: Option<Rc<Waiting>>,
    /// Why it cannot be read.
    refused: Option<Failure>,
    /// The last run of the instance before this command.
    attempt_before: Option<i64>,
    /// Whether this command found it imported already.
    is_imported: Cell<bool>,
    /// The command for it alone.
    args: Args,
}

impl File {
    /// A file that is only checked.
    fn unknown(args: &Args, cx: &Context) -> Self {
        Self {
            short_hash: String::new(),
            key: String::new(),
            origin: String::new(),
            exported: cx.now(),
            waiting: None,
            refused: None,
            attempt_before: None,
            is_imported: Cell::new(false),
            args: args.clone(),
        }
    }

    async fn import(&self, run: &mut Run<'_>) -> anyhow::Result<()> {
        self.refuse_if_old(run).await?;
        self.args.kind()?.import(&self.args, run, self).await
    }

    /// What is wrong with a file of an inbox, with the place at which it can be fixed: it is about to leave the one that the
    /// message names.
    fn with_its_place(&self, error: anyhow::Error, run: i64) -> anyhow::Error {
        let place = self.waiting.as_ref().and_then(|waiting| waiting.place_of_failure(run));
        match (error.downcast::<Failure>(), place) {
            (Ok(mut failure), Some(place)) if failure.kind == FailureKind::BadInput => {
                // Writing to a String cannot fail.
                let _ = write!(failure.message, "; the file is moved to `{}`", place.display());
                failure.into()
            }
            (Ok(failure), _) => failure.into(),
            (Err(error), _) => error,
        }
    }

    /// The import of a newer file of its kind and mall after this run, if there was one.
    async fn overtaken_by(&self, db: &mut Db, run: i64) -> anyhow::Result<Option<Newest>> {
        Ok(Precedence::of(db, &self.key, &self.origin).await?.newest.filter(|newest| newest.run > run))
    }

    /// Whether the same content shows that nothing happened on a day since: it was exported when a later day was over.
    async fn may_cover_more(&self, db: &mut Db, before: Option<DateTime<Utc>>) -> anyhow::Result<bool> {
        let Some(before) =
            before.filter(|_| StagedRows::of(self.args.kind().map_or("", Kind::name)).is_some())
        else {
            return Ok(false);
        };
        let zones = all_malls(db).await?.into_iter().filter_map(|mall| mall.time_zone().ok());
        Ok(zones
            .into_iter()
            .any(|zone| last_finished_day(self.exported, zone) > last_finished_day(before, zone)))
    }

    /// Refuses to import once more what may not be the latest state, unless somebody says so.
    async fn refuse_if_old(&self, run: &mut Run<'_>) -> anyhow::Result<()> {
        if run.is_asked_again() || self.args.as_of.is_some() {
            return Ok(());
        }
        let Precedence { own, newest, .. } = Precedence::of(run.db, &self.key, &self.origin).await?;
        let Some(newest) = newest else { return Ok(()) };
        let shown = self.args.shown().display().to_string();
        let is_again = |own: &Own| !own.is_empty && newest.run > own.run && self.exported > newest.exported;
        if let Some(Own { run: own, .. }) = own.filter(is_again) {
            return Err(refuse_old(run.cx, &shown, &format!("is what run {own} imported"), &newest).into());
        }
        if run.is_plain_retry() && newest.exported > self.exported {
            let when = shown_instant(self.exported, run.cx.time_zone());
            return Err(refuse_old(run.cx, &shown, &format!("was exported {when}"), &newest).into());
        }
        Ok(())
    }
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

async fn configured_mall(db: &mut Db, configured: &str, section: &str) -> anyhow::Result<String> {
    let found = selected_malls(db, &[configured.to_owned()]).await.map_err(|error| {
        match error.downcast::<Failure>() {
            Ok(failure) => {
                let message = format!("[{section}] mall: {}", failure.message);
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

/// See [`Args::interpretation`]. The mapping is that of the section and its preset together, without what says nothing about
/// a line.
fn interpretation(
    encodings: &[TextEncoding],
    delimiter: u8,
    mall: Option<&str>,
    keys: &ImportSection,
) -> String {
    let mut meaning = keys.clone();
    meaning.allow_empty = None;
    meaning.inbox_pattern = OneOrMore::default();
    meaning.holds = None;
    let plain: Option<BTreeMap<&String, &str>> =
        keys.columns.iter().map(|(ours, theirs)| Some((ours, theirs.plain()?))).collect();
    // What could be said before there were presets has the digest that it had: a file that was imported stays so.
    if let (Some(columns), [encoding], formats @ ([] | [_])) = (plain, encodings, keys.time_format.as_ref()) {
        let mut old = ImportSection::default();
        old.mall.clone_from(&keys.mall);
        old.encoding = keys.encoding.clone();
        old.delimiter = keys.delimiter;
        old.time_format = keys.time_format.clone();
        old.columns =
            columns.iter().map(|(ours, theirs)| ((*ours).clone(), ImportColumn::named(theirs))).collect();
        old.values.clone_from(&keys.values);
        if old == meaning {
            let (format, values) = (formats.first(), &keys.values);
            let encoded = keys.encoding.first().copied().unwrap_or_default();
            let config = format!(
                "ImportFile {{ columns: {columns:?}, time_format: {format:?}, mall: {:?}, \
                 encoding: {encoded:?}, delimiter: {:?}, values: {values:?} }}",
                keys.mall, keys.delimiter
            );
            return fingerprint(format!("{encoding} {delimiter} {mall:?} {config}"));
        }
    }
    fingerprint(format!("{encodings:?} {delimiter} {mall:?} {meaning:?}"))
}

/// What is worth knowing about the good lines of a file, in words.
fn notes_in_words<K: FileKind>(layout: &Layout, notes: &Notes) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |noted: &Noted, one: &str, many: &str| {
        if noted.count > 0 {
            let amounts: Vec<String> =
                noted.amounts.iter().map(|(currency, amount)| money_in_words(*amount, currency)).collect();
            words.push(format!(
                "{} ({}): {}",
                counted(noted.count, one, many),
                amounts.join(", "),
                examples(noted)
            ));
        }
    };
    say(
        &notes.assumed_refunds,
        "order counts as refunded in full: it is REFUNDED, or was cancelled after it was paid, without an amount",
        "orders count as refunded in full: they are REFUNDED, or were cancelled after they were paid, without an amount",
    );
    say(
        &notes.kept_refunds,
        "order counts in full until its refund is imported: it is REFUNDED, or was cancelled after it was paid",
        "orders count in full until their refunds are imported: they are REFUNDED, or were cancelled after they were paid",
    );
    say(
        &notes.assumed_payments,
        "paid order has no payment day and counts on another of its days",
        "paid orders have no payment day and count on another of their days",
    );
    say(
        &notes.assumed_cancellations,
        "cancelled order has no day of it and counts on another of its days",
        "cancelled orders have no day of it and count on another of their days",
    );
    say(
        &notes.paid_waiting,
        "order waits for its payment (PAYMENT_WAIT) but has a payment day, and counts as paid",
        "orders wait for their payment (PAYMENT_WAIT) but have a payment day, and count as paid",
    );
    say(
        &notes.standing_cancelled,
        "order has the day of a cancellation but is not ORDER_CANCELLED, and counts among the cancelled ones too",
        "orders have the day of a cancellation but are not ORDER_CANCELLED, and count among the cancelled ones too",
    );
    say(
        &notes.kept_cancellations,
        "order was cancelled after it was paid and counts in full: nothing of it was paid back",
        "orders were cancelled after they were paid and count in full: nothing of them was paid back",
    );
    say(
        &notes.refunds_above_total,
        "order had more paid back than it cost",
        "orders had more paid back than they cost",
    );
    say(
        &notes.refunds_of_unpaid,
        "order has an amount that was paid back but no payment day, and counts neither as a sale nor as a refund",
        "orders have an amount that was paid back but no payment day, and count neither as sales nor as refunds",
    );
    say(
        &notes.partly_cancelled,
        "order counts in full although some of its items were cancelled or returned: no amount says what was paid back",
        "orders count in full although some of their items were cancelled or returned: no amount says what was paid back",
    );
    say(
        &notes.negative_deductions,
        "order has a negative amount where one is deducted, which adds to it",
        "orders have a negative amount where one is deducted, which adds to them",
    );
    say(
        &notes.left_out_sales,
        "order that a rule leaves out was stored earlier as a sale, and stays one",
        "orders that a rule leaves out were stored earlier as sales, and stay so",
    );
    say(
        &notes.unbalanced,
        "total is not the sum of its lines, shipping, fees and tax less discounts",
        "totals are not the sums of their lines, shipping, fees and taxes less discounts",
    );
    for (rule, lines) in &notes.left_out {
        let name = layout.skip_rules().get(*rule).map_or("", |rule| rule.name.as_str());
        words.push(format!("{} left out by the rule `{name}`", counted(*lines, "line was", "lines were")));
    }
    words
}

fn money_in_words(amount: i128, currency: &str) -> String {
    match i64::try_from(amount) {
        Ok(amount) => format!("{} {currency}", minor_to_display(amount, currency)),
        Err(_) => format!("more than can be counted in {currency}"),
    }
}

/// The first few of those that were noted.
fn examples(noted: &Noted) -> String {
    let more = if noted.count > noted.examples.len() as u64 { ", …" } else { "" };
    format!("{}{more}", noted.examples.join("; "))
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
    /// See [`Checkpoint::origin`].
    origin: String,
    /// When it was exported.
    exported: DateTime<Utc>,
    interpretation: String,
    /// What tells which days have come with it.
    arriving: Option<Arriving>,
    chunk_lines: u64,
}

impl ImportedFile {
    /// The checkpoint after so many lines.
    fn checkpoint(&self, lines: u64, left_out: u64, days: FileDays) -> Checkpoint {
        Checkpoint {
            lines,
            left_out,
            interpretation: self.interpretation.clone(),
            exported: Some(self.exported),
            dates_records: !self.layout.records_changes(),
            origin: Some(self.origin.clone()),
            days,
        }
    }

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
        Err(Failure::bad_input(format!("`{}` changed while it was read", self.source.path().display()))
            .hint(advice))
    }
}

// ---------------------------------------------------------------- the first pass

/// What the first pass found.
#[derive(Default)]
struct Checked {
    lines: u64,
    bad: BadLines,
    duplicates: BTreeMap<u64, u64>,
    notes: Notes,
}

/// A first pass: reads the whole file as the load will, and writes nothing.
struct Checking<K: FileKind> {
    feed: Feed<K::Rows>,
    checked: Checked,
}

impl<K: FileKind> Checking<K> {
    fn start(file: &ImportedFile, db: &Db) -> Self {
        Self { feed: file.feed::<K>(Pass::Check, db), checked: Checked::default() }
    }

    /// Takes the next chunk; false at the end.
    async fn advance(&mut self, file: &ImportedFile, db: &mut Db) -> anyhow::Result<bool> {
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
async fn left_out_sales<K: FileKind>(db: &mut Db, left_out: &[LeftOut]) -> anyhow::Result<Notes> {
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
async fn check_all<K: FileKind>(run: &mut Run<'_>, file: &ImportedFile) -> anyhow::Result<Checked> {
    let mut checking = Checking::<K>::start(file, run.db);
    loop {
        run.check_stop()?;
        if !checking.advance(file, run.db).await? {
            return Ok(checking.checked);
        }
    }
}

fn too_many_duplicates<K: FileKind>(file: &ImportedFile, lines: usize) -> Failure {
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
fn note_more_bad_lines(run: &mut Run<'_>, file: &ImportedFile, phase: &str, bad: &BadLines, shown: usize) {
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

// ---------------------------------------------------------------- the second pass

/// Where a chunk ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    /// The lines of the file up to there, without the header.
    lines: u64,
    /// The good ones of them that were left out with a bad one.
    #[serde(default)]
    left_out: u64,
    /// See [`interpretation`]. Checkpoints of older versions call it `manner`.
    #[serde(alias = "manner")]
    interpretation: String,
    /// When the file was exported.
    #[serde(default)]
    exported: Option<DateTime<Utc>>,
    /// Whether that is the time of its records.
    #[serde(default)]
    dates_records: bool,
    /// The mall and the section of the configuration: files of others are not older or newer states of the same.
    #[serde(default)]
    origin: Option<String>,
    /// How many rows of each day there were.
    #[serde(default, skip_serializing_if = "FileDays::is_empty")]
    days: FileDays,
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
    let (id, now) = (run.id(), run.cx.now());
    let earlier: Option<Checkpoint> = run.checkpoint()?;
    let Checkpoint { lines: done_before, mut left_out, mut days, .. } =
        earlier.filter(|earlier| earlier.interpretation == file.interpretation).unwrap_or_default();
    if done_before == 0 && run.counts() != history::Counts::default() {
        run.start_over().await?;
    }
    run.leave_out(left_out);
    run.show_progress_after(done_before, Some(checked.lines));
    let mut loaded = Loaded { done_before, ..Loaded::default() };
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
        let checkpoint = file.checkpoint(chunk.lines_so_far, left_out, days.clone());
        // As long as nothing was loaded, a later attempt starts over: a mall may have been added in the meantime.
        let is_worth_a_checkpoint = done_before > 0 || loaded.outcome != UpsertCounts::default() || !is_empty;
        let layout = Arc::clone(&file.layout);
        let (outcome, days_so_far) = run
            .chunk_ending(async |db| {
                let (mut outcome, mut checkpoint) = (UpsertCounts::default(), checkpoint);
                if !is_empty {
                    if !K::LOOKS_UP {
                        chunk.rows.stage(db).await?;
                    }
                    outcome = K::store(db, &layout, now).await?;
                    if let Some(arriving) = &file.arriving {
                        arriving.add(db, &mut checkpoint.days).await?;
                    }
                }
                let written = u64::try_from(outcome.written_lines).unwrap_or(0);
                let stored = is_worth_a_checkpoint.then(|| serde_json::to_string(&checkpoint)).transpose()?;
                Ok(((outcome, checkpoint.days), written, stored))
            })
            .await?;
        days = days_so_far;
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
        let checkpoint = is_unnoted.then(|| file.checkpoint(0, left_out, FileDays::default()));
        run.chunk(checkpoint.as_ref(), async |db| match &file.arriving {
            Some(arriving) => arriving.note(db, &days, id, now).await,
            None => Ok(()),
        })
        .await?;
    }
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
