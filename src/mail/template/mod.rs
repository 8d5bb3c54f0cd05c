//! The texts of all mails, by name and language.
//!
//! A template is two files, `NAME.LOCALE.txt` with front matter and the text part, and `NAME.LOCALE.html` with the
//! HTML part. Files in `mail.template_dir` override the built-in ones one by one. Files without a language
//! (`layout.html`) and those that begin with an underscore (`_footer.ja.txt`) are parts that others include. A missing
//! value is an error, never a gap in a customer's mail.

mod built_in;
mod check;
mod filters;
mod renderer;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::failure::Failure;
use crate::files::read_regular;
use crate::locale::{Locale, locale_of};

use check::UnknownVariable;
pub use check::{Finding, FindingLevel};
pub use renderer::Renderer;

/// The longest file of a template: far more than a mail may have.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// How many steps of the engine one text may take: a hundred times what our longest takes. Steps are quick, except for a
/// filter on a long text: [`Renderer`] limits the time.
const FUEL: u64 = 1_000_000;
/// The longest text that is rendered; no server accepts a mail of this size.
const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;
/// The suffix under which the engine finds a template's subject, a line of the text's front matter.
const SUBJECT: &str = ".subject";

/// Whether a mail has to be delivered, or the recipient may refuse it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Part of a contract: a receipt, a notice of payment, a report.
    #[default]
    Transactional,
    /// Advertising: needs consent and a way to unsubscribe.
    Marketing,
}

impl Category {
    /// Its value in the table `mails`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Transactional => "TRANSACTIONAL",
            Self::Marketing => "MARKETING",
        }
    }

    /// Parses the value.
    pub fn of(word: &str) -> Self {
        if word == "MARKETING" { Self::Marketing } else { Self::Transactional }
    }
}

/// What a template declares before its text, in TOML between two lines of `+++`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontMatter {
    /// The subject, itself a template.
    pub subject: toml::Spanned<String>,
    /// What the mail is for, in a sentence.
    pub description: String,
    /// Whether it is advertising.
    #[serde(default)]
    pub category: Category,
    /// Who decides its wording.
    pub owner: String,
    /// The variables that may be null, as paths: `coupon`, `items.url`.
    #[serde(default)]
    pub optional: Vec<String>,
    /// Values for preview and check; together with `optional` they name every variable there is.
    #[serde(default)]
    pub sample: toml::Table,
}

/// A mail's texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedMail {
    /// The template's name.
    pub name: String,
    /// The language it is in, which differs from the requested one if the template does not have it.
    pub locale: Locale,
    /// The requested language, if the mail is in another one.
    pub asked: Option<String>,
    /// Whether it is advertising.
    pub category: Category,
    /// The subject, one line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part, if the template has one.
    pub html: Option<String>,
}

impl RenderedMail {
    /// What to report if the mail is not in the requested language.
    pub fn fallback(&self) -> Option<String> {
        let asked = self.asked.as_deref()?;
        Some(format!("the mail template `{}` has no text in `{asked}`: used `{}`", self.name, self.locale))
    }
}

/// Where a template's file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It is built in.
    BuiltIn,
    /// It is in `mail.template_dir`.
    Folder,
}

/// One template in one language, as a list shows it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The template's name.
    pub name: String,
    /// Its language.
    pub locale: Locale,
    /// Its front matter.
    pub front_matter: FrontMatter,
    /// Its subject rendered with the sample, or unrendered if the sample does not suffice.
    pub subject: String,
    /// Where its text comes from.
    pub text_from: Origin,
    /// Where its HTML comes from, if it has any.
    pub html_from: Option<Origin>,
}

/// A template whose front matter is read.
#[derive(Debug)]
struct Prepared {
    front_matter: FrontMatter,
    has_html: bool,
}

/// By name and language; `None` if there is no such template.
type PreparedTemplates = HashMap<(String, Locale), Option<Arc<Prepared>>>;

/// All templates, built in and overridden.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    folder: Option<PathBuf>,
    /// Why the folder cannot be used; reported when a template is first needed.
    folder_problem: Option<Failure>,
    default_locale: Locale,
    globals: Map<String, Value>,
    prepared: Mutex<PreparedTemplates>,
}

