//! A document as PDF, set by typst from a template.
//!
//! The template (`templates/pdf/report.typ`, or the user's own `report.typ`) reads the document as data from
//! `/data.json`; nothing of it is ever read as markup. Fonts come from the system: what the document says is
//! checked against them first, so that nobody gets a page of empty boxes.

#[cfg(feature = "pdf")]
mod compile;
#[cfg(feature = "pdf")]
mod data;
#[cfg(feature = "pdf")]
mod fonts;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::Document;

/// Whether this build makes PDFs, and pictures of charts.
pub const IS_BUILT_IN: bool = cfg!(feature = "pdf");

/// How a PDF is made.
#[derive(Clone, Debug)]
pub struct PdfOptions<'a> {
    /// A folder with the user's own `report.typ`, instead of the built-in template.
    pub template_dir: Option<&'a Path>,
    /// Folders searched for fonts before the system's.
    pub font_dirs: Vec<PathBuf>,
    /// Font families in order of preference, instead of those we know for the document's locale.
    pub font_families: Vec<String>,
    /// The document's date, and what `datetime.today()` says in a template.
    pub created: DateTime<Utc>,
}

/// Makes the PDF's bytes; the same input and fonts give the same bytes.
#[cfg(feature = "pdf")]
pub fn render(document: &Document, options: &PdfOptions<'_>) -> anyhow::Result<Vec<u8>> {
    use anyhow::Context;

    let render = || {
        let texts = data::texts(document);
        let fonts = fonts::find(&texts, document.locale, &options.font_dirs, &options.font_families)?;
        let data = data::describe(document, &fonts.families, options.created);
        compile::compile(&serde_json::to_vec(&data)?, fonts.store, options, &document.name)
    };
    render().with_context(|| format!("failed to write document `{}` as PDF", document.name))
}

/// Draws charts as a picture; see [`super::picture`].
#[cfg(feature = "pdf")]
pub(super) fn draw(
    charts: &[super::Chart],
    locale: crate::locale::Locale,
    font_dirs: &[PathBuf],
) -> anyhow::Result<super::picture::Picture> {
    let texts = data::chart_texts(charts, locale);
    let fonts = fonts::find(&texts, locale, font_dirs, &[])?;
    let data = data::describe_picture(charts, locale, &fonts.families);
    compile::draw(&serde_json::to_vec(&data)?, fonts.store)
}

/// Says that this build makes no PDF, and how to get one that does.
#[cfg(not(feature = "pdf"))]
pub fn render(document: &Document, _options: &PdfOptions<'_>) -> anyhow::Result<Vec<u8>> {
    anyhow::bail!(
        "failed to write document `{}` as PDF: this build has no PDF support, build it with `cargo build --release \
         --features pdf`",
        document.name
    )
}

#[cfg(feature = "pdf")]
#[cfg(test)]
mod tests;
