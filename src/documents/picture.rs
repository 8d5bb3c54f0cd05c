//! Charts as one picture (PNG) inside a mail: mail programs show no SVG and run no scripts.
//!
//! Drawn like the charts of a PDF; a build without PDF draws nothing, and the mail has only its tables.

use crate::documents::Chart;
use crate::documents::pdf::FontFolders;
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
    /// The characters that no font has: each is drawn as an empty square.
    pub missing: Vec<char>,
}

/// Draws the charts, one below another. The last day of each is the day that the mail reports.
#[cfg(feature = "pdf")]
pub fn draw(charts: &[Chart], locale: Locale, fonts: FontFolders) -> anyhow::Result<Option<Picture>> {
    use anyhow::Context as _;

    if charts.is_empty() {
        return Ok(None);
    }
    super::pdf::picture::draw(charts, locale, fonts).map(Some).context("failed to draw the chart")
}

/// Draws nothing: this build makes no PDF.
#[cfg(not(feature = "pdf"))]
pub fn draw(_charts: &[Chart], _locale: Locale, _fonts: FontFolders) -> anyhow::Result<Option<Picture>> {
    Ok(None)
}
