//! Charts as one picture (PNG) for the inside of a mail: mail programs show no SVG and run no script.
//!
//! Drawn by typst, as the PDF is; a build without it draws nothing, and the mail says all in its tables.

use std::path::PathBuf;

use crate::documents::Chart;
use crate::locale::Locale;

/// A drawn picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// PNG.
    pub bytes: Vec<u8>,
    /// How wide it is to be shown, in CSS pixels; it has twice as many, for sharp displays.
    pub width: u32,
    /// How high it is to be shown, in CSS pixels.
    pub height: u32,
}

/// Draws the charts, one below the other. The last day of each is the one that the mail is about.
#[cfg(feature = "pdf")]
pub fn draw(charts: &[Chart], locale: Locale, font_dirs: &[PathBuf]) -> anyhow::Result<Option<Picture>> {
    use anyhow::Context;

    if charts.is_empty() {
        return Ok(None);
    }
    super::pdf::draw(charts, locale, font_dirs).map(Some).context("failed to draw the chart")
}

/// Draws nothing: this build has no typst.
#[cfg(not(feature = "pdf"))]
pub fn draw(_charts: &[Chart], _locale: Locale, _font_dirs: &[PathBuf]) -> anyhow::Result<Option<Picture>> {
    Ok(None)
}
