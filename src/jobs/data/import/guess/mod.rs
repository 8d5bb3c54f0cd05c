//! `data import --guess FILE`: looks at the header and some lines of a file, and writes the mapping that it believes in, with
//! its doubts as comments. It stores nothing and runs nothing: what it proposes is then tried on the sampled lines, and what
//! would be bad about them is said.

mod sample;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::config::{ImportSection, Quotes};
use crate::context::Context;
use crate::db::{Kind as DbKind, Problems};
use crate::failure::Failure;
use crate::money::is_known_currency;
use crate::printable::{escaped, shortened};
use crate::shop::malls::Mall;
use crate::text_encoding::TextEncoding;
use crate::wording::{command, counted};

use super::bad_lines::BadLines;
use super::container::Content;
use super::feed::{Feed, FeedMessage, Pass, ReadPlan};
use super::field::{Column, Holds};
use super::kind::FileKind;
use super::kinds::Kind;
use super::layout::Layout;
use super::mapping::Mapping;
use super::presets;
use super::reader::Source;
use super::words::normal;

use sample::Sample;
use shape::{Amounts, Shape};

/// The kinds that shops export under many names. The others are made for batchctl, with its own.
const KINDS: [Kind; 4] = [Kind::Orders, Kind::Members, Kind::Products, Kind::Refunds];
/// A preset has to know so many of a file's headers; with fewer, any file would be one of its.
const LEAST_HEADERS: usize = 4;
/// Different words of a column that are listed. A column with more has no states.
const MOST_WORDS: usize = 60;
/// Characters of a word that are shown.
const WORD_CHARACTERS: usize = 40;
/// Kinds of problems that are shown.
const SHOWN_PROBLEMS: usize = 8;
/// The mall and the currency that stand in while the sample is tried.
const MALL: &str = "main";
const CURRENCIES: [&str; 3] = ["JPY", "KRW", "USD"];

/// What shops call our columns and states.
#[derive(Debug, Deserialize)]
struct Vocabulary {
    /// Our column to the names of its headers.
    columns: BTreeMap<String, Vec<String>>,
    /// Our column to our words for it to theirs.
    #[serde(default)]
    values: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// What is asked.
pub(super) struct Question<'a> {
    /// What is looked at.
    pub(super) content: &'a Content,
    /// The file as it was named, which may be an archive.
    pub(super) file: &'a Path,
    /// The member of the archive.
    pub(super) member: Option<&'a str>,
    /// What it contains, if that is known.
    pub(super) kind: Option<Kind>,
    /// Its encoding, if that is known.
    pub(super) encoding: Option<TextEncoding>,
    /// The delimiter between its fields, if that is known.
    pub(super) delimiter: Option<char>,
}

/// How the file is written, as far as that is not a matter of its columns.
struct Form {
    encoding: TextEncoding,
    delimiter: char,
    quotes: bool,
    doubts: Vec<String>,
}

/// A mapping that may be meant.
struct Proposal {
    kind: Kind,
    /// The preset, if one fits.
    preset: Option<&'static str>,
    /// The section as it is to be written, without its encoding and delimiter.
    section: String,
    /// What could not be told.
    doubts: Vec<String>,
    /// The required columns that were not found.
    missing: Vec<&'static str>,
}

/// Prints the mapping of a file. An error if something that is needed could not be told.
pub(super) async fn guess(cx: &Context, question: &Question<'_>) -> anyhow::Result<()> {
    let sample = Sample::of(question.content)?;
    let (page, missing) = propose(question, &sample).await?;
    cx.output.data(page.as_bytes())?;
    match missing.as_slice() {
        [] => Ok(()),
        missing => Err(Failure::bad_input(format!(
            "could not tell which columns of `{}` are {}",
            question.file.display(),
            missing.join(", ")
        ))
        .hint("name their headers in what was printed; docs/import.md says what each column means")
        .into()),
    }
}

