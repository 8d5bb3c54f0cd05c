//! The variables: the process's own, then `.env.NAME`, then `.env`.
//!
//! The process's environment is read once and never written: the contents of a `.env` file reach only our own code,
//! and never a child process by accident.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Folder;
use super::error::ConfigError;
use super::ownership;
use crate::spelling;

/// The default environment.
const DEFAULT_ENVIRONMENT: &str = "dev";

/// The only environment in which real people are reached.
pub(super) const PRODUCTION: &str = "prod";

/// Names that mean production to a reader but not to us: with one of them every guard of `prod` would be off.
const ALMOST_PRODUCTION: [&str; 3] = ["production", "prd", "live"];

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It was not set.
    Default,
    /// A flag of this command.
    Flag,
    /// The process's environment.
    Process,
    /// A `.env` file or `batchctl.toml`, by name.
    File(String),
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::Flag => formatter.write_str("flag"),
            Self::Process => formatter.write_str("process"),
            Self::File(name) => formatter.write_str(name),
        }
    }
}

/// A variable's value and where it was set.
#[derive(Clone)]
pub(super) struct Variable {
    pub(super) value: String,
    pub(super) source: Source,
    /// The `.env` file and the line in it, for messages.
    place: Option<String>,
}

impl Variable {
    /// Where it was set, for a person who has to change it.
    pub(super) fn origin(&self) -> String {
        match (&self.place, &self.source) {
            (Some(place), _) => place.clone(),
            (None, Source::Process) => "the environment of the process".to_owned(),
            (None, source) => source.to_string(),
        }
    }
}

/// Every effective variable.
#[derive(Clone)]
pub(super) struct Environment {
    /// `dev`, `prod`, …
    pub(super) name: String,
    /// Where it was chosen.
    pub(super) name_source: Source,
    pub(super) variables: BTreeMap<String, Variable>,
    /// What is odd but not an error.
    pub(super) warnings: Vec<String>,
    /// Which files with secrets of production others can read.
    pub(super) exposed: Vec<String>,
}

impl fmt::Debug for Environment {
    /// The name only: the values are secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Environment({}, {} variables)", self.name, self.variables.len())
    }
}

impl Environment {
    /// Chooses the environment and gathers its variables.
    pub(super) fn load(
        flag: Option<&str>,
        folder: &Folder,
        process: BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let (name, name_source) = match (
            flag,
            process.get("BATCHCTL_ENV").map(|name| name.trim_end()).filter(|name| !name.is_empty()),
        ) {
            (Some(name), _) => (name.to_owned(), Source::Flag),
            (None, Some(name)) => (name.to_owned(), Source::Process),
            (None, None) => (DEFAULT_ENVIRONMENT.to_owned(), Source::Default),
        };
        validate_name(&name, &name_source)?;
        let mut variables: BTreeMap<String, Variable> = process
            .into_iter()
            .map(|(name, value)| {
                // A Kubernetes Secret made from a file ends in an unintended line break.
                let value = value.trim_end_matches(['\n', '\r']).to_owned();
                (name, Variable { value, source: Source::Process, place: None })
            })
            .collect();
        let (mut warnings, mut exposed) = (Vec::new(), Vec::new());
        for file in [format!(".env.{name}"), ".env".to_owned()] {
            let (path, shown) = (folder.path.join(&file), folder.shown(&file));
            let text = match super::read_bounded(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(ConfigError::Unreadable { path, source }),
            };
            warnings.extend(ownership::check(&path, &name)?);
            let (entries, repeated) = parse_dotenv(&shown, &text)?;
            if name == PRODUCTION && is_readable_by_all(&path) {
                exposed.push(format!(
                    "every user of this machine can read the secrets in {file}: chmod o= {}",
                    path.display()
                ));
            }
            warnings.extend(
                repeated.into_iter().map(|name| format!("{shown}: {name} is set twice, the last one counts")),
            );
            if let Some(other) =
                entries.get("BATCHCTL_ENV").map(|(other, _)| other).filter(|other| **other != name)
            {
                let other =
                    if is_name(other) { format!("`{other}`") } else { "another environment".to_owned() };
                return Err(ConfigError::variable(
                    "BATCHCTL_ENV",
                    format!(
                        "{shown} sets {other}, but this command runs in `{name}`: choose by --env, not in a .env file"
                    ),
                ));
            }
            for (name, (value, line)) in entries {
                let (source, place) = (Source::File(file.clone()), Some(format!("{shown} line {line}")));
                variables.entry(name).or_insert(Variable { value, source, place });
            }
        }
        variables.remove("BATCHCTL_ENV");
        Ok(Self { name, name_source, variables, warnings, exposed })
    }

    /// The environment that a name means, if it is not too far from one.
    pub(super) fn meant(name: &str) -> Option<String> {
        let name = name.trim().to_ascii_lowercase();
        if ALMOST_PRODUCTION.contains(&name.as_str()) {
            return Some(PRODUCTION.to_owned());
        }
        is_name(&name).then_some(name)
    }

    /// Whether it is the one that a command has without `--env`.
    pub(super) fn is_default(&self) -> bool {
        self.name == DEFAULT_ENVIRONMENT
    }

    /// The other environment that was probably meant: of those that the folder knows the one with the most similar name,
    /// or the only one; otherwise a usual one with a similar name. `stamped` is the environment of the folder's SQLite
    /// file.
    pub(super) fn meant_instead(&self, folder: &Path, stamped: Option<&str>) -> Option<String> {
        let is_another = |name: &str| is_name(name) && name != self.name;
        let mut known = self.others_with_files(folder);
        known.extend(stamped.filter(|name| is_another(name)).map(str::to_owned));
        let usual = [DEFAULT_ENVIRONMENT, PRODUCTION, "staging"].into_iter().filter(|name| is_another(name));
        let only = known.first().filter(|_| known.len() == 1).map(String::as_str);
        let meant = spelling::nearest(&self.name, known.iter().map(String::as_str)).or(only);
        meant.or_else(|| spelling::nearest(&self.name, usual)).map(str::to_owned)
    }

