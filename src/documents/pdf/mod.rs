//! Renders a document as PDF: shapes the text, lays out the pages and writes the file, with built-in fonts.
//!
//! A machine without any fonts produces the same file as one with many, unless a text has characters beyond Latin,
//! Greek, Cyrillic, Japanese and Korean; only then are font folders searched. The look is defined by
//! `templates/pdf/style.toml` or the user's own file of that name (`docs/pdf.md`).

#[cfg(feature = "pdf")]
mod chart;
#[cfg(feature = "pdf")]
mod compose;
#[cfg(feature = "pdf")]
mod font_files;
#[cfg(feature = "pdf")]
mod fonts;
#[cfg(feature = "pdf")]
mod images;
#[cfg(feature = "pdf")]
pub(super) mod picture;
#[cfg(feature = "pdf")]
mod raster;
#[cfg(feature = "pdf")]
mod scene;
#[cfg(feature = "pdf")]
mod sheet;
#[cfg(feature = "pdf")]
mod structure;
#[cfg(feature = "pdf")]
mod style;
#[cfg(feature = "pdf")]
mod table;
#[cfg(feature = "pdf")]
mod text;
#[cfg(feature = "pdf")]
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::DateTime;
use chrono_tz::Tz;

use super::Document;
#[cfg(feature = "pdf")]
use crate::locale::Locale;

/// Whether this build makes PDFs, and pictures of charts.
pub const IS_BUILT_IN: bool = cfg!(feature = "pdf");

/// Where to find fonts other than the built-in ones.
#[derive(Clone, Debug, Default)]
pub struct FontFolders {
    /// The user's (`pdf.font_dirs`); each must exist.
    pub own: Vec<PathBuf>,
    /// The system's; missing ones are ignored.
    pub system: Vec<PathBuf>,
}

/// How a PDF is made.
#[derive(Clone, Debug)]
pub struct PdfOptions {
    /// A folder with the user's own `style.toml`.
    pub template_dir: Option<PathBuf>,
    /// Where to find fonts for characters that the built-in ones lack.
    pub fonts: FontFolders,
    /// When the document's content was computed, in the zone in which the page shows it.
    pub created: DateTime<Tz>,
    /// Set this to cancel the rendering.
    pub stop: Arc<AtomicBool>,
}

/// A rendered PDF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdf {
    /// The file.
    pub bytes: Vec<u8>,
    /// The characters that no font has: each is drawn as an empty square.
    pub missing: Vec<char>,
}

/// Checks a style without a document: its keys, its logo and its fonts.
#[cfg(feature = "pdf")]
pub fn check(template_dir: Option<&Path>, mut folders: FontFolders) -> anyhow::Result<()> {
    let style = style::Style::load(template_dir)?;
    folders.own.extend(style.folder.clone());
    fonts::Fonts::new(Locale::En, &style.fonts.families, folders)?;
    if let Some(logo) = &style.logo.file {
        images::read_logo(logo)?;
    }
    Ok(())
}

/// Nothing to check: no style is used.
#[cfg(not(feature = "pdf"))]
pub fn check(_template_dir: Option<&Path>, _folders: FontFolders) -> anyhow::Result<()> {
    Ok(())
}

/// Makes a PDF; the same input and fonts give the same bytes.
#[cfg(feature = "pdf")]
pub fn render(document: &Document, options: &PdfOptions) -> anyhow::Result<Pdf> {
    use anyhow::Context as _;

    let render = || -> anyhow::Result<Pdf> {
        let style = style::Style::load(options.template_dir.as_deref())?;
        let mut folders = options.fonts.clone();
        folders.own.extend(style.folder.clone());
        let mut fonts = fonts::Fonts::new(document.locale, &style.fonts.families, folders)?;
        let bytes = compose::compose(document, &style, &mut fonts, options.created, &options.stop)?;
        Ok(Pdf { bytes, missing: fonts.missing() })
    };
    render().with_context(|| format!("failed to write document `{}` as PDF", document.name))
}

/// Says that this build makes no PDF, and how to get one that does.
#[cfg(not(feature = "pdf"))]
pub fn render(document: &Document, _options: &PdfOptions) -> anyhow::Result<Pdf> {
    anyhow::bail!(
        "failed to write document `{}` as PDF: this build has no PDF support, build it with `cargo build --release \
         --features pdf`",
        document.name
    )
}

/// Names characters that no font has, for a warning: `한`, `🎁` and 3 more.
pub fn name_missing(missing: &[char]) -> String {
    /// As many as fit on a line.
    const NAMED: usize = 5;
    let named: Vec<String> = missing
        .iter()
        .take(NAMED)
        .map(|character| format!("`{character}` (U+{:04X})", u32::from(*character)))
        .collect();
    let more = missing.len().saturating_sub(NAMED);
    let and_more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{and_more}", named.join(", "))
}

#[cfg(feature = "pdf")]
#[cfg(test)]
mod tests;
