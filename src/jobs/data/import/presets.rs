//! Presets: how the exports of well-known platforms map onto our columns. Each is a file of `presets/`, which the build
//! embeds; `[orders]`, `[members]` … are sections in the language of `[import]` in `batchctl.toml`.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

use crate::config::ImportSection;
use crate::context::Context;
use crate::documents::{Cell, Column, ColumnKind, Row, Table, terminal};
use crate::failure::Failure;
use crate::runner::Action;
use crate::spelling::advice;

use super::kinds::Kind;

include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// A platform's export.
#[derive(Debug, Deserialize)]
pub(super) struct Preset {
    /// The platform.
    title: String,
    /// Which export it is, and where the shop finds it.
    about: String,
    /// A section for each kind of file.
    #[serde(flatten)]
    kinds: BTreeMap<String, ImportSection>,
}

impl Preset {
    fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(toml::from_str(text)?)
    }
}

/// The names of all presets, in order.
pub(super) fn names() -> Vec<&'static str> {
    PRESETS.iter().map(|(name, _)| *name).collect()
}

fn text_of(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

fn unknown(name: &str) -> Failure {
    let names = names();
    Failure::usage(format!("unknown preset `{name}`{}", advice(name, names.iter().copied())))
        .hint(format!("the presets are {}", names.join(", ")))
}

/// What a preset says about a kind of file.
pub(super) fn section(name: &str, kind: Kind) -> anyhow::Result<ImportSection> {
    let mut preset = Preset::parse(text_of(name).ok_or_else(|| unknown(name))?)?;
    let Some(section) = preset.kinds.remove(kind.name()) else {
        let kinds: Vec<&str> = preset.kinds.keys().map(String::as_str).collect();
        return Err(Failure::usage(format!(
            "the preset `{name}` is for {}, not for {}",
            kinds.join(", "),
            kind.name()
        ))
        .hint(format!("docs/import.md lists the columns of {}, to be mapped by hand", kind.name()))
        .into());
    };
    Ok(section)
}

/// List and show what the exports of well-known platforms map to
#[derive(Debug, clap::Subcommand)]
pub enum Presets {
    /// List the presets
    List,
    /// Print a preset as sections of batchctl.toml, to copy and change
    Show {
        /// The preset's name
        name: String,
    },
}

impl Presets {
    /// What the chosen command does.
    pub fn action<'a>(&'a self, cx: &'a Context) -> Action<'a> {
        Action::plain(cx, async move {
            match self {
                Self::List => list(cx),
                Self::Show { name } => {
                    let text = text_of(name).ok_or_else(|| unknown(name))?;
                    Ok(cx.output.text(as_sections(text).trim_end())?)
                }
            }
        })
    }
}

fn list(cx: &Context) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (name, text) in PRESETS {
        let preset = Preset::parse(text)?;
        let kinds: Vec<&str> = preset.kinds.keys().map(String::as_str).collect();
        rows.push(Row::new(vec![
            Cell::text(*name),
            Cell::text(preset.title),
            Cell::text(kinds.join(", ")),
            Cell::text(preset.about.split_whitespace().collect::<Vec<_>>().join(" ")),
        ]));
    }
    let text = |key, label| Column::new(key, label, ColumnKind::Text);
    let columns = vec![
        text("name", "Name"),
        text("title", "Platform"),
        text("kinds", "Kinds"),
        text("about", "Files").wide_only(),
    ];
    let table = Table { key: "presets", title: String::new(), columns, rows };
    Ok(cx.output.data(terminal::render_list(&table, cx.output.width(), cx.output.colour()).as_bytes())?)
}

/// A preset as it may stand in `batchctl.toml`: its tables below `import`, what is no setting as comments.
fn as_sections(text: &str) -> String {
    let mut sections = String::new();
    let mut is_before_tables = true;
    for line in text.lines() {
        let header = line.trim_start_matches('[');
        let brackets = line.len() - header.len();
        // Writing to a String cannot fail.
        let _ = if brackets > 0 {
            is_before_tables = false;
            writeln!(sections, "{}import.{header}", "[".repeat(brackets))
        } else if is_before_tables && !line.is_empty() && !line.starts_with('#') {
            writeln!(sections, "# {line}")
        } else {
            writeln!(sections, "{line}")
        };
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::super::mapping;
    use super::*;
    use crate::config::{Config, LoadOptions};

    #[test]
    fn every_preset_is_without_fault_and_names_only_columns_and_words_that_there_are() {
        for (name, text) in PRESETS {
            let preset = Preset::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!preset.title.is_empty() && !preset.about.is_empty(), "{name}");
            for (kind, section) in &preset.kinds {
                let kind = Kind::ALL
                    .iter()
                    .find(|one| one.name() == kind)
                    .unwrap_or_else(|| panic!("{name}: {kind}"));
                assert_eq!(section.fault(), None, "{name} {}", kind.name());
                assert_eq!(section.preset, None, "{name}");
                let mapping = mapping::Mapping::of_preset(*kind, name).unwrap();
                assert_eq!(mapping.problems(), Vec::<String>::new(), "{name} {}", kind.name());
            }
        }
    }

    /// What `data presets show` prints means the same as the preset.
    #[test]
    fn a_preset_can_be_pasted_into_the_configuration() {
        for (name, text) in PRESETS {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("batchctl.toml"), as_sections(text)).unwrap();
            let config = Config::load(LoadOptions {
                env_flag: None,
                working_dir: folder.path().to_owned(),
                process_env: BTreeMap::new(),
                full_paths: false,
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
            for (kind, section) in Preset::parse(text).unwrap().kinds {
                assert_eq!(
                    config.import_sections(&kind).map(|sections| &sections.own),
                    Some(&section),
                    "{name}"
                );
            }
        }
    }
}