    /// The other environments that have a file in this folder.
    pub(super) fn others_with_files(&self, folder: &Path) -> BTreeSet<String> {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names =
            files.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(".env.").map(str::to_owned));
        // `.env.example` is a template.
        names.filter(|name| is_name(name) && *name != self.name && name != "example").collect()
    }

    /// Where a variable was set, for a person who has to change it; `None` if it is not set.
    pub(super) fn origin(&self, name: &str) -> Option<String> {
        self.get(name).map(Variable::origin)
    }

    /// The variable, unless it is not set or empty. Empty counts as not set, so that
    /// `BATCHCTL_SMTP_URL= batchctl …` overrides a file for one command.
    pub(super) fn get(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name).filter(|variable| !variable.value.is_empty())
    }
}

fn is_readable_by_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

fn validate_name(name: &str, source: &Source) -> Result<(), ConfigError> {
    let asked = if *source == Source::Flag { "--env" } else { "BATCHCTL_ENV" };
    if !is_name(name) {
        let problem =
            format!("`{name}` is not an environment's name: use lower-case letters, digits, `-` and `_`");
        return Err(ConfigError::variable(asked, problem));
    }
    if ALMOST_PRODUCTION.contains(&name) {
        let problem = format!("`{name}` would run without the guards of production: write `{PRODUCTION}`");
        return Err(ConfigError::variable(asked, problem));
    }
    Ok(())
}

/// A file's variables by name: the value, and its line from 1.
type Entries = BTreeMap<String, (String, usize)>;

/// The variables of a `.env` file, the last of each name, and the names that occur twice.
///
/// dotenvy replaces `$NAME` outside single quotes with a variable of the process or one further up in the file.
fn parse_dotenv(file: &str, text: &str) -> Result<(Entries, Vec<String>), ConfigError> {
    // Editors on Windows put a byte order mark in front; dotenvy treats a space at the very end as an unfinished line.
    let text = format!("{}\n", text.trim_start_matches('\u{feff}'));
    let delivered = Cell::new(0);
    let lines = Lines { rest: text.as_bytes(), delivered: &delivered };
    let mut variables = BTreeMap::new();
    let mut repeated = Vec::new();
    for entry in dotenvy::Iter::new(lines) {
        match entry {
            Ok((name, value)) => {
                if variables.insert(name.clone(), (value, delivered.get())).is_some() {
                    repeated.push(name);
                }
            }
            Err(dotenvy::Error::LineParse(unread, _)) => {
                // The text is never shown: it is most likely a password with a `#`, a quote or a space.
                let further_lines = unread.trim_end().lines().count().saturating_sub(1);
                let trailing = unread.len() - unread.trim_end_matches('\n').len();
                return Err(ConfigError::Dotenv {
                    file: file.to_owned(),
                    line: delivered.get().saturating_sub(further_lines + trailing.saturating_sub(1)).max(1),
                    problem:
                        "not understood: write NAME=value, in single quotes if it contains a space, # or quote"
                            .to_owned(),
                });
            }
            Err(error) => {
                return Err(ConfigError::Dotenv {
                    file: file.to_owned(),
                    line: delivered.get().max(1),
                    problem: format!("failed to read: {}", kind_of(&error)),
                });
            }
        }
    }
    Ok((variables, repeated))
}

/// The error without its text, which could hold a value.
fn kind_of(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::Io(error) => error.kind().to_string(),
        _ => "unknown error".to_owned(),
    }
}

/// Hands out one line per read, so that the lines read so far show where dotenvy is: it does not count them.
struct Lines<'a> {
    rest: &'a [u8],
    delivered: &'a Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |end| end + 1);
        let length = line.min(buffer.len());
        buffer[..length].copy_from_slice(&self.rest[..length]);
        if length > 0 && length == line {
            self.delivered.set(self.delivered.get() + 1);
        }
        self.rest = &self.rest[length..];
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(String, String)> {
        let variables = parse_dotenv(".env", text).unwrap().0;
        variables.into_iter().map(|(name, (value, _))| (name, value)).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_file_is_read_as_a_shell_would() {
        let text = "\u{feff}# comment\nA=1\r\nexport B='a #b $c'\n\nC=x # comment\nD=\nE=last ";
        let expected =
            [pair("A", "1"), pair("B", "a #b $c"), pair("C", "x"), pair("D", ""), pair("E", "last")];
        assert_eq!(entries(text), expected);
    }

    #[test]
    fn a_syntax_error_names_the_line_and_not_the_value() {
        for (text, line) in [
            ("A=1\n\n# c\nPASSWORD=hunter two\nB=2\n", 4),
            ("A=1\nno equals hunter\n", 2),
            ("A=1\nB='hunter\nC=2\n", 2),
            ("A='1\n2'\n3=hunter", 3),
        ] {
            let error = parse_dotenv(".env.prod", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!(".env.prod line {line}: not understood")), "{error}");
            assert!(!error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn a_name_that_occurs_twice_is_reported_and_the_last_counts() {
        let (variables, repeated) = parse_dotenv(".env", "A=1\nB=2\nA=3\n").unwrap();
        assert_eq!((&variables["A"], repeated), (&("3".to_owned(), 3), vec!["A".to_owned()]));
    }
}
