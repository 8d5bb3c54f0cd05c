//! The arguments that repeat a run: taken from what clap parsed, and printed as the line that is stored with the run,
//! shown by `runs show` and parsed again by `runs retry`.
//!
//! No job prints its own flags: one that was forgotten would change what a retry means.

use anyhow::Context as _;
use chrono::NaiveDate;
use clap::{ArgAction, ArgMatches};

use crate::mask::Redactor;
use crate::period::parse_days;

use super::options::NOT_REPEATED;

/// The arguments of a job's subcommand: which there are, and which were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The job's name: the words of the subcommand.
    job: &'static str,
    arguments: Vec<Argument>,
}

/// One argument of the subcommand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Argument {
    /// clap's id.
    id: String,
    /// The flag, without its dashes; `None` for a positional one.
    flag: Option<String>,
    takes_value: bool,
    /// Joins several values of one flag; `None` if the flag is repeated instead.
    delimiter: Option<char>,
    /// Whether only `--flag=value` is understood.
    requires_equals: bool,
    /// The values that were given; `None` if the argument was not.
    given: Option<Vec<String>>,
}

impl Argument {
    fn of(definition: &clap::Arg) -> Self {
        Self {
            id: definition.get_id().to_string(),
            flag: definition.get_long().map(str::to_owned),
            takes_value: !matches!(definition.get_action(), ArgAction::SetTrue | ArgAction::SetFalse),
            delimiter: definition.get_value_delimiter(),
            requires_equals: definition.is_require_equals_set(),
            given: None,
        }
    }

    /// Takes over what a user gave; a default is not stored, since the job has it.
    fn given_in(mut self, matches: &ArgMatches) -> Self {
        let is_given = matches.value_source(&self.id) == Some(clap::parser::ValueSource::CommandLine);
        if is_given {
            let values = matches.get_raw(&self.id).into_iter().flatten();
            self.given = Some(values.map(|value| value.to_string_lossy().into_owned()).collect());
        }
        self
    }

    /// The words of a flag on the command line.
    fn print_flag(&self, words: &mut Vec<String>) {
        let (Some(flag), Some(given)) = (&self.flag, &self.given) else { return };
        if !self.takes_value {
            words.push(format!("--{flag}"));
            return;
        }
        let values = match self.delimiter {
            Some(delimiter) => vec![given.join(&delimiter.to_string())],
            None => given.clone(),
        };
        for value in values {
            // `--from -7d` would be taken for two flags.
            if self.requires_equals || value.starts_with('-') {
                words.push(format!("--{flag}={value}"));
            } else {
                words.extend([format!("--{flag}"), value]);
            }
        }
    }
}

impl Arguments {
    /// The arguments of a subcommand as they were given. `definition` is the subcommand before clap adds its own flags.
    pub(super) fn given(job: &'static str, definition: &clap::Command, matches: &ArgMatches) -> Self {
        let arguments = definition
            .get_arguments()
            .filter(|argument| !NOT_REPEATED.contains(&argument.get_id().as_str()))
            .map(|argument| Argument::of(argument).given_in(matches))
            .collect();
        Self { job, arguments }
    }

    /// A subcommand without arguments.
    #[cfg(test)]
    pub(super) fn none(job: &'static str) -> Self {
        Self { job, arguments: Vec::new() }
    }

