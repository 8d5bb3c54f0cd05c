//! What all reports share: the flags for format and destination, and writing the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use crate::address;
use crate::config::CsvBom;
use crate::context::Context;
use crate::documents::pdf::{FontFolders, Pdf, PdfOptions};
use crate::documents::{Document, Format, Table, csv, json, pdf, terminal, xlsx};
use crate::failure::{Failure, one_line};
use crate::files::write_atomically;
use crate::locale::Locale;
use crate::printable::escaped_lines;
use crate::text_encoding::{TextEncoding, UnmappableCharacter};

/// The flags of every report.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct PublicationArgs {
    /// Write the report in these formats (default: a table on a terminal, nothing without one)
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FORMAT")]
    pub format: Vec<Format>,
    /// Write files to this folder; `-` writes one format to stdout
    #[arg(long, value_name = "DIR|-")]
    pub out: Option<PathBuf>,
    /// Use this encoding for CSV (default: utf-8; utf-8-bom for a file with anything but ASCII, which Excel needs)
    #[arg(long, value_enum, value_name = "ENCODING")]
    pub encoding: Option<TextEncoding>,
    /// Write labels in this language (default: `BATCHCTL_LOCALE`)
    #[arg(long, value_enum)]
    pub locale: Option<Locale>,
    /// Mail the report to these addresses, with the files attached, instead of showing it
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS", value_hint = clap::ValueHint::EmailAddress)]
    pub mail_to: Vec<String>,
}

/// One report in one format, as bytes: a file to write, or the attachment of a mail.
pub struct Rendered {
    /// The file's name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A report that is ready to be rendered in any format.
pub struct Content<'a> {
    /// When its figures were computed.
    pub created: DateTime<Utc>,
    /// Builds the document to the extent that a format shows.
    pub document: Box<dyn Fn(Extent) -> Document + 'a>,
    /// Builds the single table of its CSV.
    pub flat: Box<dyn Fn() -> Table + 'a>,
}

/// Adds the only remedy for a character that does not exist in an encoding.
fn with_hint_on_encoding(error: anyhow::Error) -> anyhow::Error {
    if error.chain().any(<dyn std::error::Error>::is::<UnmappableCharacter>) {
        return Failure::failed(one_line(&error)).hint("write it with --encoding utf-8-bom").into();
    }
    error
}

/// How much of a report a format shows: formats for people show the top of long breakdowns, formats for machines
/// everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// At most this many rows of each breakdown.
    Top(usize),
    /// Every row.
    Everything,
}

impl Extent {
    /// The extent that suits a format.
    pub fn of(format: Format) -> Self {
        match format {
            Format::Table => Self::Top(10),
            Format::Pdf => Self::Top(40),
            Format::Csv | Format::Xlsx | Format::Json => Self::Everything,
        }
    }
}

impl PublicationArgs {
    /// The language: from the flag, otherwise from the configuration.
    pub fn locale(&self, cx: &Context) -> Locale {
        self.locale.unwrap_or_else(|| self.default_locale(cx))
    }

    /// The configured language of reports.
    pub fn default_locale(&self, cx: &Context) -> Locale {
        cx.config.report().locale.unwrap_or(cx.config.locale())
    }

    /// The formats to show or to write: by default a table, on a terminal. With `--mail-to` and no folder the formats are
    /// only for the mail.
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

    /// Refuses at the start what could not be written at the end: formats without a destination, a folder that is not
    /// writable, an invalid address. Creates nothing, because a dry run also calls it.
    pub fn check(&self, cx: &Context) -> anyhow::Result<()> {
        for (place, recipient) in self.mail_to.iter().enumerate() {
            // Not quoted: an address is personal, and anything may have been pasted.
            address::parse(recipient).map_err(|problem| {
                Failure::usage(format!("--mail-to, address {}: {problem}", place + 1))
                    .hint("write it like manager@example.jp")
            })?;
        }
        let formats = self.formats(cx);
        if self.out.is_some() && formats.is_empty() {
            return Err(Failure::usage("--out requires --format")
                .hint("add --format csv,xlsx,pdf,json or one of them")
                .into());
        }
        if let Some(folder) = self.folder(cx) {
            // The existing part of the path of a folder that has yet to be created.
            let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(&folder);
            anyhow::ensure!(
                existing.is_dir(),
                "failed to write to the folder `{}`: `{}` is a file",
                folder.display(),
                existing.display()
            );
            tempfile::Builder::new()
                .prefix(".batchctl-")
                .tempfile_in(existing)
                .map_err(|error| std::io::Error::from(error.kind()))
                .with_context(|| format!("failed to write to the folder `{}`", existing.display()))?;
            return Ok(());
        }
        if formats.len() > 1 {
            return Err(Failure::usage("only one format can be written to stdout")
                .hint("name a folder: --out reports")
                .into());
        }
        let is_binary = formats.iter().any(|format| matches!(format, Format::Pdf | Format::Xlsx));
        if is_binary && (self.out.is_none() || cx.output.stdout_is_terminal()) {
            return Err(Failure::usage(format!("--format {} requires --out", formats[0]))
                .hint("add --out DIR, or --out - with a redirection")
                .into());
        }
        Ok(())
    }

