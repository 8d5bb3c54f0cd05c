//! `mail templates list|preview|check`: the texts of mails, for those who write them.
//!
//! Needs no database and sends nothing.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::context::Context;
use crate::documents::{Cell, Column, ColumnKind, ListFormat, Row, Table, terminal};
use crate::failure::Failure;
use crate::files::write_atomically;
use crate::locale::Locale;
use crate::mail::template::{Category, Entry, FindingLevel, Origin, Templates};
use crate::printable::{escaped, escaped_json};
use crate::wording::counted;

/// Replaces, in a preview, a picture that only a sent mail has.
const PLACEHOLDER: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='534' \
    height='220'%3E%3Crect width='534' height='220' fill='%23e8ecef'/%3E%3Cpath d='M20 180 120 130 220 150 320 80 420 \
    100 514 40' fill='none' stroke='%231f5a99' stroke-width='4'/%3E%3C/svg%3E";

/// List, preview and check the texts of mails
#[derive(Debug, clap::Subcommand)]
pub enum TemplatesCommand {
    /// List all templates with their languages, owners and subjects
    List {
        /// Print a table or JSON
        #[arg(long, value_enum, default_value = "table")]
        format: ListFormat,
    },
    /// Show a mail as its recipient will see it: subject and text on the terminal, HTML in a file
    Preview(PreviewArgs),
    /// Check that templates render in every language, whatever values their variables have
    Check {
        /// The templates to check (default: all)
        names: Vec<String>,
    },
}

/// Show a mail as its recipient will see it
#[derive(Debug, clap::Args)]
pub struct PreviewArgs {
    /// The template
    name: String,
    /// Show it in this language, such as ja or ja-JP (default: the configured one)
    #[arg(long)]
    locale: Option<String>,
    /// Fill it with the variables of this JSON file (default: the template's own sample)
    #[arg(long, value_name = "FILE.json")]
    data: Option<PathBuf>,
    /// Write the HTML to this file (default: NAME.LOCALE.preview.html)
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
}

impl TemplatesCommand {
    /// Runs the chosen command.
    pub fn dispatch(&self, cx: &Context) -> anyhow::Result<()> {
        let templates = Templates::new(&cx.config);
        match self {
            Self::List { format } => list(cx, &templates, *format),
            Self::Preview(args) => preview(cx, &templates, args),
            Self::Check { names } => check(cx, &templates, names),
        }
    }
}

fn list(cx: &Context, templates: &Templates, format: ListFormat) -> anyhow::Result<()> {
    let entries = templates.list()?;
    let text = match format {
        ListFormat::Json => {
            let entries: Vec<Value> = entries.iter().map(described).collect();
            escaped_json(&serde_json::to_string_pretty(&entries)?).into_owned() + "\n"
        }
        ListFormat::Table => {
            let table = table(&entries, cx.config.locale());
            terminal::render_list(&table, cx.output.width(), cx.output.colour())
        }
    };
    Ok(cx.output.data(text.as_bytes())?)
}

fn described(entry: &Entry) -> Value {
    let front_matter = &entry.front_matter;
    json!({
        "name": entry.name,
        "locale": entry.locale,
        "category": front_matter.category,
        "owner": front_matter.owner,
        "subject": entry.subject,
        "description": front_matter.description,
        "text_from": entry.text_from,
        "html_from": entry.html_from,
    })
}