/// What is printed, and the required columns that could not be told.
async fn propose(question: &Question<'_>, sample: &Sample) -> anyhow::Result<(String, Vec<&'static str>)> {
    let words = Vocabularies::read()?;
    let form = form(sample, question, &words)?;
    let source = sample.source(form.encoding, u8::try_from(form.delimiter).unwrap_or(b','), form.quotes);
    let (_, header) = source.open()?;
    let proposal = match preset_of(question.kind, &header) {
        Some((kind, preset)) => of_preset(kind, preset, sample, &source, &header)?,
        None => by_names(question.kind, &words, sample, &source, &header)?,
    };
    let text = written(&form, &proposal);
    let trial = if proposal.missing.is_empty() {
        trial(&text, &proposal, sample, &source, &header).await?
    } else {
        None
    };
    Ok((heading(question, sample, &proposal, trial.as_ref()) + &text, proposal.missing))
}

/// The encoding, the delimiter, and whether quotes enclose fields.
fn form(sample: &Sample, question: &Question<'_>, words: &Vocabularies) -> Result<Form, Failure> {
    let mut doubts = Vec::new();
    let encoding = match (question.encoding, sample.encodings.as_slice()) {
        (Some(encoding), _) => encoding,
        (None, []) => {
            return Err(Failure::bad_input(format!(
                "`{}` is not text in UTF-8, Shift_JIS or EUC-KR",
                question.file.display()
            ))
            .hint("save it in one of them; in Excel: \"CSV UTF-8\""));
        }
        (None, [only]) => *only,
        (None, several) => {
            let best = several.iter().copied().max_by_key(|encoding| known_headers(sample, words, *encoding));
            let names: Vec<&str> = several.iter().map(|encoding| encoding.name()).collect();
            doubts.push(format!(
                "the encoding may be {}: look at a name or two after the import",
                names.join(" or ")
            ));
            best.unwrap_or_default()
        }
    };
    let delimiter = question.delimiter.or_else(|| sample.delimiter(encoding));
    if delimiter.is_none() {
        doubts.push("the file has one column only: another delimiter?".to_owned());
    }
    let delimiter = delimiter.unwrap_or(',');
    // A quote in the middle of a field that is not quoted as a whole: quotes are characters like others there.
    let quotes =
        sample.can_be_read(encoding, delimiter, true) || !sample.can_be_read(encoding, delimiter, false);
    Ok(Form { encoding, delimiter, quotes, doubts })
}

/// How many headers are known if the file is in this encoding.
fn known_headers(sample: &Sample, words: &Vocabularies, encoding: TextEncoding) -> usize {
    let delimiter = sample.delimiter(encoding).and_then(|delimiter| u8::try_from(delimiter).ok());
    let header = sample.source(encoding, delimiter.unwrap_or(b','), true).open().map(|(_, header)| header);
    let header = header.unwrap_or_default();
    let known = KINDS.iter().flat_map(|kind| words.of(*kind).columns.values().flatten());
    let known: BTreeSet<String> = known.map(|name| normal(name).into_owned()).collect();
    let is_known = |name: &&String| known.contains(normal(name).as_ref());
    let in_presets = KINDS.iter().flat_map(|kind| candidates(*kind, &header)).map(|(known, _)| known).max();
    header.iter().filter(is_known).count().max(in_presets.unwrap_or(0))
}

/// What shops call things, by the kind of file.
struct Vocabularies(BTreeMap<String, Vocabulary>);

impl Vocabularies {
    fn read() -> anyhow::Result<Self> {
        Ok(Self(toml::from_str(include_str!("words.toml"))?))
    }

    /// That of a kind; nothing for one whose files are made for batchctl.
    fn of(&self, kind: Kind) -> &Vocabulary {
        static NONE: Vocabulary = Vocabulary { columns: BTreeMap::new(), values: BTreeMap::new() };
        self.0.get(kind.name()).unwrap_or(&NONE)
    }
}

