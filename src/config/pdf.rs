//! `[pdf]` of `batchctl.toml`: the look of PDFs, and where to find fonts other than the built-in ones.

use std::path::PathBuf;

use serde::Deserialize;

use super::Config;
use super::section::Section;

/// `[pdf]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PdfConfig {
    /// Folders searched for fonts; relative ones start at the working directory.
    pub font_dirs: Vec<PathBuf>,
    /// Whether the system's fonts are searched too.
    pub system_fonts: bool,
    /// A folder whose `style.toml` changes the built-in style.
    pub template_dir: Option<PathBuf>,
}

impl Default for PdfConfig {
    fn default() -> Self {
        Self { font_dirs: Vec::new(), system_fonts: true, template_dir: None }
    }
}

impl Section for PdfConfig {}

impl Config {
    /// Folders searched for fonts before the system's.
    pub fn pdf_font_dirs(&self) -> Vec<PathBuf> {
        self.pdf().font_dirs.iter().map(|folder| self.working_dir().join(folder)).collect()
    }

    /// The folders in which operating systems keep fonts; none if disabled in the configuration.
    pub fn system_font_dirs(&self) -> Vec<PathBuf> {
        const OF_ALL: [&str; 5] = [
            "/usr/share/fonts",
            "/usr/local/share/fonts",
            "/System/Library/Fonts",
            "/Library/Fonts",
            "C:\\Windows\\Fonts",
        ];
        const OF_A_USER: [&str; 3] = [".local/share/fonts", ".fonts", "Library/Fonts"];
        if !self.pdf().system_fonts {
            return Vec::new();
        }
        let home = self.variable("HOME").map(PathBuf::from);
        let of_the_user = OF_A_USER.iter().filter_map(|folder| Some(home.as_ref()?.join(folder)));
        of_the_user.chain(OF_ALL.iter().map(PathBuf::from)).collect()
    }

    /// The folder whose style changes the built-in one.
    pub fn pdf_template_dir(&self) -> Option<PathBuf> {
        self.pdf().template_dir.as_ref().map(|folder| self.working_dir().join(folder))
    }
}