/// One row per template, with its subject in the configured language or in the first that it has.
fn table(entries: &[Entry], locale: Locale) -> Table {
    let rows = entries
        .chunk_by(|one, next| one.name == next.name)
        .map(|languages| {
            let shown = languages.iter().find(|entry| entry.locale == locale).unwrap_or(&languages[0]);
            let tags: Vec<_> = languages.iter().map(|entry| entry.locale.tag()).collect();
            let is_overridden =
                |entry: &Entry| entry.text_from == Origin::Folder || entry.html_from == Some(Origin::Folder);
            let overridden: Vec<_> = languages
                .iter()
                .filter(|entry| is_overridden(entry))
                .map(|entry| entry.locale.tag())
                .collect();
            let from = match overridden.len() {
                0 => "built in".to_owned(),
                count if count == languages.len() => "folder".to_owned(),
                _ => format!("folder ({}), built in", overridden.join(" ")),
            };
            Row::new(vec![
                Cell::text(shown.name.as_str()),
                Cell::text(tags.join(" ")),
                Cell::text(match shown.front_matter.category {
                    Category::Transactional => "transactional",
                    Category::Marketing => "marketing",
                }),
                Cell::text(shown.front_matter.owner.as_str()),
                Cell::text(from),
                Cell::text(shown.front_matter.description.as_str()),
                Cell::text(shown.subject.as_str()),
            ])
        })
        .collect();
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    Table {
        key: "templates",
        title: String::new(),
        columns: vec![
            text("name", "Name"),
            text("locales", "Languages"),
            text("category", "Category"),
            text("owner", "Owner"),
            text("from", "From"),
            text("description", "For").wide_only(),
            text("subject", "Subject").wide_only(),
        ],
        rows,
    }
}

fn preview(cx: &Context, templates: &Templates, args: &PreviewArgs) -> anyhow::Result<()> {
    let language = args.locale.as_deref().unwrap_or(cx.config.locale().tag());
    let data = match &args.data {
        Some(file) => read_data(&cx.config.working_dir().join(file))?,
        None => templates.sample(&args.name, language)?,
    };
    let mail = templates.render(&args.name, language, &data)?;
    if let Some(fallback) = mail.fallback() {
        cx.output.warn(&fallback);
    }
    let mut text = format!("Subject: {}\n\n", escaped(&mail.subject));
    for line in mail.text.lines() {
        text.push_str(&escaped(line));
        text.push('\n');
    }
    cx.output.data(text.as_bytes())?;
    let Some(html) = mail.html else {
        cx.output.status("This template has no HTML part");
        return Ok(());
    };
    let name = format!("{}.{}.preview.html", mail.name, mail.locale);
    let path = cx.config.working_dir().join(args.out.clone().unwrap_or_else(|| PathBuf::from(name)));
    let html = html.replace("src=\"cid:chart\"", &format!("src=\"{PLACEHOLDER}\""));
    // Replaces a link of that name rather than what it leads to.
    write_atomically(&path, |file| Ok(file.write_all(html.as_bytes())?))?;
    cx.output.status(&format!("Wrote the HTML part to {}", path.display()));
    Ok(())
}

/// The variables of a mail, from a file.
fn read_data(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::bad_input(format!("failed to read the data `{}`: {error}", path.display()))
    })?;
    let data: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        Failure::bad_input(format!("failed to read the data `{}`: {error}", path.display()))
    })?;
    if !data.is_object() {
        return Err(Failure::bad_input(format!(
            "failed to read the data `{}`: it is not a JSON object",
            path.display()
        ))
        .hint("write {\"member_name\": \"Emma\", …}: each variable with its value")
        .into());
    }
    Ok(data)
}

fn check(cx: &Context, templates: &Templates, names: &[String]) -> anyhow::Result<()> {
    let findings = templates.check(names)?;
    let (errors, warnings): (Vec<_>, Vec<_>) =
        findings.iter().partition(|finding| finding.level == FindingLevel::Error);
    for finding in &warnings {
        cx.output.warn(&finding.message);
    }
    if let [others @ .., last] = errors.as_slice() {
        for other in others {
            cx.output.error(&other.message, &[]);
        }
        return Err(Failure::bad_input(last.message.clone()).into());
    }
    let checked = if names.is_empty() { templates.names()?.len() } else { names.len() };
    let mut sentence = format!("Checked {}", counted(checked, "template", "templates"));
    if !warnings.is_empty() {
        sentence.push_str(&format!(", with {}", counted(warnings.len(), "warning", "warnings")));
    }
    cx.output.status(&sentence);
    Ok(())
}
