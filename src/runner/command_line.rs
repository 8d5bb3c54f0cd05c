//! The command line that repeats a run: stored with it, shown by `runs show`, parsed again by `runs retry`.

use anyhow::Context as _;

use crate::config::Config;

/// Joins arguments into one line that a shell would split the same way.
pub fn join(arguments: &[String]) -> String {
    // The only character that cannot be quoted is NUL, which no argument can hold.
    shlex::try_join(arguments.iter().map(String::as_str)).unwrap_or_default()
}

/// Splits a stored line into arguments.
pub fn split(line: &str) -> anyhow::Result<Vec<String>> {
    shlex::split(line).with_context(|| format!("failed to read the stored command line `{line}`"))
}

/// The arguments that this process was started with, secrets masked: for a failure that comes before any
/// instance is known.
pub fn own_arguments(config: &Config) -> Vec<String> {
    std::env::args().skip(1).map(|argument| config.redactor().redact(&argument)).collect()
}