// ---------------------------------------------------------------- presets

/// The presets that fit a header, with the number of its names that each knows.
fn candidates(kind: Kind, header: &[String]) -> Vec<(usize, &'static str)> {
    let mut fitting = Vec::new();
    for name in presets::names() {
        let Ok(mapping) = Mapping::of_preset(kind, name) else { continue };
        if layout(&mapping, header, CURRENCIES[0]).is_err() {
            continue;
        }
        let names: Vec<String> = header.iter().map(|name| normal(name).into_owned()).collect();
        let known = mapping.keys.headers().filter(|wanted| names.contains(&normal(wanted).into_owned()));
        let known: BTreeSet<&str> = known.collect();
        fitting.push((known.len(), name));
    }
    fitting
}

/// The preset that knows most of the header, and what kind of file it is.
fn preset_of(kind: Option<Kind>, header: &[String]) -> Option<(Kind, &'static str)> {
    let kinds = kind.map_or(KINDS.to_vec(), |kind| vec![kind]);
    let all = kinds
        .into_iter()
        .flat_map(|kind| candidates(kind, header).into_iter().map(move |(known, name)| (known, kind, name)));
    let (known, kind, name) = all.max_by_key(|(known, ..)| *known)?;
    (known >= LEAST_HEADERS).then_some((kind, name))
}

/// A mapping by a preset, with the words that it does not know.
fn of_preset(
    kind: Kind,
    preset: &'static str,
    sample: &Sample,
    source: &Source,
    header: &[String],
) -> anyhow::Result<Proposal> {
    let mapping = Mapping::of_preset(kind, preset)?;
    let mut section = format!("preset = \"{preset}\"\n");
    let mut doubts = Vec::new();
    for column in kind.columns().iter().filter(|column| !column.words.is_empty()) {
        let Some(headers) =
            mapping.keys.columns.get(column.name).map(|column| column.headers().collect::<Vec<_>>())
        else {
            continue;
        };
        let Some(place) = headers.iter().find_map(|wanted| place(header, wanted)) else { continue };
        let words = words_at(sample, source, place)?;
        let known = mapping.keys.values.get(column.name);
        let unknown: Vec<(&String, &u64)> = words
            .iter()
            .filter(|(word, _)| {
                !column.words.contains(&word.as_str())
                    && known.is_none_or(|known| {
                        !known.contains_key("*") && !known.keys().any(|one| normal(one) == normal(word))
                    })
            })
            .collect();
        if unknown.is_empty() || unknown.len() > MOST_WORDS {
            continue;
        }
        // A rule of the preset may decide on such lines.
        let _ = writeln!(section, "\n[import.{}.values.{}]", kind.name(), column.name);
        let _ =
            writeln!(section, "# The preset does not know these; a rule of it may decide before they count.");
        for (word, count) in unknown {
            let _ = writeln!(section, "#{} = \"?\"   # {}", quoted(word), counted(*count, "line", "lines"));
            doubts.push(format!("what `{}` means", shortened(word, WORD_CHARACTERS)));
        }
    }
    Ok(Proposal { kind, preset: Some(preset), section, doubts, missing: Vec::new() })
}

// ---------------------------------------------------------------- by names

