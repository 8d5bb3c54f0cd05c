//! The command line that repeats a run: stored with it, shown by `runs show`, parsed again by `runs retry`.

use anyhow::Context as _;

use chrono::NaiveDate;

use crate::config::Config;
use crate::period::parse_days;

use super::spec::Instance;

/// Joins arguments into one line that a shell would split the same way.
pub fn join(arguments: &[String]) -> String {
    // The only character that cannot be quoted is NUL, which no argument can hold.
    shlex::try_join(arguments.iter().map(String::as_str)).unwrap_or_default()
}

/// Splits a stored line into arguments.
pub fn split(line: &str) -> anyhow::Result<Vec<String>> {
    shlex::split(line).with_context(|| format!("failed to read the stored command line `{line}`"))
}

/// The arguments that this process was started with, secrets masked and relative dates resolved: for a failure
/// outside any run, as before the instances are known or after them. `only` is the instance, if there is just one.
pub fn own_arguments(config: &Config, today: NaiveDate, only: Option<&Instance>) -> Vec<String> {
    let redactor = config.redactor();
    let mut arguments = Vec::new();
    let mut given = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = given.next() {
        match argument.as_str() {
            // The environment is the database's, and how to speak is the caller's.
            "--env" | "--log-format" => drop(given.next()),
            "--verbose" => {}
            other if is_verbosity(other) => {}
            other if other.starts_with("--env=") || other.starts_with("--log-format=") => {}
            other => arguments.push(redactor.redact(other)),
        }
    }
    with_dates_resolved(arguments, today, only)
}

/// `-v`, `-vv`, and so on.
fn is_verbosity(argument: &str) -> bool {
    argument.strip_prefix('-').is_some_and(|flags| !flags.is_empty() && flags.chars().all(|flag| flag == 'v'))
}

/// Replaces relative days by their dates: a retry tomorrow means the day of today's command.
fn with_dates_resolved(arguments: Vec<String>, today: NaiveDate, only: Option<&Instance>) -> Vec<String> {
    let mut resolved: Vec<String> = Vec::new();
    let mut has_date = false;
    let mut given = arguments.into_iter();
    while let Some(argument) = given.next() {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) if DATE_FLAGS.contains(&flag) => (flag.to_owned(), Some(value.to_owned())),
            _ if DATE_FLAGS.contains(&argument.as_str()) => (argument, given.next()),
            _ => {
                resolved.push(argument);
                continue;
            }
        };
        has_date = true;
        match value.as_deref().map(|value| parse_days(value, today)) {
            Some(Ok(days)) if days.first() == days.last() => {
                resolved.extend([flag, days.first().to_string()]);
            }
            Some(Ok(days)) => {
                let range = [
                    "--from".to_owned(),
                    days.first().to_string(),
                    "--to".to_owned(),
                    days.last().to_string(),
                ];
                resolved.extend(range);
            }
            Some(Err(_)) | None => resolved.extend(std::iter::once(flag).chain(value)),
        }
    }
    if let Some(only) = only.filter(|_| !has_date)
        && let Some(place) = only.arguments.iter().position(|argument| argument == "--date")
    {
        resolved.extend(only.arguments.iter().skip(place).take(2).cloned());
    }
    resolved
}

/// The flags of `DateArgs`.
const DATE_FLAGS: [&str; 3] = ["--date", "--from", "--to"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_loud_a_command_was_is_no_part_of_it() {
        assert!(["-v", "-vv", "-vvv"].into_iter().all(is_verbosity));
        assert!(!["-", "--verbose", "-7d", "v", "-vx"].into_iter().any(is_verbosity));
    }

    #[test]
    fn a_retry_tomorrow_means_the_day_of_todays_command() {
        let today = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
        let resolve = |line: &str, only: Option<&Instance>| {
            with_dates_resolved(split(line).unwrap(), today, only).join(" ")
        };
        assert_eq!(resolve("report x --date yesterday --out r", None), "report x --date 2026-11-19 --out r");
        assert_eq!(resolve("report x --date=-7d", None), "report x --date 2026-11-13");
        assert_eq!(resolve("report x --date last-month", None), "report x --from 2026-10-01 --to 2026-10-31");
        assert_eq!(
            resolve("report x --from -3d --to nonsense", None),
            "report x --from 2026-11-17 --to nonsense"
        );
        let arguments = split("report x --date 2026-11-19").unwrap();
        let only =
            Instance { key: "2026-11-19".into(), exclusion: String::new(), lane: String::new(), arguments };
        assert_eq!(resolve("report x --out r", Some(&only)), "report x --out r --date 2026-11-19");
    }
}