impl Templates {
    /// The templates of this configuration. Each file is read and compiled once, when it is needed.
    pub fn new(config: &Config) -> Self {
        let mail = config.mail();
        let folder = mail.template_dir.as_ref().map(|folder| config.working_dir().join(folder));
        let from = mail.from.as_deref();
        let display_name =
            from.and_then(|from| from.split_once('<')).map(|(name, _)| name.trim().trim_matches('"'));
        let known = |text: Option<&str>| text.filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let shop = json!({
            "name": known(mail.shop.name.as_deref()).or_else(|| known(display_name)),
            "url": known(mail.shop.url.as_deref()),
            "address": known(mail.shop.address.as_deref()),
            "phone": known(mail.shop.phone.as_deref()),
            "support": known(mail.shop.support.as_deref()),
        });
        Self {
            environment: environment(folder.clone(), config.time_zone()),
            folder_problem: folder.as_deref().and_then(folder_problem),
            folder,
            default_locale: config.locale(),
            globals: Map::from_iter([("shop".to_owned(), shop)]),
            prepared: Mutex::new(HashMap::new()),
        }
    }

    /// Renders a mail in the language of a member's record (`ja`, `ja_JP`, `fr`), or in the next best one that the template
    /// has: the default language, English, any other; [`RenderedMail::fallback`] reports it. `data` is an object with the
    /// template's variables. A job renders by [`Renderer`], which does not wait for a template that never ends.
    pub fn render(&self, name: &str, language: &str, data: &Value) -> anyhow::Result<RenderedMail> {
        let wanted = locale_of(language);
        let (locale, prepared) = self.best(name, wanted)?;
        let variables = self.variables(prepared.front_matter.category, locale, data);
        let mail = self.render_prepared(name, locale, &prepared, &variables)?;
        Ok(RenderedMail { asked: (wanted != Some(locale)).then(|| language.to_owned()), ..mail })
    }