/// A mapping by what headers are called.
fn by_names(
    kind: Option<Kind>,
    words: &Vocabularies,
    sample: &Sample,
    source: &Source,
    header: &[String],
) -> anyhow::Result<Proposal> {
    let kind = kind.unwrap_or_else(|| likely_kind(words, header));
    let vocabulary = words.of(kind);
    let columns = kind.columns();
    let found = found(vocabulary, &columns, header);
    let shapes = shape::of(sample, source, found.values().copied())?;
    let mut doubts = Vec::new();
    let mut section = general(&columns, &found, &shapes, &mut doubts);
    if shape::is_filled_down(sample, source, &found)? {
        section
            .push_str("fill_down = true   # blank fields mean the same as on the first line of the order\n");
    }
    if !found.contains_key("mall") {
        section.push_str("#mall = \"main\"   # or --mall: the file does not say whose it is\n");
    }
    let _ = writeln!(section, "\n[import.{}.columns]", kind.name());
    for column in &columns {
        if let Some(place) = found.get(column.name) {
            let shape = shapes.get(place);
            section.push_str(&mapped(column, &header[*place], shape, &mut doubts));
        }
    }
    let unused: Vec<&str> = header
        .iter()
        .enumerate()
        .filter(|(place, name)| !name.is_empty() && !found.values().any(|used| used == place))
        .map(|(_, name)| name.as_str())
        .collect();
    let missing: Vec<&'static str> = columns
        .iter()
        .filter(|column| {
            column.is_required && !found.contains_key(column.name) && !is_made_up_for(column, &found)
        })
        .map(|column| column.name)
        .collect();
    for column in &missing {
        let _ = writeln!(section, "{column} = \"?\"   # which of the headers below is it?");
    }
    if !unused.is_empty() {
        let _ = writeln!(section, "# not used: {}", escaped(&unused.join(", ")));
    }
    for (name, ours) in &vocabulary.values {
        if let Some(place) = found.get(name.as_str()) {
            section.push_str(&values(kind, name, ours, &words_at(sample, source, *place)?, &mut doubts));
        }
    }
    Ok(Proposal { kind, preset: None, section, doubts, missing })
}

/// The kind whose words the header has most of; the orders of a file that has none.
fn likely_kind(words: &Vocabularies, header: &[String]) -> Kind {
    let found_of = |kind: Kind| {
        let columns = kind.columns();
        let found = found(words.of(kind), &columns, header);
        let required =
            columns.iter().filter(|column| column.is_required && found.contains_key(column.name)).count();
        (required, found.len())
    };
    // Of two alike the first.
    KINDS.into_iter().rev().max_by_key(|kind| found_of(*kind)).unwrap_or(Kind::Orders)
}

/// Where our columns are: a header that has our own name, else the most usual name that the header has, each once.
fn found(vocabulary: &Vocabulary, columns: &[Column], header: &[String]) -> BTreeMap<&'static str, usize> {
    let mut found: BTreeMap<&'static str, usize> = BTreeMap::new();
    for column in columns {
        if let Some(place) = header.iter().position(|name| name == column.name) {
            found.insert(column.name, place);
        }
    }
    // The most usual names of all columns before the less usual ones of any.
    let most = vocabulary.columns.values().map(Vec::len).max().unwrap_or(0);
    for rank in 0..most {
        for column in columns {
            if found.contains_key(column.name) {
                continue;
            }
            let names = vocabulary.columns.get(column.name);
            let Some(name) = names.and_then(|names| names.get(rank)) else { continue };
            if let Some(place) = place(header, name)
                && !found.values().any(|used| *used == place)
            {
                found.insert(column.name, place);
            }
        }
    }
    found
}

fn place(header: &[String], wanted: &str) -> Option<usize> {
    header.iter().position(|name| normal(name) == normal(wanted))
}

/// Whether a required column follows from others.
fn is_made_up_for(column: &Column, found: &BTreeMap<&'static str, usize>) -> bool {
    column.name == "unit_price_amount" && found.contains_key("line_amount")
}

