//! `data import --guess FILE`: looks at the header and some lines of a file, and writes the mapping that it believes in, with
//! its doubts as comments. It stores nothing and runs nothing: what it proposes is then tried on the sampled lines, and what
//! would be bad about them is said.

mod language;
mod money;
mod names;
mod numbers;
mod passed_over;
mod platform;
mod sample;
mod shape;
mod times;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use crate::config::{ImportSection, Quotes};
use crate::context::Context;
use crate::failure::Failure;
use crate::printable::escaped;
use crate::text_encoding::TextEncoding;
use crate::wording::{command, counted};

use super::container::Content;
use super::kinds::Kind;
use super::mapping::Mapping;
use super::reader::{Record, Source};
use super::words::normal;

use names::quoted;
use sample::Sample;

pub(super) use trial::{Trial, try_lines};

/// The kinds that shops export under many names. The others are made for batchctl, with its own.
const KINDS: [Kind; 4] = [Kind::Orders, Kind::Members, Kind::Products, Kind::Refunds];
/// Kinds of problems that are shown.
const SHOWN_PROBLEMS: usize = 8;

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
    /// What could not be told.
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

/// Prints the mapping of a file. An error if something that is needed could not be told, or if it would import nothing.
pub(super) async fn guess(cx: &Context, question: &Question<'_>) -> anyhow::Result<()> {
    let sample = Sample::of(question.content)?;
    let guessed = propose(question, &sample).await?;
    cx.output.data(guessed.page.as_bytes())?;
    guessed.refuse_useless(question.file)?;
    Ok(())
}

/// What is printed, and whether it can be used.
struct Guessed {
    page: String,
    /// The required columns that could not be told.
    missing: Vec<&'static str>,
    trial: Option<Trial>,
}

impl Guessed {
    fn refuse_useless(&self, file: &Path) -> Result<(), Failure> {
        let file = file.display();
        if !self.missing.is_empty() {
            return Err(Failure::bad_input(format!(
                "could not tell which columns of `{file}` are {}",
                self.missing.join(", ")
            ))
            .hint("name their headers in what was printed; docs/import.md says what each column means"));
        }
        match &self.trial {
            Some(trial) if trial.is_useless() => Err(Failure::bad_input(format!(
                "could not tell how `{file}` is to be read: not one of the sampled lines could be imported with the mapping \
                 that was printed"
            ))
            .hint("its comments say what is wrong with the lines; docs/import.md says what each key means")),
            _ => Ok(()),
        }
    }
}

async fn propose(question: &Question<'_>, sample: &Sample) -> anyhow::Result<Guessed> {
    let words = Vocabularies::read()?;
    let form = form(sample, question, &words)?;
    let source = sample.source(form.encoding, u8::try_from(form.delimiter).unwrap_or(b','), form.quotes);
    let (_, header) = source.open()?;
    refuse_data(question, &words, &header)?;
    let mut proposal = match platform::preset_of(question.kind, &header) {
        Some(fitting) if fitting.is_complete => platform::of_preset(fitting),
        fitting => {
            let kind = fitting.map(|fitting| fitting.kind).or(question.kind);
            let preset = fitting.map(|fitting| fitting.name);
            names::by_names(kind, preset, &words, &form, (sample, &source), &header)?
        }
    };
    let mut trial = None;
    if proposal.missing.is_empty() {
        if proposal.preset.is_some() {
            let mapping = mapping(&form, &proposal)?;
            let Proposal { section, doubts, .. } = &mut proposal;
            platform::add_unread_words(&mapping, sample, &source, &header, section, doubts)?;
        }
        trial = trial::trial(&mapping(&form, &proposal)?, sample, &source, &header).await?;
    }
    let page = heading(question, sample, &form, &proposal, trial.as_ref()) + &written(&form, &proposal);
    Ok(Guessed { page, missing: proposal.missing, trial })
}

/// Refuses a file whose first line is not a header. Nothing of it is shown: it may be about a customer.
fn refuse_data(question: &Question<'_>, words: &Vocabularies, header: &[String]) -> Result<(), Failure> {
    let is_data = |field: &&String| {
        let has_digits_alone =
            !field.is_empty() && field.chars().all(|c| c.is_ascii_digit() || ",.-".contains(c));
        has_digits_alone || field.contains('@') || times::is_any_time(field)
    };
    let known = known_names(words, header);
    let data = header.iter().filter(is_data).count();
    if data > known {
        return Err(Failure::bad_input(format!(
            "the first line of `{}` looks like data, and not like the names of columns: the header seems to be missing",
            question.file.display()
        ))
        .hint("export the file with its header, or write one as its first line"));
    }
    Ok(())
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
            let merit = |encoding: &TextEncoding| {
                (known_headers(sample, words, *encoding), plausibility(sample, *encoding))
            };
            let best = several.iter().copied().max_by_key(merit).unwrap_or_default();
            let others = several.iter().filter(|encoding| **encoding != best);
            let others: Vec<&str> = others.map(|encoding| encoding.name()).collect();
            doubts.push(format!(
                "the encoding: {best} is assumed, but the file can be read as {} too; look at a name or two after the import",
                others.join(" and ")
            ));
            best
        }
    };
    let is_utf8 = matches!(encoding, TextEncoding::Utf8 | TextEncoding::Utf8Bom);
    if !is_utf8 && sample.utf8_lines > 0 {
        let lines = counted(sample.utf8_lines as u64, "sampled line looks", "sampled lines look");
        doubts.push(format!(
            "the encoding: {encoding} is assumed, but {lines} like UTF-8: were two files put together? Their names would be wrong"
        ));
    }
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