    /// Every template and language, in the order of names.
    pub fn list(&self) -> anyhow::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for name in self.names()? {
            for locale in Locale::ALL {
                let Some(prepared) = self.prepare(&name, locale)? else { continue };
                let origin = |extension: &str| -> anyhow::Result<Option<Origin>> {
                    Ok(self.read(&format!("{name}.{locale}.{extension}"))?.map(|(_, origin)| origin))
                };
                let front_matter = &prepared.front_matter;
                let variables =
                    self.variables(front_matter.category, locale, &check::sample_data(front_matter));
                let subject = self.subject(&format!("{name}.{locale}.txt"), &variables);
                entries.push(Entry {
                    locale,
                    subject: subject.unwrap_or_else(|_| front_matter.subject.as_ref().clone()),
                    front_matter: prepared.front_matter.clone(),
                    text_from: origin("txt")?.unwrap_or(Origin::BuiltIn),
                    html_from: origin("html")?,
                    name: name.clone(),
                });
            }
        }
        Ok(entries)
    }

    /// The names of all templates, including those with only an HTML part.
    pub fn names(&self) -> anyhow::Result<BTreeSet<String>> {
        self.usable()?;
        let mut files: Vec<String> = built_in::FILES.iter().map(|(file, _)| (*file).to_owned()).collect();
        if let Some(folder) = &self.folder {
            let unreadable = || format!("failed to read the folder of mail templates `{}`", folder.display());
            for entry in std::fs::read_dir(folder).with_context(unreadable)? {
                files.push(entry.with_context(unreadable)?.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(files.iter().filter_map(|file| Some(name_of(file)?.to_owned())).collect())
    }

    /// The data of a template's sample: its values, and null for optional values that it does not have.
    pub fn sample(&self, name: &str, language: &str) -> anyhow::Result<Value> {
        let (_, prepared) = self.best(name, locale_of(language))?;
        Ok(check::sample_data(&prepared.front_matter))
    }

    fn render_prepared(
        &self,
        name: &str,
        locale: Locale,
        prepared: &Prepared,
        variables: &minijinja::Value,
    ) -> anyhow::Result<RenderedMail> {
        let text_file = format!("{name}.{locale}.txt");
        let html = || self.render_file(&format!("{name}.{locale}.html"), variables);
        Ok(RenderedMail {
            name: name.to_owned(),
            locale,
            asked: None,
            category: prepared.front_matter.category,
            subject: self.subject(&text_file, variables)?,
            text: format!("{}\n", self.render_file(&text_file, variables)?.trim()),
            html: prepared.has_html.then(html).transpose()?,
        })
    }

    fn render_file(&self, file: &str, variables: &minijinja::Value) -> Result<String, Failure> {
        let mut text = Bounded::default();
        let rendered = self
            .environment
            .get_template(file)
            .and_then(|template| template.render_captured_to(variables.clone(), &mut text).map(drop));
        if text.is_full {
            let (file, most) = (self.shown(file), MAX_TEXT_BYTES / 1024 / 1024);
            return Err(Failure::bad_input(format!("failed to render {file}: it is longer than {most} MiB")));
        }
        rendered.map_err(|error| self.problem(&error, variables))?;
        Ok(String::from_utf8_lossy(&text.bytes).into_owned())
    }

    /// An error of rendering on one line: file, line and what is wrong, and the variable that was most likely meant.
    fn problem(&self, error: &minijinja::Error, variables: &minijinja::Value) -> Failure {
        let error = innermost(error);
        let unknown = self.unknown_variable(error, variables);
        let detail = match (&unknown, error.kind()) {
            // A filter complains of the value that it was given, and not of its name.
            (Some(unknown), kind) if kind != ErrorKind::UndefinedError => {
                format!("`{}` is undefined: {}", unknown.path, detail(error))
            }
            _ => detail(error),
        };
        let failure =
            Failure::bad_input(format!("failed to render {}{detail}{}", self.place(error), tag(error)));
        match unknown {
            Some(unknown) => failure.hint(format!(
                "{}`batchctl mail templates check` finds every such name",
                unknown.advice("", " instead of", "? ")
            )),
            None => failure,
        }
    }

    /// The variable that the failing tag names and the data does not have.
    fn unknown_variable(
        &self,
        error: &minijinja::Error,
        variables: &minijinja::Value,
    ) -> Option<UnknownVariable> {
        let Ok(Value::Object(known)) = serde_json::to_value(variables) else { return None };
        let template = self.environment.get_template(error.name()?).ok()?;
        let source = error.template_source()?;
        let at = error.range()?.start;
        let tag = tag_around(source, at).or_else(|| source.get(error.range()?).map(str::to_owned))?;
        self.unknown_variables(&template, known).into_iter().find(|unknown| check::names(&tag, &unknown.path))
    }

    /// Where in which file an error is.
    fn place(&self, error: &minijinja::Error) -> String {
        match (error.name().map(|name| self.shown(name)), error.line()) {
            (Some(file), Some(line)) => format!("{file} line {line}: "),
            (Some(file), None) => format!("{file}: "),
            _ => String::new(),
        }
    }

    /// A template's file in messages, which are read in another folder; a built-in one has no path.
    fn shown(&self, name: &str) -> String {
        shown(self.folder.as_deref(), name)
    }

    /// Renders the subject on one line: a value may contain a line break, a header must not.
    fn subject(&self, text_file: &str, variables: &minijinja::Value) -> Result<String, Failure> {
        let subject = self.render_file(&format!("{text_file}{SUBJECT}"), variables)?;
        let words = subject.split(|character: char| character.is_whitespace() || character.is_control());
        let subject = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        if subject.is_empty() {
            return Err(Failure::bad_input(format!(
                "failed to render {}: the subject is empty",
                self.shown(text_file)
            )));
        }
        Ok(subject)
    }

    fn variables(&self, category: Category, locale: Locale, data: &Value) -> minijinja::Value {
        let mut variables = self.globals.clone();
        if let Value::Object(data) = data {
            variables.extend(data.clone());
        }
        variables.insert("locale".to_owned(), json!(locale));
        variables.insert("category".to_owned(), json!(category));
        minijinja::Value::from(minijinja::value::Serde(&variables))
    }

    fn best(&self, name: &str, wanted: Option<Locale>) -> anyhow::Result<(Locale, Arc<Prepared>)> {
        for locale in wanted.into_iter().chain([self.default_locale]).chain(Locale::ALL) {
            if let Some(prepared) = self.prepare(name, locale)? {
                return Ok((locale, prepared));
            }
        }
        Err(self.unknown(name))
    }

    fn unknown(&self, name: &str) -> anyhow::Error {
        let likeness = |known: &String| strsim::jaro_winkler(known, name);
        let similar = self.names().ok().and_then(|names| {
            let similar = names.into_iter().filter(|known| likeness(known) > 0.85);
            similar.max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
        });
        let hint = match similar {
            Some(similar) => format!("did you mean `{similar}`?"),
            None => "`batchctl mail templates list` lists all".to_owned(),
        };
        Failure::bad_input(format!("unknown mail template `{name}`")).hint(hint).into()
    }

    /// Reads a template's front matter, once; `None` if it has no text in that language.
    fn prepare(&self, name: &str, locale: Locale) -> anyhow::Result<Option<Arc<Prepared>>> {
        self.usable()?;
        let key = (name.to_owned(), locale);
        if let Some(prepared) = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(prepared.clone());
        }
        let file = format!("{name}.{locale}.txt");
        let prepared = if name_of(&file).is_some() {
            match self.read(&file)? {
                Some((source, _)) => {
                    let (front_matter, _) = split(&self.shown(&file), &source)?;
                    let has_html = self.read(&format!("{name}.{locale}.html"))?.is_some();
                    Some(Arc::new(Prepared { front_matter, has_html }))
                }
                None => None,
            }
        } else {
            None
        };
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).insert(key, prepared.clone());
        Ok(prepared)
    }

    fn read(&self, file: &str) -> anyhow::Result<Option<(String, Origin)>> {
        read(self.folder.as_deref(), file)
    }

    /// Whether the folder of `mail.template_dir`, if there is one, can be read at all.
    pub fn usable(&self) -> Result<(), Failure> {
        self.folder_problem.clone().map_or(Ok(()), Err)
    }
}

