//! `[pdf]` of `batchctl.toml`: where to find fonts and templates other than the built-in ones.

use std::path::PathBuf;

use serde::Deserialize;

use super::Config;
use super::section::Section;

/// `[pdf]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PdfConfig {
    /// Folders searched for fonts; relative ones start at the working directory.
    pub font_dirs: Vec<PathBuf>,
    /// A folder whose templates replace the built-in ones of the same name.
    pub template_dir: Option<PathBuf>,
}

impl Section for PdfConfig {}

impl Config {
    /// Folders searched for fonts before the system's.
    pub fn pdf_font_dirs(&self) -> Vec<PathBuf> {
        self.pdf().font_dirs.iter().map(|folder| self.working_dir().join(folder)).collect()
    }

    /// The folder whose templates replace the built-in ones.
    pub fn pdf_template_dir(&self) -> Option<PathBuf> {
        self.pdf().template_dir.as_ref().map(|folder| self.working_dir().join(folder))
    }
}
