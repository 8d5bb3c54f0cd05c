//! `data import`: loads a shop's data from CSV files: orders, members, products, refunds and the data of mails.
//!
//! For shops without an API. A first pass checks the whole file before anything is written; a second one loads it in
//! chunks. Stored records are replaced by their natural keys, so that loading the same file twice changes nothing, and
//! a run that was killed continues after its last chunk.

mod arrival;
mod articles;
mod bad_lines;
mod carts;
mod checkpoint;
mod consents;
mod container;
mod coupons;
#[cfg(test)]
mod database_tests;
mod duplicates;
mod feed;
mod field;
mod first_pass;
mod foreign;
mod guess;
mod imported_file;
mod inbox;
mod interpretation;
mod kind;
mod kinds;
mod layout;
mod line;
mod mapping;
mod members;
mod notes;
mod orders;
mod plan;
mod precedence;
pub mod presets;
mod products;
mod reader;
mod refunds;
mod second_pass;
mod selection;
mod subscriptions;
#[cfg(test)]
mod tests;
mod unit;
mod with_lines;
mod words;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{Holdings, ImportSection};
use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::period::parse_duration;
use crate::runner::{
    Completed, Exclusion, Freshness, Items, Job, JobSpec, Planned, Run, history, minutes, report_error,
};
use crate::severity::Severity;
use crate::shop::malls::{all_malls, selected_malls};
use crate::text_encoding::TextEncoding;
use crate::wording::counted;

use self::arrival::Arriving;
use self::checkpoint::Checkpoint;
use self::container::{Input, STANDARD_INPUT, on_a_thread};
use self::first_pass::{Checked, Checking, check_all, refuse_too_many_bad_lines};
use self::imported_file::ImportedFile;
use self::interpretation::interpretation;
use self::kind::FileKind;
use self::kinds::Kind;
use self::layout::{Layout, refuse_copies_of_orders};
use self::mapping::{Choice, Mapping};
use self::notes::{notes_in_words, split_in_words};
use self::precedence::Precedence;
use self::reader::{Source, encoding_of};
use self::second_pass::{load, prepare, wanted_lines};
use self::selection::{Piped, Selected};

pub use self::mapping::{check_kinds, mapping_problems};
pub use self::unit::File;

/// Lines to a commit: large enough that the statements' own cost vanishes, small enough that three chunks (one
/// being read, one waiting, one in the database) stay within a few MiB and a stop takes effect within a second.
const CHUNK_LINES: u64 = 10_000;

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
        if file.may_cover_more(db, earlier.as_ref(), cx.now()).await? {
            return Ok(Freshness::Due("it was exported once more, and nothing had changed".to_owned()));
        }
        let before = (completed.run.id, earlier.and_then(|earlier| earlier.exported));
        let Some(newest) = file.overtaken_by(db, before, cx.now()).await? else {
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
        file.announce(run).await?;
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
        let unstated = checked.notes.unstated(&file.layout);
        // A retry reads only the lines that failed.
        let is_whole = file.wanted.is_none();
        file.noted = if is_whole { unstated.fingerprint() } else { file.noted_before.clone() };
        let loaded = load::<K>(run, &file, checked).await?;
        run.summarise(loaded.sentence::<K>());
        // A shop that exports all of its orders every night would have the same said every night.
        let is_news = file.noted.is_some() && file.noted != file.noted_before;
        // On a terminal the summary already says it.
        let mut news = if is_news { notes_in_words::<K>(&file.layout, &unstated) } else { Vec::new() };
        let split = split_in_words(&loaded.split);
        news.extend(split.clone());
        let name = self.input.as_ref().map_or_else(|| file.name.clone(), Input::name);
        for note in news.iter().filter(|_| !run.cx.output.is_attended()) {
            run.cx.output.notice(&format!("{name}: {note}"));
        }
        for note in notes.into_iter().chain(split) {
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
            refuse_copies_of_orders(mapping.kind(), mall)?;
        }
        let source = self.source(&mapping.keys).await?;
        let (_, header) = source.open()?;
        let file_name = source.path().display().to_string();
        let interpretation = self.interpretation(mall.as_deref(), &mapping.keys);
        let precedence = Precedence::of(db, &file.key, &file.origin, cx.now()).await?;
        let other_parts_since = precedence.other_parts_since(file.exported);
        let Precedence { newest, noted, interpretation: before, dated_by_export, earlier, .. } = precedence;
        let is_overtaken = newest.is_some_and(|newest| newest.exported > file.exported);
        let is_of_period = mapping.keys.holds == Some(Holdings::Period);
        let arriving =
            Arriving::of(self, file.exported, is_of_period, malls.clone(), mall.as_deref(), earlier)?;
        let layout = Layout::new(&mapping, &file_name, &header, K::columns(), &malls, mall)?.exported(
            file.exported,
            dated_by_export,
            is_overtaken,
            before.as_ref() == Some(&interpretation),
        );
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
            noted: None,
            noted_before: noted,
            other_parts_since,
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