/// A text that takes no more than so many bytes.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    is_full: bool,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_TEXT_BYTES {
            self.is_full = true;
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The engine: strict, escaping only in HTML, reading templates when they are needed.
fn environment(folder: Option<PathBuf>, time_zone: chrono_tz::Tz) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    // Makes errors name the undefined variable.
    environment.set_debug(true);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.unwrap_or_else(|_| unreachable!("the delimiters are the usual ones")));
    environment.set_auto_escape_callback(|name| {
        if has_extension(name, "html") { AutoEscape::Html } else { AutoEscape::None }
    });
    environment.set_loader(move |name| load(folder.as_deref(), name));
    filters::add(&mut environment, time_zone);
    environment
}

/// Why a folder of templates cannot be used.
fn folder_problem(folder: &Path) -> Option<Failure> {
    let problem = match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => return None,
        Ok(_) => "it is not a folder".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        Err(error) => error.to_string(),
    };
    Some(
        Failure::configuration(format!(
            "`mail.template_dir`: failed to use `{}`: {problem}",
            folder.display()
        ))
        .hint("create the folder, or remove the key to use the built-in templates"),
    )
}

/// The template's name in a file name: `NAME.LOCALE.txt` or `NAME.LOCALE.html`.
fn name_of(file: &str) -> Option<&str> {
    let (stem, extension) = file.rsplit_once('.')?;
    let (name, locale) = stem.rsplit_once('.')?;
    let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    (is_name && matches!(extension, "txt" | "html") && locale.parse::<Locale>().is_ok()).then_some(name)
}

fn has_extension(file: &str, extension: &str) -> bool {
    Path::new(file).extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
}

/// Whether this is the name of a file directly in the folder, never a path that leads elsewhere.
fn is_file_name(name: &str) -> bool {
    !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// The file of a template in messages: its path if it is the user's, its name if it is built in.
fn shown(folder: Option<&Path>, name: &str) -> String {
    let file = name.trim_end_matches(SUBJECT);
    let path = folder.map(|folder| folder.join(file)).filter(|path| is_file_name(file) && path.exists());
    path.map_or_else(|| file.to_owned(), |path| path.display().to_string())
}

/// If a template includes a broken part, the part is what has to be fixed.
fn innermost(error: &minijinja::Error) -> &minijinja::Error {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<minijinja::Error>());
    cause.filter(|cause| cause.name().is_some()).map_or(error, innermost)
}

/// What is wrong, on one line.
fn detail(error: &minijinja::Error) -> String {
    let detail = match error.detail() {
        Some(detail) => detail.replace(['\n', '\r'], " "),
        None => error.kind().to_string(),
    };
    match error.kind() {
        ErrorKind::OutOfFuel => format!("it takes too many steps (more than {FUEL}): a loop without an end?"),
        ErrorKind::UndefinedError if !detail.contains("undefined") => format!("undefined value: {detail}"),
        _ => detail,
    }
}

