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
    let redactor = config.redactor();
    let mut arguments = Vec::new();
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            // The environment is the database's, and how to speak is the caller's.
            "--env" | "--log-format" => drop(given.next()),
            "-v" | "--verbose" => {}
            other if other.starts_with("--env=") || other.starts_with("--log-format=") => {}
            other => arguments.push(redactor.redact(other)),
        }
    }
    arguments
}