/// The keys that concern the whole file: times and amounts.
fn general(
    columns: &[Column],
    found: &BTreeMap<&'static str, usize>,
    shapes: &BTreeMap<usize, Shape>,
    doubts: &mut Vec<String>,
) -> String {
    let mut section = String::new();
    let times = columns.iter().filter(|column| column.holds == Holds::Time);
    let mut formats: Vec<&'static str> = Vec::new();
    for column in times {
        let Some(shape) = found.get(column.name).and_then(|place| shapes.get(place)) else { continue };
        if let Some([first, ..]) = shape.time_formats()
            && !formats.contains(first)
        {
            formats.push(first);
        }
        if let Some(doubt) = shape.doubt_about_days() {
            doubts.push(format!("`{}`: {doubt}", column.name));
        }
    }
    // The plain form needs no setting, but has to be among others.
    if formats.iter().any(|format| *format != shape::PLAIN) {
        let formats: Vec<String> = formats.iter().map(|format| format!("\"{format}\"")).collect();
        let _ = writeln!(section, "time_format = [{}]", formats.join(", "));
    }
    let amounts = columns.iter().filter(|column| column.name.ends_with("amount"));
    let mut all = Amounts::default();
    for column in amounts {
        if let Some(shape) = found.get(column.name).and_then(|place| shapes.get(place)) {
            all.join(&shape.amounts);
        }
    }
    if all.has_thousands {
        section.push_str("thousands = \",\"\n");
    }
    if !all.signs.is_empty() {
        let signs: Vec<String> = all.signs.iter().map(|sign| quoted(sign)).collect();
        let _ = writeln!(section, "currency_signs = [{}]", signs.join(", "));
    }
    section
}

/// The line of a column, with what is doubtful about it.
fn mapped(column: &Column, header: &str, shape: Option<&Shape>, doubts: &mut Vec<String>) -> String {
    let mut line = format!("{} = {}", column.name, quoted(header));
    let mut remarks = Vec::new();
    if let Some(shape) = shape {
        if shape.is_empty() {
            remarks.push("empty on every sampled line".to_owned());
        }
        if column.holds == Holds::Time
            && !shape.is_empty()
            && shape.time_formats().is_some_and(<[_]>::is_empty)
        {
            remarks.push(format!("not a time in a form that is known: `{}`", shape.example()));
            doubts.push(format!("how the times of `{}` are written", column.name));
        }
        if shape.amounts.is_negative && column.name.ends_with("amount") && column.name != "unit_price_amount"
        {
            remarks
                .push("negative on some lines: refunds belong into a file or column of their own".to_owned());
            doubts.push(format!("what the negative amounts of `{}` are", column.name));
        }
        if column.name == "currency" && !shape.values().all(is_known_currency) && !shape.is_empty() {
            remarks.push(format!("not a currency: `{}`", shape.example()));
        }
    }
    if !remarks.is_empty() {
        let _ = write!(line, "   # {}", escaped(&remarks.join("; ")));
    }
    line.push('\n');
    line
}

/// The words of a column: those that are known, and those that only the shop knows.
fn values(
    kind: Kind,
    column: &str,
    ours: &BTreeMap<String, Vec<String>>,
    words: &BTreeMap<String, u64>,
    doubts: &mut Vec<String>,
) -> String {
    if words.len() > MOST_WORDS {
        doubts
            .push(format!("`{column}` has more than {MOST_WORDS} different words: is it the right header?"));
        return String::new();
    }
    let meaning = |word: &str| {
        let is_known = |known: &String| normal(known) == normal(word);
        ours.iter().find(|(_, theirs)| theirs.iter().any(is_known)).map(|(ours, _)| ours.as_str())
    };
    let mut section = String::new();
    for (word, count) in words.iter().filter(|(word, _)| !ours.contains_key(*word)) {
        let count = counted(*count, "line", "lines");
        let _ = if let Some(ours) = meaning(word) {
            writeln!(section, "{} = \"{ours}\"   # {count}", quoted(word))
        } else {
            doubts.push(format!("what the {column} `{}` means", shortened(word, WORD_CHARACTERS)));
            writeln!(section, "#{} = \"?\"   # {count}: what does it mean?", quoted(word))
        };
    }
    if section.is_empty() {
        return section;
    }
    let choices: Vec<&str> = ours.keys().map(String::as_str).collect();
    format!("\n[import.{}.values.{column}]   # one of {}\n{section}", kind.name(), choices.join(", "))
}