/// The tag in which an error is, as the end of a sentence.
fn tag(error: &minijinja::Error) -> String {
    let source = error.template_source().zip(error.range());
    let tag = source.and_then(|(source, range)| tag_around(source, range.start));
    tag.map(|tag| format!(" in `{tag}`")).unwrap_or_default()
}

/// The tag (`{{ … }}`, `{% … %}`) at a position of a template, on one line; `None` if it is so long that it would hide
/// the rest of the message.
fn tag_around(source: &str, at: usize) -> Option<String> {
    const LONGEST: usize = 120;
    // The position may be that of the tag itself.
    let before = source.get(..at + "{{".len()).or_else(|| source.get(..at))?;
    let start = before.rfind("{{").max(before.rfind("{%"))?;
    let tag = &source[start..];
    let end = [tag.find("}}"), tag.find("%}")].into_iter().flatten().min()? + 2;
    let tag = tag[..end].split_whitespace().collect::<Vec<_>>().join(" ");
    (tag.chars().count() <= LONGEST).then_some(tag)
}

/// Loads a template for the engine: the text after the front matter, or the subject in it.
fn load(folder: Option<&Path>, name: &str) -> Result<Option<String>, minijinja::Error> {
    let error = |error: anyhow::Error| {
        minijinja::Error::new(ErrorKind::InvalidOperation, crate::failure::one_line(&error))
    };
    let file = name.strip_suffix(SUBJECT).unwrap_or(name);
    let Some((source, _)) = read(folder, file).map_err(error)? else { return Ok(None) };
    if !has_extension(file, "txt") || !source.starts_with("+++\n") {
        return Ok(Some(source));
    }
    let (front_matter, body) =
        split(&shown(folder, file), &source).map_err(|failure| error(failure.into()))?;
    // Blank lines replace what precedes it, so that errors name the line of the file.
    let behind_lines = |lines: usize, text: &str| format!("{{#-{}-#}}{text}", "\n".repeat(lines));
    if file.len() < name.len() {
        let lines = 1 + source["+++\n".len()..][..front_matter.subject.span().start].matches('\n').count();
        return Ok(Some(behind_lines(lines, front_matter.subject.as_ref())));
    }
    Ok(Some(behind_lines(source[..source.len() - body.len()].matches('\n').count(), body)))
}

/// Reads a template's file: the user's, otherwise the built-in one.
fn read(folder: Option<&Path>, file: &str) -> anyhow::Result<Option<(String, Origin)>> {
    if !is_file_name(file) {
        return Ok(None);
    }
    if let Some(folder) = folder {
        let path = folder.join(file);
        refuse_link_outside(folder, &path)?;
        match read_regular(&path, MAX_FILE_BYTES) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).map_err(|error| {
                    let readable = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                    let line = 1 + String::from_utf8_lossy(readable).matches('\n').count();
                    let path = path.display();
                    Failure::bad_input(format!("failed to read {path} line {line}: it is not UTF-8"))
                        .hint("save the file as UTF-8")
                })?;
                let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
                return Ok(Some((text, Origin::Folder)));
            }
            Err(error) if is_not_found(&error) => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("failed to read the mail template `{}`", path.display()));
            }
        }
    }
    let built_in = built_in::FILES.iter().find(|(name, _)| *name == file);
    Ok(built_in.map(|(_, text)| ((*text).to_owned(), Origin::BuiltIn)))
}