    /// The encoding of a CSV. By default a file has a byte order mark where it holds anything that is not ASCII: it is opened
    /// by a double click in Excel, which recognises UTF-8 only by the mark; stdout is read by a program.
    fn csv_encoding(&self, cx: &Context, table: &Table, locale: Locale, is_file: bool) -> TextEncoding {
        self.encoding.unwrap_or_else(|| {
            let has_mark = match cx.config.report().csv_bom {
                CsvBom::Auto => is_file && csv::needs_mark(table, locale),
                CsvBom::Always => is_file,
                CsvBom::Never => false,
            };
            if has_mark { TextEncoding::Utf8Bom } else { TextEncoding::Utf8 }
        })
    }

    /// Where the files go; `None` for stdout.
    pub fn folder(&self, cx: &Context) -> Option<PathBuf> {
        let out = self.out.as_deref()?;
        (out != Path::new("-")).then(|| cx.working_dir().join(out))
    }

    /// Writes the report in each format asked for. One that fails does not stop the others; the first failure is the
    /// result.
    pub async fn publish(&self, cx: &Context, content: &Content<'_>) -> anyhow::Result<()> {
        let mut result = Ok(());
        for format in self.formats(cx) {
            result = first_failure(cx, result, self.publish_as(cx, format, content).await);
        }
        result
    }

    async fn publish_as(&self, cx: &Context, format: Format, content: &Content<'_>) -> anyhow::Result<()> {
        let folder = self.folder(cx);
        let rendered = self.render(cx, format, content, folder.is_some()).await?;
        let Some(folder) = folder else {
            let bytes = match format {
                Format::Csv | Format::Json if cx.output.stdout_is_terminal() => for_terminal(rendered.bytes),
                _ => rendered.bytes,
            };
            return Ok(cx.output.data(&bytes)?);
        };
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("failed to create the folder `{}`", folder.display()))?;
        let path = folder.join(&rendered.name);
        write_atomically(&path, |file| Ok(file.write_all(&rendered.bytes)?))?;
        cx.output.status(&format!("Wrote {}", path.display()));
        Ok(())
    }

    /// Renders the report in one format; `is_file` if a person will open it by a double click.
    pub async fn render(
        &self,
        cx: &Context,
        format: Format,
        content: &Content<'_>,
        is_file: bool,
    ) -> anyhow::Result<Rendered> {
        let mut document = (content.document)(Extent::of(format));
        if matches!(format, Format::Table | Format::Pdf | Format::Xlsx) {
            document = document.for_people();
        }
        let name = format!("{}.{}", document.name, format.extension());
        let mut media_type = match format {
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
                let table = (content.flat)();
                let encoding = self.csv_encoding(cx, &table, document.locale, is_file);
                media_type = format!("text/csv; charset={}", encoding.charset());
                csv::write(&table, document.locale, encoding, &mut bytes)
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
                let pdf = draw_pdf(cx, document, content.created).await?;
                if !pdf.missing.is_empty() {
                    cx.output.warn(&format!("{name}: {}", missing_characters(&pdf.missing)));
                }
                pdf.bytes
            }
        };
        Ok(Rendered { name, media_type, bytes })
    }
}

/// Draws a PDF on its own thread, which ends when nobody waits for it any more: at the run's deadline, or when the run
/// is stopped.
async fn draw_pdf(cx: &Context, document: Document, created: DateTime<Utc>) -> anyhow::Result<Pdf> {
    struct StopOnDrop(Arc<AtomicBool>);

    impl Drop for StopOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let stop = Arc::new(AtomicBool::new(false));
    let options = PdfOptions {
        template_dir: cx.config.pdf_template_dir(),
        fonts: font_folders(cx),
        created: created.with_timezone(&cx.time_zone()),
        stop: Arc::clone(&stop),
    };
    let _stop = StopOnDrop(stop);
    tokio::task::spawn_blocking(move || pdf::render(&document, &options))
        .await
        .context("failed to wait for the PDF")?
}

/// Where fonts are looked for when a text has characters that the built-in ones lack.
pub fn font_folders(cx: &Context) -> FontFolders {
    FontFolders { own: cx.config.pdf_font_dirs(), system: cx.config.system_font_dirs() }
}

/// Warns of characters that are drawn as empty squares in a PDF or a picture, and names the remedy.
pub fn missing_characters(missing: &[char]) -> String {
    format!(
        "no font has {}, drawn as an empty square: install a font that has them, or name its folder in pdf.font_dirs of \
         batchctl.toml",
        pdf::name_missing(missing)
    )
}
/// Data that a person looks at on a terminal, which a shop's texts must not control; a program gets it unchanged.
fn for_terminal(data: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(data) {
        Ok(text) => (escaped_lines(&text) + "\n").into_bytes(),
        // In the encoding of another kind of terminal.
        Err(other) => other.into_bytes(),
    }
}

/// The first failure of two steps, of which the second ran in spite of it; a second one is printed at once, so that it
/// is not lost.
pub fn first_failure(
    cx: &Context,
    so_far: anyhow::Result<()>,
    next: anyhow::Result<()>,
) -> anyhow::Result<()> {
    if so_far.is_err()
        && let Err(error) = next
    {
        cx.output.error(&one_line(&error), &[]);
        return so_far;
    }
    so_far.and(next)
}