/// The different words of a field, with the number of lines.
fn words_at(sample: &Sample, source: &Source, place: usize) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut words = BTreeMap::new();
    sample.lines(source, |record| {
        let word = record.field(place);
        if word.is_empty() {
            return;
        }
        if let Some(count) = words.get_mut(word) {
            *count += 1;
        } else if words.len() <= MOST_WORDS {
            words.insert(word.to_owned(), 1);
        }
    })?;
    Ok(words)
}

/// A text as TOML writes it, on one line: JSON's escapes are those of TOML, but for DEL.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

// ---------------------------------------------------------------- trying and writing it

/// The whole section.
fn written(form: &Form, proposal: &Proposal) -> String {
    let mut text = format!("[import.{}]\n", proposal.kind.name());
    // A preset knows how its platform writes files.
    let is_said = proposal.preset.is_some_and(|preset| {
        Mapping::of_preset(proposal.kind, preset).is_ok_and(|mapping| {
            let keys = &mapping.keys;
            (keys.encoding.contains(&form.encoding)
                || (keys.encoding.is_empty() && form.encoding == TextEncoding::Utf8))
                && keys.delimiter.unwrap_or(',') == form.delimiter
                && [Quotes::Auto, form.quotes.into()].contains(&keys.quotes.unwrap_or_default())
        })
    });
    if !is_said {
        if form.encoding != TextEncoding::Utf8 {
            let _ = writeln!(text, "encoding = \"{}\"", form.encoding.name());
        }
        if form.delimiter != ',' {
            let _ = writeln!(text, "delimiter = {}", quoted(&form.delimiter.to_string()));
        }
        if !form.quotes {
            text.push_str("quotes = false   # a quotation mark is a character like any other\n");
        }
    }
    for doubt in &form.doubts {
        let _ = writeln!(text, "# {doubt}");
    }
    text + &proposal.section
}

/// A mall stands in: which one it is says the command line.
fn layout(mapping: &Mapping, header: &[String], currency: &str) -> Result<Layout, Failure> {
    let mall = Mall {
        id: 1,
        code: MALL.to_owned(),
        name: MALL.to_owned(),
        platform: "csv".to_owned(),
        time_zone: "Asia/Tokyo".to_owned(),
        currency: currency.to_owned(),
        is_active: true,
        account: None,
        shop_no: 1,
        problems: Problems::default(),
    };
    let columns = mapping.kind().columns();
    Layout::new(mapping, "the file", header, columns, &[mall], Some(MALL.to_owned()))
}

/// What is wrong with the sampled lines if they are read as proposed.
#[derive(Default)]
pub(super) struct Trial {
    lines: u64,
    bad: BadLines,
    /// A fault of the file, which would end its import.
    fault: Option<String>,
}

/// Reads the sampled lines as proposed; `None` if that needs the stored data.
async fn trial(
    text: &str,
    proposal: &Proposal,
    sample: &Sample,
    source: &Source,
    header: &[String],
) -> anyhow::Result<Option<Trial>> {
    if proposal.kind == Kind::Refunds {
        return Ok(None);
    }
    let section: BTreeMap<String, BTreeMap<String, ImportSection>> = toml::from_str(text)?;
    let section = section.into_iter().next().and_then(|(_, kinds)| kinds.into_iter().next());
    let Some((_, section)) = section else { return Ok(None) };
    let mapping = Mapping::of_section(proposal.kind, section)?;
    let mut best: Option<Trial> = None;
    // Which currency a mall has is not in the file; amounts with decimals do not fit all of them.
    for currency in CURRENCIES {
        let layout = Arc::new(layout(&mapping, header, currency)?);
        let tried = proposal.kind.try_lines(source, &layout, sample.is_whole).await?;
        if tried.bad.is_empty() {
            return Ok(Some(tried));
        }
        if best.as_ref().is_none_or(|best| tried.bad.count() < best.bad.count()) {
            best = Some(tried);
        }
    }
    Ok(best)
}