/// Refuses a link that leads out of the folder: whoever may write a template must not be able to mail any other file of
/// this machine. Links inside are how Kubernetes puts a `ConfigMap` there.
fn refuse_link_outside(folder: &Path, path: &Path) -> anyhow::Result<()> {
    // What does not exist is not read.
    let (Ok(real), Ok(folder)) = (path.canonicalize(), folder.canonicalize()) else { return Ok(()) };
    if real.starts_with(&folder) {
        return Ok(());
    }
    let path = path.display();
    Err(Failure::bad_input(format!(
        "failed to read the mail template `{path}`: it is a link out of its folder"
    ))
    .hint("copy the file there")
    .into())
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Splits a text template into its front matter and its text.
fn split<'t>(file: &str, source: &'t str) -> Result<(FrontMatter, &'t str), Failure> {
    let failed = |line: usize, problem: &str| {
        Failure::bad_input(format!("failed to read {file} line {line}: {problem}"))
    };
    let rest = source
        .strip_prefix("+++\n")
        .ok_or_else(|| failed(1, "no front matter: start the file with a line `+++`"))?;
    let (front_matter, body) = rest
        .split_once("\n+++\n")
        .ok_or_else(|| failed(1, "the front matter is not closed: end it with a line `+++`"))?;
    let parsed: FrontMatter = toml::from_str(front_matter).map_err(|error| {
        let before = error.span().and_then(|span| front_matter.get(..span.start)).unwrap_or_default();
        failed(before.matches('\n').count() + 2, &error.message().replace('\n', " "))
    })?;
    let line = front_matter[..parsed.subject.span().start].matches('\n').count() + 2;
    match parsed.subject.as_ref() {
        subject if subject.trim().is_empty() => Err(failed(line, "the subject is empty")),
        subject if subject.trim().contains(['\n', '\r']) => {
            Err(failed(line, "the subject has more than one line"))
        }
        _ => Ok((parsed, body)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(super) fn templates(folder: Option<&Path>) -> Templates {
        Templates {
            environment: environment(folder.map(Path::to_owned), chrono_tz::Asia::Tokyo),
            folder: folder.map(Path::to_owned),
            folder_problem: folder.and_then(folder_problem),
            default_locale: Locale::En,
            globals: Map::from_iter([(
                "shop".to_owned(),
                json!({ "name": "Shop", "url": null, "address": null, "phone": null, "support": null }),
            )]),
            prepared: Mutex::new(HashMap::new()),
        }
    }

    /// A folder with one template in English only.
    pub(super) fn folder_with(text: &str, html: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let front_matter = "+++\nsubject = \"{{ title }}\"\ndescription = \"d\"\nowner = \"o\"\n+++\n";
        std::fs::write(folder.path().join("own.en.txt"), format!("{front_matter}{text}")).unwrap();
        if let Some(html) = html {
            std::fs::write(folder.path().join("own.en.html"), html).unwrap();
        }
        folder
    }

    #[test]
    fn a_loop_without_an_end_and_a_text_without_one_are_errors() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}\
                     {% for d in range(9999) %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}";
        let error = render(loops, None, &json!({ "title": "t" })).unwrap_err();
        assert!(error.contains("own.en.txt line ") && error.contains("it takes too many steps"), "{error}");
        let long = "{% for a in range(9999) %}{{ title }}{% endfor %}";
        let error = render(long, None, &json!({ "title": "x".repeat(4096) })).unwrap_err();
        assert!(error.contains("own.en.txt: it is longer than 16 MiB"), "{error}");
        // Ten times what a long list of articles takes.
        let many = "{% for a in range(9999) %}{{ a }}{% if a %}, {% endif %}{% endfor %}";
        render(many, None, &json!({ "title": "t" })).unwrap();
    }

    #[test]
    fn our_own_advertising_shows_what_the_law_asks_for() {
        let shop = crate::config::ShopConfig {
            name: Some("お花屋さん & 'Söhne' <꽃집>".to_owned()),
            address: Some("〒231-0001 神奈川県横浜市中区港町1-2-3, \"A/B\" ビル".to_owned()),
            phone: Some("+82 2-1234-5678".to_owned()),
            ..crate::config::ShopConfig::default()
        };
        let shown = json!({ "name": shop.name, "url": null, "address": shop.address, "phone": shop.phone, "support": null });
        let globals = Map::from_iter([("shop".to_owned(), shown)]);
        let templates = Templates { globals, ..templates(None) };
        let advertising = crate::mail::advertising::Advertising::of(shop);
        let mut seen = 0;
        for entry in templates.list().unwrap() {
            if entry.front_matter.category != Category::Marketing {
                continue;
            }
            seen += 1;
            let mail = templates
                .render(&entry.name, entry.locale.tag(), &check::sample_data(&entry.front_matter))
                .unwrap();
            // Each of the two parts by itself.
            for (text, html) in [(Some(mail.text.as_str()), None), (None, mail.html.as_deref())] {
                let problem = advertising.text_problem(entry.locale, text, html);
                assert_eq!(problem, None, "{}.{}", entry.name, entry.locale);
            }
        }
        assert_eq!(seen, 6, "two in three languages");
    }

    #[test]
    fn a_link_out_of_the_folder_is_not_a_template() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = elsewhere.path().join("secret");
        std::fs::write(&secret, "hunter2").unwrap();
        let link = folder.path().join("own.en.txt");
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        let error = templates(Some(folder.path())).render("own", "en", &json!({})).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("it is a link out of its folder") && !error.contains("hunter2"), "{error}");
        // As Kubernetes does it.
        std::fs::create_dir(folder.path().join("..data")).unwrap();
        let real = folder.path().join("..data/own.en.txt");
        let text = "+++\nsubject = \"s\"\ndescription = \"d\"\nowner = \"o\"\n+++\ntext\n";
        std::fs::write(real, text).unwrap();
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("..data/own.en.txt", &link).unwrap();
        let mail = templates(Some(folder.path())).render("own", "en", &json!({})).unwrap();
        assert_eq!(mail.text, "text\n");
    }

    fn render(text: &str, html: Option<&str>, data: &Value) -> Result<RenderedMail, String> {
        let folder = folder_with(text, html);
        let path = format!("{}/", folder.path().display());
        templates(Some(folder.path()))
            .render("own", "en", data)
            .map_err(|error| error.to_string().replace(&path, ""))
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/mail");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        let known: BTreeSet<String> = built_in::FILES.iter().map(|(file, _)| (*file).to_owned()).collect();
        assert_eq!(files, known);
    }

    #[test]
    fn only_a_name_with_a_language_is_a_template() {
        let cases = [
            ("digest.ja.txt", Some("digest")),
            ("daily-sales.en.html", Some("daily-sales")),
            ("_footer.ja.txt", None),
            ("layout.html", None),
            ("digest.fr.txt", None),
            ("digest.ja.txt~", None),
            ("../digest.ja.txt", None),
            ("a/b.ja.txt", None),
            (".ja.txt", None),
            ("", None),
        ];
        for (file, name) in cases {
            assert_eq!(name_of(file), name, "{file}");
        }
    }

    #[test]
    fn a_value_is_escaped_in_html_and_nowhere_else() {
        let data = json!({ "title": "Tom & <b>\"Jerry\"</b>", "url": "https://shop.example.com/?a=1&b='2'" });
        let html = "<a href=\"{{ url }}\">{{ title }}</a>";
        let mail = render("{{ title }} {{ url }}", Some(html), &data).unwrap();
        assert_eq!(mail.subject, "Tom & <b>\"Jerry\"</b>");
        assert_eq!(mail.text, "Tom & <b>\"Jerry\"</b> https://shop.example.com/?a=1&b='2'\n");
        assert_eq!(
            mail.html.unwrap(),
            "<a href=\"https://shop.example.com/?a=1&amp;b=&#39;2&#39;\">Tom &amp; \
             &lt;b&gt;&quot;Jerry&quot;&lt;/b&gt;</a>"
        );
    }

    #[test]
    fn a_subject_is_one_line_whatever_its_values_contain() {
        let mail =
            render("x", None, &json!({ "title": " Hello\r\nBcc: all@example.com\u{85}\u{2028}x\u{0}y " }));
        assert_eq!(mail.unwrap().subject, "Hello Bcc: all@example.com x y");
        let error = render("x", None, &json!({ "title": " \n " })).unwrap_err();
        assert_eq!(error, "failed to render own.en.txt: the subject is empty");
    }

    #[test]
    fn a_missing_value_is_an_error_and_never_a_gap() {
        let cases = [
            ("{{ name }}", json!({})),
            ("\n{% if name %}x{% endif %}", json!({})),
            ("{{ title.name }}", json!({})),
            ("{{ person.name }}", json!({ "person": { "nome": "Emma" } })),
            ("{{ person.name }}", json!({ "person": null })),
            ("{{ person }}", json!({ "person": null })),
            ("{% for one in people %}{{ one.name }}{% endfor %}", json!({ "people": [{}] })),
            ("{{ amount | money('JPY') }}", json!({ "amount": null })),
            ("{{ amount | money('JPY') }}", json!({ "amount": "12" })),
        ];
        for (text, mut data) in cases {
            data["title"] = "Title".into();
            let line = if text.starts_with('\n') { 7 } else { 6 };
            let error = render(text, None, &data).unwrap_err();
            assert!(
                error.starts_with(&format!("failed to render own.en.txt line {line}: ")),
                "{text}: {error}"
            );
            assert!(["name", "person", "amount"].iter().any(|name| error.contains(name)), "{text}: {error}");
        }
    }

    #[test]
    fn a_misspelt_variable_is_named_with_the_one_that_was_meant() {
        let folder = folder_with("", None);
        let mut data = json!({ "title": "t", "day": "2026-11-20", "items": [{ "name": "Tea" }] });
        data["person"] = json!({ "name": "Emma" });
        for (tag, told, hint) in [
            (
                "{{ dya | date }}",
                "`dya` is undefined: value is not a string",
                "did you mean `day` instead of `dya`? ",
            ),
            ("{{ dya }}", "`dya` is undefined", "did you mean `day` instead of `dya`? "),
            (
                "{{ person.nmae | wrap }}",
                "`person.nmae` is undefined: ",
                "did you mean `person.name` instead of `person.nmae`? ",
            ),
            ("{{ dya | date ~ day }}", "`dya` is undefined: ", "did you mean `day` instead of `dya`? "),
            ("{{ zzz | date }}", "`zzz` is undefined: value is not a string", ""),
        ] {
            let path = folder.path().join("own.en.txt");
            let front_matter = "+++\nsubject = \"{{ title }}\"\ndescription = \"d\"\nowner = \"o\"\n+++\n";
            std::fs::write(&path, format!("{front_matter}{tag}")).unwrap();
            let error = templates(Some(folder.path())).render("own", "en", &data).unwrap_err();
            let message = format!("failed to render {} line 6: {told}", path.display());
            assert!(error.to_string().starts_with(&message), "{error}");
            assert!(error.to_string().ends_with(&format!(" in `{tag}`")), "{error}");
            let expected = format!("{hint}`batchctl mail templates check` finds every such name");
            assert_eq!(crate::failure::hint(&error), Some(expected.as_str()));
        }
        // A value that is there and wrong is no slip of the pen.
        std::fs::write(
            folder.path().join("own.en.txt"),
            "+++\nsubject = \"s\"\ndescription = \"d\"\nowner = \"o\"\n+++\n{{ items | date }}",
        )
        .unwrap();
        let error = templates(Some(folder.path())).render("own", "en", &data).unwrap_err();
        assert_eq!(
            (crate::failure::hint(&error), error.to_string().contains("undefined")),
            (None, false),
            "{error}"
        );
    }

    #[test]
    fn a_template_never_leads_out_of_its_folder() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "secret").unwrap();
        for path in [outside.path().to_str().unwrap(), "../own.en.html", "./own.en.html", "a/../own.en.html"]
        {
            let error =
                render(&format!("{{% include \"{path}\" %}}"), None, &json!({ "title": "t" })).unwrap_err();
            assert!(error.contains("own.en.txt line 6"), "{error}");
        }
        for name in ["../own", "own.en", "", ".", "_footer", "a/b", "own\0"] {
            let error = templates(None).render(name, "en", &json!({})).unwrap_err();
            assert_eq!(error.to_string(), format!("unknown mail template `{name}`"));
        }
    }

    #[test]
    fn a_language_without_a_text_falls_back_and_reports_it() {
        let folder = folder_with("x", None);
        let templates = templates(Some(folder.path()));
        for (language, asked) in [("en", None), ("en_GB", None), ("ja", Some("ja")), ("fr-FR", Some("fr-FR"))]
        {
            let mail = templates.render("own", language, &json!({ "title": "t" })).unwrap();
            assert_eq!((mail.locale, mail.asked.as_deref()), (Locale::En, asked));
            assert_eq!(mail.fallback().is_some(), asked.is_some());
        }
    }

    #[test]
    fn a_template_is_read_once_however_many_mails_it_makes() {
        let templates = templates(None);
        let data = templates.sample("payment-notice", "ja").unwrap();
        let first = templates.render("payment-notice", "ja", &data).unwrap();
        for _ in 0..200 {
            assert_eq!(templates.render("payment-notice", "ja", &data).unwrap(), first);
        }
        // One entry per language and name, however many mails.
        assert_eq!(templates.prepared.lock().unwrap().len(), 1);
    }
}
