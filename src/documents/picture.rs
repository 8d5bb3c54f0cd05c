//! Charts as one picture (PNG) inside a mail: mail programs show no SVG and run no scripts.
//!
//! Drawn by typst, like the PDF; a build without it draws nothing, and the mail has only its tables.

use std::path::PathBuf;

use crate::documents::Chart;
use crate::locale::Locale;

/// A drawn picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// PNG.
    pub bytes: Vec<u8>,
    /// The width at which to show it, in CSS pixels; the picture has twice as many for high-resolution displays.
    pub width: u32,
    /// The height at which to show it, in CSS pixels.
    pub height: u32,
}

/// Draws the charts, one below another. The last day of each is the day that the mail reports.
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
