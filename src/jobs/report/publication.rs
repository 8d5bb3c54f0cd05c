//! What all reports share: the flags that say in which form and where to, and the writing of it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use crate::context::Context;
use crate::documents::pdf::PdfOptions;
use crate::documents::{Document, Format, Table, csv, json, pdf, terminal, xlsx};
use crate::failure::{Failure, one_line};
use crate::files::write_atomically;
use crate::locale::Locale;
use crate::mail::address;
use crate::text_encoding::{TextEncoding, UnmappableCharacter};

/// The flags of every report.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "What to show")]
pub struct PublicationArgs {
    /// Write the report in these forms (default: the table on a terminal, nothing without one)
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORMAT")]
    pub format: Vec<Format>,
    /// Write files into this folder; `-` writes one form to stdout
    #[arg(long, value_name = "DIR|-")]
    pub out: Option<PathBuf>,
    /// Encode CSV this way (default: utf-8; for files in Japanese and Korean utf-8-bom, which Excel needs)
    #[arg(long, value_enum, value_name = "ENCODING")]
    pub encoding: Option<TextEncoding>,
    /// Write labels in this language (default: `BATCHCTL_LOCALE`)
    #[arg(long, value_enum)]
    pub locale: Option<Locale>,
    /// Send it by mail to these addresses, with the files attached, instead of showing it
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    pub mail_to: Vec<String>,
}

/// One report in one form, as bytes: a file to write, or the attachment of a mail.
pub struct Rendered {
    /// The file's name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A report that is ready to be put into any form.
pub struct Content<'a> {
    /// When its figures were computed.
    pub created: DateTime<Utc>,
    /// Makes the document to the extent that a form holds.
    pub document: Box<dyn Fn(Extent) -> Document + 'a>,
    /// Makes the one table of its CSV.
    pub flat: Box<dyn Fn() -> Table + 'a>,
}

/// A character that an encoding lacks has one cure.
fn with_hint_on_encoding(error: anyhow::Error) -> anyhow::Error {
    if error.chain().any(<dyn std::error::Error>::is::<UnmappableCharacter>) {
        return Failure::failed(one_line(&error)).hint("write it with --encoding utf-8-bom").into();
    }
    error
}

/// How much of a report a form holds: people's forms show the top of long breakdowns, machines' forms all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// At most this many rows of each breakdown.
    Top(usize),
    /// Every row.
    Everything,
}

impl Extent {
    /// What suits a form.
    pub fn of(format: Format) -> Self {
        match format {
            Format::Table => Self::Top(10),
            Format::Pdf => Self::Top(40),
            Format::Csv | Format::Xlsx | Format::Json => Self::Everything,
        }
    }
}

impl PublicationArgs {
    /// The language: the flag's, else the configuration's.
    pub fn locale(&self, cx: &Context) -> Locale {
        self.locale.unwrap_or_else(|| self.default_locale(cx))
    }

    /// The language of reports by the configuration.
    pub fn default_locale(&self, cx: &Context) -> Locale {
        cx.config.file().report.locale.unwrap_or(cx.config.locale())
    }

    /// The forms to show or to write: by default the table, where somebody reads it. With `--mail-to` and no folder
    /// the forms are for the mail alone.
    pub fn formats(&self, cx: &Context) -> Vec<Format> {
        if self.out.is_none() && !self.mail_to.is_empty() {
            return vec![];
        }
        if !self.format.is_empty() {
            let mut formats = self.format.clone();
            formats.dedup();
            return formats;
        }
        if cx.output.stdout_is_terminal() && self.out.is_none() { vec![Format::Table] } else { vec![] }
    }