    /// The job's name.
    pub fn job(&self) -> &'static str {
        self.job
    }

    /// Sets an argument, by clap's id; without values it is left out.
    pub(super) fn set(&mut self, id: &str, values: Vec<String>) -> anyhow::Result<()> {
        let job = self.job;
        let argument = self.argument(id).with_context(|| {
            format!("`{job}` plans an instance with the argument `{id}`, which it does not have")
        })?;
        argument.given = (!values.is_empty()).then_some(values);
        Ok(())
    }

    fn argument(&mut self, id: &str) -> Option<&mut Argument> {
        self.arguments.iter_mut().find(|argument| argument.id == id)
    }

    fn value(&self, id: &str) -> Option<&str> {
        let argument = self.arguments.iter().find(|argument| argument.id == id)?;
        argument.given.as_ref()?.first().map(String::as_str)
    }

    /// The same arguments with relative days replaced by their dates: a retry tomorrow means the day of today's
    /// command.
    pub(super) fn with_days_resolved(mut self, today: NaiveDate) -> Self {
        for flag in DAY_FLAGS {
            let Some(Ok(days)) = self.value(flag).map(|value| parse_days(value, today)) else { continue };
            let (first, last) = (days.first().to_string(), days.last().to_string());
            let resolved = if first == last {
                vec![(flag, vec![first])]
            } else {
                vec![(flag, Vec::new()), ("from", vec![first]), ("to", vec![last])]
            };
            for (id, values) in resolved {
                if let Some(argument) = self.argument(id) {
                    argument.given = (!values.is_empty()).then_some(values);
                }
            }
        }
        self
    }

    /// The words of the command line, without the program: the job, its flags, and what is not a flag.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.job.split(' ').map(str::to_owned).collect();
        for argument in &self.arguments {
            argument.print_flag(&mut words);
        }
        let positional = self.arguments.iter().filter(|argument| argument.flag.is_none());
        let values: Vec<String> =
            positional.filter_map(|argument| argument.given.clone()).flatten().collect();
        if !values.is_empty() {
            // A file may be named like a flag.
            words.push("--".to_owned());
            words.extend(values);
        }
        words
    }

    /// The command line that repeats the run, secrets masked: a shell would split it into the same words.
    pub(super) fn line(&self, redactor: &Redactor) -> String {
        let words: Vec<String> = self.words().iter().map(|word| redactor.redact(word)).collect();
        // The only character that cannot be quoted is NUL, which no argument can hold.
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default()
    }
}

/// The flags whose values are days: those of [`crate::period::DateArgs`].
const DAY_FLAGS: [&str; 3] = ["date", "from", "to"];

/// Splits a stored line into words.
pub fn split(line: &str) -> anyhow::Result<Vec<String>> {
    shlex::split(line).with_context(|| format!("failed to read the stored command line `{line}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments of `report x`, as these words give them.
    fn given(words: &str) -> Arguments {
        let value = |id: &'static str| clap::Arg::new(id).long(id).allow_hyphen_values(true);
        let definition = clap::Command::new("report x")
            .args([value("date"), value("from"), value("to"), value("out")])
            .arg(value("mall").value_delimiter(',').action(ArgAction::Append))
            .arg(clap::Arg::new("so_far").long("so-far").action(ArgAction::SetTrue))
            .arg(value("size").default_value("10"))
            .arg(clap::Arg::new("file"));
        let words = std::iter::once("report x".to_owned()).chain(split(words).unwrap());
        Arguments::given("report x", &definition, &definition.clone().get_matches_from(words))
    }

    fn line(arguments: &Arguments) -> String {
        arguments.line(&Redactor::default())
    }

    #[test]
    fn what_was_given_is_printed_in_one_form_and_defaults_are_not() {
        assert_eq!(line(&given("")), "report x");
        assert_eq!(
            line(&given("--mall=a --so-far 'a file' --mall b,c --out=-r")),
            "report x '--out=-r' --mall 'a,b,c' --so-far -- 'a file'"
        );
        assert_eq!(line(&given("--size 10")), "report x --size 10");
    }

    #[test]
    fn an_instance_sets_and_drops_arguments() {
        let mut arguments = given("--from -3d --so-far");
        arguments.set("date", vec!["2026-11-19".to_owned()]).unwrap();
        arguments.set("from", vec![]).unwrap();
        assert_eq!(line(&arguments), "report x --date 2026-11-19 --so-far");
        let error = arguments.set("day", vec![]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`report x` plans an instance with the argument `day`, which it does not have"
        );
    }

    #[test]
    fn a_retry_tomorrow_means_the_day_of_todays_command() {
        let today = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
        let resolved = |words: &str| line(&given(words).with_days_resolved(today));
        assert_eq!(resolved("--date yesterday --out r"), "report x --date 2026-11-19 --out r");
        assert_eq!(resolved("--date=-7d"), "report x --date 2026-11-13");
        assert_eq!(resolved("--date last-month"), "report x --from 2026-10-01 --to 2026-10-31");
        assert_eq!(resolved("--from -3d --to nonsense"), "report x --from 2026-11-17 --to nonsense");
    }
}