/// Reads the lines of the sample.
pub(super) async fn try_lines<K: FileKind>(
    source: &Source,
    layout: &Arc<Layout>,
    is_whole: bool,
) -> anyhow::Result<Trial> {
    let plan = ReadPlan {
        pass: Pass::Check,
        wanted: None,
        chunk_lines: sample::LINES as u64,
        database: DbKind::Sqlite,
    };
    let mut feed = Feed::<K::Rows>::start::<K>(source, layout, plan);
    let mut trial = Trial::default();
    loop {
        let message = match feed.next().await.map_err(anyhow::Error::downcast::<Failure>) {
            Ok(message) => message,
            // A fault of the file would end its import: that is worth saying, and no reason to say nothing else.
            Err(Ok(fault)) => return Ok(Trial { fault: Some(fault.message), ..trial }),
            Err(Err(error)) => return Err(error),
        };
        match message {
            FeedMessage::Chunk(chunk) => {
                trial.lines += chunk.lines;
                trial.bad.note(chunk.bad);
                // The last order of a sample may go on behind it.
                if !is_whole && trial.lines >= sample::LINES as u64 {
                    return Ok(trial);
                }
            }
            FeedMessage::End(_) => return Ok(trial),
        }
    }
}

/// What stands above the section.
fn heading(question: &Question<'_>, sample: &Sample, proposal: &Proposal, trial: Option<&Trial>) -> String {
    let mut text = String::new();
    let file = question.file.display();
    let _ = writeln!(
        text,
        "# {} by the header and some lines of {}.",
        proposal.kind.name(),
        escaped(&file.to_string())
    );
    if let Some(preset) = proposal.preset {
        let _ = writeln!(text, "# `batchctl data presets show {preset}` prints what the preset says.");
    }
    for doubt in &proposal.doubts {
        let _ = writeln!(text, "# doubt: {}", escaped(doubt));
    }
    if let Some(Trial { fault: Some(fault), .. }) = trial {
        let _ = writeln!(text, "# Tried: {}", escaped(fault));
    } else if let Some(Trial { lines, bad, .. }) = trial {
        let lines = counted(*lines, "line", "lines");
        let of = if sample.is_whole { "all" } else { "the first" };
        let _ = match bad.count() {
            0 => writeln!(text, "# Tried on {of} {lines}: all good."),
            count => writeln!(text, "# Tried on {of} {lines}: {} bad:", counted(count, "is", "are")),
        };
        for problem in bad.kinds_in_words(SHOWN_PROBLEMS) {
            let _ = writeln!(text, "#   {}", escaped(&problem));
        }
    }
    let file = file.to_string();
    let mut next = vec!["data", "import", "--kind", proposal.kind.name(), "--mall", "CODE", "--check"];
    if let Some(member) = question.member {
        next.extend(["--member", member]);
    }
    next.push(&file);
    let _ = writeln!(text, "# Put it into batchctl.toml, then: {}\n", escaped(&command(&next)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_names_only_columns_and_words_that_there_are_and_no_word_twice() {
        let words = Vocabularies::read().unwrap();
        assert_eq!(words.0.len(), KINDS.len());
        for kind in KINDS {
            let Vocabulary { columns, values } = words.of(kind);
            let known = kind.columns();
            let column = |name: &str| {
                known
                    .iter()
                    .find(|column| column.name == name)
                    .unwrap_or_else(|| panic!("{}: {name}", kind.name()))
            };
            for name in columns.keys() {
                assert_eq!(column(name).name, name);
            }
            for (name, ours) in values {
                let mut seen = BTreeSet::new();
                for (word, theirs) in ours {
                    assert!(column(name).words.contains(&word.as_str()), "{} {name}: {word}", kind.name());
                    for word in theirs {
                        assert!(seen.insert(normal(word).into_owned()), "{} {name}: {word}", kind.name());
                    }
                }
            }
        }
    }
}