    /// Refuses at the start what could not be written at the end: forms without a place, a folder that cannot be
    /// written into, an address that nothing can be sent to. Makes nothing, since a dry run asks too.
    pub fn check(&self, cx: &Context) -> anyhow::Result<()> {
        for (place, recipient) in self.mail_to.iter().enumerate() {
            // Not repeated: an address is personal, and a wrong paste may be anything.
            address::parse(recipient).map_err(|problem| {
                Failure::usage(format!("--mail-to, address {}: {problem}", place + 1))
                    .hint("write it like manager@example.jp")
            })?;
        }
        let formats = self.formats(cx);
        if self.out.is_some() && formats.is_empty() {
            return Err(Failure::usage("--out needs to know what to write")
                .hint("add --format csv,xlsx,pdf,json or one of them")
                .into());
        }
        if let Some(folder) = self.folder(cx) {
            // What is there already of a folder that is yet to be made.
            let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(&folder);
            anyhow::ensure!(
                existing.is_dir(),
                "failed to write into the folder `{}`: `{}` is a file",
                folder.display(),
                existing.display()
            );
            tempfile::Builder::new()
                .prefix(".batchctl-")
                .tempfile_in(existing)
                .map_err(|error| std::io::Error::from(error.kind()))
                .with_context(|| format!("failed to write into the folder `{}`", existing.display()))?;
            return Ok(());
        }
        if formats.len() > 1 {
            return Err(Failure::usage("only one form fits stdout")
                .hint("name a folder: --out reports")
                .into());
        }
        let is_binary = formats.iter().any(|format| matches!(format, Format::Pdf | Format::Xlsx));
        if is_binary && (self.out.is_none() || cx.output.stdout_is_terminal()) {
            return Err(Failure::usage(format!("--format {} needs a place to go to", formats[0]))
                .hint("add --out DIR, or --out - with a redirection")
                .into());
        }
        Ok(())
    }

    /// How CSV is encoded unless told: a Japanese or Korean file is opened by a double click in Excel, which knows
    /// UTF-8 only by its byte order mark; what goes to stdout goes to a program.
    fn csv_encoding(&self, locale: Locale, is_file: bool) -> TextEncoding {
        self.encoding.unwrap_or(match locale {
            Locale::Ja | Locale::Ko if is_file => TextEncoding::Utf8Bom,
            _ => TextEncoding::Utf8,
        })
    }

    fn folder(&self, cx: &Context) -> Option<PathBuf> {
        let out = self.out.as_deref()?;
        (out != Path::new("-")).then(|| cx.working_dir().join(out))
    }

    /// Writes the report in each form asked for.
    pub fn publish(&self, cx: &Context, content: &Content<'_>) -> anyhow::Result<()> {
        let folder = self.folder(cx);
        for format in self.formats(cx) {
            let rendered = self.render(cx, format, content, folder.is_some())?;
            match &folder {
                Some(folder) => {
                    std::fs::create_dir_all(folder)
                        .with_context(|| format!("failed to make the folder `{}`", folder.display()))?;
                    let path = folder.join(&rendered.name);
                    write_atomically(&path, |file| Ok(file.write_all(&rendered.bytes)?))?;
                    cx.output.status(&format!("Wrote {}", path.display()));
                }
                None => cx.output.data(&rendered.bytes).context("failed to write to stdout")?,
            }
        }
        Ok(())
    }

    /// Puts the report into one form; `is_file` if a person is to open it by a double click.
    pub fn render(
        &self,
        cx: &Context,
        format: Format,
        content: &Content<'_>,
        is_file: bool,
    ) -> anyhow::Result<Rendered> {
        let document = (content.document)(Extent::of(format));
        let name = format!("{}.{}", document.name, format.extension());
        let encoding = self.csv_encoding(document.locale, is_file);
        let media_type = match format {
            Format::Csv => format!("text/csv; charset={}", encoding.charset()),
            Format::Table => "text/plain; charset=utf-8".to_owned(),
            other => other.media_type().to_owned(),
        };
        let bytes = match format {
            Format::Table => {
                let is_shown = self.out.is_none() && !is_file;
                let width = if is_shown { cx.output.width() } else { None };
                terminal::render(&document, width, is_shown && cx.output.colour()).into_bytes()
            }
            Format::Csv => {
                let mut bytes = Vec::new();
                csv::write(&(content.flat)(), document.locale, encoding, &mut bytes)
                    .with_context(|| format!("failed to write `{name}`"))
                    .map_err(with_hint_on_encoding)?;
                bytes
            }
            Format::Xlsx => xlsx::render(&document, content.created)?,
            Format::Json => {
                let mut bytes = Vec::new();
                json::write(&document, &mut bytes)?;
                bytes
            }
            Format::Pdf => {
                let template_dir = cx.config.pdf_template_dir();
                let options = PdfOptions {
                    template_dir: template_dir.as_deref(),
                    font_dirs: cx.config.pdf_font_dirs(),
                    font_families: Vec::new(),
                    created: content.created,
                };
                pdf::render(&document, &options)?
            }
        };
        Ok(Rendered { name, media_type, bytes })
    }
}
