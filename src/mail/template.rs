//! The texts that customers get: one place for all of them, by name and language.
//!
//! A template is two files, `NAME.LOCALE.txt` with front matter and the text part, and `NAME.LOCALE.html` with the
//! HTML part. The built-in ones are overridden file by file by those in `mail.template_dir`. A value that is missing
//! is an error, never an empty place in a customer's mail.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::failure::Failure;
use crate::locale::Locale;

/// The templates that come with the program, by file name.
const BUILT_IN: &[(&str, &str)] = &[];

/// Whether somebody has to get a mail, or may refuse it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Part of a contract: a receipt, a notice of payment, a report.
    #[default]
    Transactional,
    /// Advertising: with consent, and a way out.
    Marketing,
}

impl Category {
    /// Its word in the table `mails`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Transactional => "TRANSACTIONAL",
            Self::Marketing => "MARKETING",
        }
    }

    /// Reads the word back.
    pub fn of(word: &str) -> Self {
        if word == "MARKETING" { Self::Marketing } else { Self::Transactional }
    }
}

/// What a template says of itself in front of its text, in TOML between two lines of `+++`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontMatter {
    /// The subject; a template itself.
    pub subject: String,
    /// What the mail is for, in a sentence.
    pub description: String,
    /// Whether it is advertising.
    #[serde(default)]
    pub category: Category,
    /// Who decides its wording.
    pub owner: String,
    /// Values to preview and to check it with; they name every variable there is.
    #[serde(default)]
    pub sample: toml::Table,
}

/// A mail's texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedMail {
    /// The template's name.
    pub name: String,
    /// The language it is in: another one than asked for where that one has no template.
    pub locale: Locale,
    /// Whether it is advertising.
    pub category: Category,
    /// The subject, one line.
    pub subject: String,
    /// The text part.
    pub text: String,
    /// The HTML part, if the template has one.
    pub html: Option<String>,
}

/// All templates, built in and overridden.
pub struct Templates {
    environment: Environment<'static>,
    folder: Option<PathBuf>,
    default_locale: Locale,
    globals: Map<String, Value>,
}

impl Templates {
    /// The templates of this configuration. Files are read when they are needed.
    pub fn new(config: &Config) -> Self {
        let mail = &config.file().mail;
        let folder = mail.template_dir.as_ref().map(|folder| config.working_dir().join(folder));
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| {
            if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None }
        });
        let loaded_from = folder.clone();
        environment.set_loader(move |name| load(loaded_from.as_deref(), name));
        let from = config.mail().from.as_deref();
        let display_name = from.and_then(|from| from.split_once('<')).map(|(name, _)| name.trim().to_owned());
        let globals = json!({ "shop": {
            "name": mail.shop.name.clone().or(display_name).unwrap_or_default(),
            "url": mail.shop.url, "address": mail.shop.address, "support": mail.shop.support,
        } });
        let Value::Object(globals) = globals else { unreachable!("it is written as an object") };
        Self { environment, folder, default_locale: config.locale(), globals }
    }

    /// Renders a mail in a language, or in the next best one that the template has: the default language, English,
    /// any. `data` is an object with the template's variables.
    pub fn render(&self, name: &str, locale: Locale, data: &Value) -> anyhow::Result<RenderedMail> {
        let locale = self.best_locale(name, locale)?;
        let file = format!("{name}.{locale}.txt");
        let source = self.source(&file)?;
        let (front_matter, _) = split(&file, &source)?;
        let mut variables = self.globals.clone();
        variables.insert("locale".to_owned(), json!(locale));
        if let Value::Object(data) = data {
            variables.extend(data.clone());
        }
        let variables = minijinja::Value::from(minijinja::value::Serde(&variables));
        let subject = self
            .environment
            .render_named_str(&format!("{file} (subject)"), &front_matter.subject, variables.clone())
            .map_err(|error| problem(&error))?;
        let html_file = format!("{name}.{locale}.html");
        let html = match self.environment.get_template(&html_file) {
            Ok(template) => Some(template.render(variables.clone()).map_err(|error| problem(&error))?),
            Err(error) if error.kind() == minijinja::ErrorKind::TemplateNotFound => None,
            Err(error) => return Err(problem(&error).into()),
        };
        let template = self.environment.get_template(&file).map_err(|error| problem(&error))?;
        Ok(RenderedMail {
            name: name.to_owned(),
            locale,
            category: front_matter.category,
            subject: subject.split_whitespace().collect::<Vec<_>>().join(" "),
            text: template.render(variables.clone()).map_err(|error| problem(&error))?,
            html,
        })
    }

    fn best_locale(&self, name: &str, wanted: Locale) -> anyhow::Result<Locale> {
        let candidates = [wanted, self.default_locale].into_iter().chain(Locale::ALL);
        for locale in candidates {
            if read(self.folder.as_deref(), &format!("{name}.{locale}.txt"))?.is_some() {
                return Ok(locale);
            }
        }
        Err(Failure::bad_input(format!("no mail template is called `{name}`"))
            .hint("`batchctl mail templates list` shows all")
            .into())
    }

    fn source(&self, file: &str) -> anyhow::Result<String> {
        read(self.folder.as_deref(), file)?.with_context(|| format!("the mail template `{file}` is gone"))
    }
}

/// A template's error in one line: file, line and what is wrong.
fn problem(error: &minijinja::Error) -> Failure {
    let place = match (error.name(), error.line()) {
        (Some(name), Some(line)) => format!("{name} line {line}: "),
        (Some(name), None) => format!("{name}: "),
        _ => String::new(),
    };
    let detail = error.detail().unwrap_or("template error");
    Failure::bad_input(format!("failed to render {place}{}: {detail}", error.kind()))
}

/// The engine's way to a template: the text behind the front matter.
fn load(folder: Option<&Path>, name: &str) -> Result<Option<String>, minijinja::Error> {
    let error = |error: anyhow::Error| {
        minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, crate::failure::one_line(&error))
    };
    let Some(source) = read(folder, name).map_err(error)? else { return Ok(None) };
    if !name.ends_with(".txt") {
        return Ok(Some(source));
    }
    let (front_matter, body) = split(name, &source).map_err(|failure| error(failure.into()))?;
    drop(front_matter);
    // Blank lines in place of the front matter, so that errors name the line of the file.
    let lines = source[..source.len() - body.len()].matches('\n').count();
    Ok(Some(format!("{{#-{}-#}}{body}", "\n".repeat(lines))))
}

/// A template's file: the user's, else the built-in one.
fn read(folder: Option<&Path>, name: &str) -> anyhow::Result<Option<String>> {
    if let Some(folder) = folder {
        let path = folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(Some(text.trim_start_matches('\u{feff}').replace("\r\n", "\n"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("failed to read the mail template `{}`", path.display()));
            }
        }
    }
    Ok(BUILT_IN.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned()))
}

/// Takes the front matter off a text template.
fn split<'t>(file: &str, source: &'t str) -> Result<(FrontMatter, &'t str), Failure> {
    let missing = || Failure::bad_input(format!("{file} line 1: no front matter: begin with a line `+++`"));
    let rest = source.strip_prefix("+++\n").ok_or_else(missing)?;
    let (front_matter, body) = rest.split_once("\n+++\n").ok_or_else(missing)?;
    let parsed = toml::from_str(front_matter).map_err(|error| {
        let line = error.span().map_or(0, |span| front_matter[..span.start].matches('\n').count()) + 2;
        Failure::bad_input(format!("{file} line {line}: {}", error.message()))
    })?;
    Ok((parsed, body))
}
