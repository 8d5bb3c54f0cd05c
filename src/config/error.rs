//! What is wrong with the configuration. Always exit code 78; never a secret value in the text.

use std::path::PathBuf;

/// A wrong setting, naming the variable or the key, and where it is.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable's value is wrong.
    #[error("{name}: {problem}")]
    Variable {
        /// The variable's name.
        name: String,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// A variable that something needs is not set.
    #[error("variable `{name}` is not set{}", needed(.needed_by))]
    Unset {
        /// The variable's name.
        name: String,
        /// What names it in `batchctl.toml`, such as "alerts.channel `ops`".
        needed_by: Vec<String>,
    },
    /// A `.env` file that cannot be understood.
    #[error("{file} line {line}: {problem}")]
    Dotenv {
        /// The file's name.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong; never the line itself, which may hold a secret.
        problem: String,
    },
    /// A key or value of `batchctl.toml` is wrong.
    #[error("{file} line {line}: {problem}")]
    File {
        /// The file's name as it was given.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, naming the key.
        problem: String,
    },
    /// A file that somebody else may change.
    #[error("{problem}")]
    Unsafe {
        /// What is wrong, naming the file, and how to correct it.
        problem: String,
    },
    /// A file exists but cannot be read.
    #[error("failed to read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ConfigError {
    pub(super) fn variable(name: &str, problem: impl Into<String>) -> Self {
        Self::Variable { name: name.to_owned(), problem: problem.into() }
    }
}

fn needed(by: &[String]) -> String {
    if by.is_empty() {
        return String::new();
    }
    let verb = if by.len() == 1 { "needs" } else { "need" };
    format!(": {} {verb} it", by.join(", "))
}