/// The header if the file is in this encoding, and its reader's source.
fn read_as(sample: &Sample, encoding: TextEncoding) -> (Source, Vec<String>) {
    let delimiter = sample.delimiter(encoding).and_then(|delimiter| u8::try_from(delimiter).ok());
    let source = sample.source(encoding, delimiter.unwrap_or(b','), true);
    let header = source.open().map(|(_, header)| header).unwrap_or_default();
    (source, header)
}

/// How many headers are known if the file is in this encoding.
fn known_headers(sample: &Sample, words: &Vocabularies, encoding: TextEncoding) -> usize {
    known_names(words, &read_as(sample, encoding).1)
}

/// How plausible the text of the sample is if it is in this encoding.
fn plausibility(sample: &Sample, encoding: TextEncoding) -> i64 {
    let (source, _) = read_as(sample, encoding);
    let mut sum = 0;
    // What cannot be read to its end is judged by its beginning.
    drop(sample.lines(&source, |record: &mut Record| sum += language::plausibility(record, encoding)));
    sum
}

/// How many names of a header are known.
fn known_names(words: &Vocabularies, header: &[String]) -> usize {
    let known = KINDS.iter().flat_map(|kind| words.of(*kind).columns.values().flatten());
    let known: BTreeSet<String> = known.map(|name| normal(name).into_owned()).collect();
    let is_known = |name: &&String| known.contains(normal(name).as_ref());
    let in_presets = KINDS.iter().flat_map(|kind| platform::candidates(*kind, header));
    let in_presets = in_presets.map(|fitting| fitting.known).max().unwrap_or(0);
    let own = KINDS.iter().map(|kind| {
        let columns = kind.columns();
        header.iter().filter(|name| columns.iter().any(|column| column.name == name.as_str())).count()
    });
    header.iter().filter(is_known).count().max(in_presets).max(own.max().unwrap_or(0))
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

// ---------------------------------------------------------------- writing it

/// The whole section.
fn written(form: &Form, proposal: &Proposal) -> String {
    let mut text = format!("[import.{}]\n", proposal.kind.name());
    // A preset knows how its platform writes files; where this one is written otherwise, that goes before.
    let preset = proposal.preset.and_then(|preset| Mapping::of_preset(proposal.kind, preset).ok());
    let keys = preset.map(|mapping| mapping.keys).unwrap_or_default();
    let is_said = match keys.encoding.as_ref() {
        [] => form.encoding == TextEncoding::Utf8,
        said => said.contains(&form.encoding),
    };
    if !is_said {
        let _ = writeln!(text, "encoding = \"{}\"", form.encoding.name());
    }
    if form.delimiter != keys.delimiter.unwrap_or(',') {
        let _ = writeln!(text, "delimiter = {}", quoted(&form.delimiter.to_string()));
    }
    if ![Quotes::Auto, form.quotes.into()].contains(&keys.quotes.unwrap_or_default()) {
        let remark = if form.quotes { "" } else { "   # a quotation mark is a character like any other" };
        let _ = writeln!(text, "quotes = {}{remark}", form.quotes);
    }
    text + &proposal.section
}

/// The mapping that is proposed.
fn mapping(form: &Form, proposal: &Proposal) -> anyhow::Result<Mapping> {
    let mut kinds: BTreeMap<String, BTreeMap<String, ImportSection>> =
        toml::from_str(&written(form, proposal))?;
    let sections = kinds.remove("import").unwrap_or_default();
    let section = sections.into_values().next().unwrap_or_default();
    Mapping::of_section(proposal.kind, section)
}

/// What stands above the section.
fn heading(
    question: &Question<'_>,
    sample: &Sample,
    form: &Form,
    proposal: &Proposal,
    trial: Option<&Trial>,
) -> String {
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
    for doubt in form.doubts.iter().chain(&proposal.doubts) {
        let _ = writeln!(text, "# doubt: {}", escaped(doubt));
    }
    if let Some(trial) = trial {
        tell_trial(trial, sample.is_whole, &mut text);
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

/// What came of reading the sampled lines.
fn tell_trial(trial: &Trial, is_whole: bool, text: &mut String) {
    let Trial { lines, bad, fault, .. } = trial;
    if let Some(fault) = fault {
        let _ = writeln!(text, "# Tried: {}", escaped(fault));
        return;
    }
    if *lines == 0 {
        let _ = writeln!(text, "# doubt: all of it: the file has a header and no lines to try it on");
        return;
    }
    let lines = counted(*lines, "line", "lines");
    let of = if is_whole { "all" } else { "the first" };
    let _ = match bad.count() {
        0 => writeln!(text, "# Tried on {of} {lines}: all good."),
        count => writeln!(text, "# Tried on {of} {lines}: {} bad:", counted(count, "is", "are")),
    };
    for problem in bad.kinds_in_words(SHOWN_PROBLEMS) {
        let _ = writeln!(text, "#   {}", escaped(&problem));
    }
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
