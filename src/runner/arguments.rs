//! The arguments that repeat a run: taken from what clap parsed, and printed as the line that is stored with the run,
//! shown by `runs show` and parsed again by `runs retry`.
//!
//! No job prints its own flags: a forgotten one would change what a retry means.

use std::path::Path;

use anyhow::Context as _;
use chrono::NaiveDate;
use clap::{ArgAction, ArgMatches, ValueHint};

use crate::context::Context;
use crate::mask::Redactor;
use crate::period::{DayRange, parse_days};

use super::options::NOT_REPEATED;

/// The arguments of a job's subcommand: which ones exist, and which were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The job's name: the words of the subcommand.
    job: &'static str,
    all: Vec<Argument>,
    /// Whether completed instances are run again.
    is_rerun: bool,
}

/// One argument of the subcommand.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "what clap knows of an argument")]
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
    /// Whether the values are paths: those of a `PathBuf`, or with a path hint.
    is_path: bool,
    /// Whether the values are mail addresses.
    is_address: bool,
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
            is_path: matches!(
                definition.get_value_hint(),
                ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath
            ),
            is_address: definition.get_value_hint() == ValueHint::EmailAddress,
            given: None,
        }
    }

    /// Records what the user gave; defaults are not stored.
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
            // `--from -7d` would be read as two flags.
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
        let all = definition
            .get_arguments()
            .filter(|argument| !NOT_REPEATED.contains(&argument.get_id().as_str()))
            .map(|argument| Argument::of(argument).given_in(matches))
            .collect();
        Self { job, all, is_rerun: false }
    }

    /// A subcommand without arguments.
    #[cfg(test)]
    pub(super) fn none(job: &'static str) -> Self {
        Self { job, all: Vec::new(), is_rerun: false }
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
        self.all.iter_mut().find(|argument| argument.id == id)
    }

    fn value(&self, id: &str) -> Option<&str> {
        self.values(id).first().map(String::as_str)
    }

    /// Whether an argument was given, by clap's id.
    pub(super) fn is_given(&self, id: &str) -> bool {
        self.all.iter().any(|argument| argument.id == id && argument.given.is_some())
    }

    /// The values that were given for an argument, by clap's id.
    pub(super) fn values(&self, id: &str) -> &[String] {
        let argument = self.all.iter().find(|argument| argument.id == id);
        argument.and_then(|argument| argument.given.as_deref()).unwrap_or_default()
    }

    /// The files and folders that were given.
    pub fn paths(&self) -> Vec<String> {
        let paths = self.all.iter().filter(|argument| argument.is_path);
        paths.filter_map(|argument| argument.given.clone()).flatten().filter(|path| path != "-").collect()
    }

    /// The mail addresses that were given.
    pub fn addresses(&self) -> Vec<String> {
        let addresses = self.all.iter().filter(|argument| argument.is_address);
        addresses.filter_map(|argument| argument.given.clone()).flatten().collect()
    }

    /// The same arguments with relative days and paths resolved: what a retry repeats.
    pub(super) fn resolved(&self, cx: &Context) -> Self {
        self.clone().with_days_resolved(cx.today()).with_paths_resolved(cx.working_dir())
    }

    /// The same arguments with relative days replaced by their dates: a retry tomorrow means the day of today's
    /// command.
    fn with_days_resolved(mut self, today: NaiveDate) -> Self {
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

    /// The same arguments for the days of these instances, whether given or not: a retry tomorrow means the days that
    /// the command planned.
    pub(super) fn spanning<'i>(self, instances: impl Iterator<Item = &'i Self> + Clone) -> Self {
        let mut these = instances.clone();
        match (these.next(), these.next()) {
            (None, _) => return self,
            (Some(only), None) => return only.clone(),
            _ => {}
        }
        // Dates in ISO form sort by their days.
        let first = instances.clone().filter_map(|one| one.value("from").or(one.value("date"))).min();
        let last = instances.filter_map(|one| one.value("to").or(one.value("date"))).max();
        match (first, last) {
            (Some(first), Some(last)) => self.with_days(first, last),
            _ => self,
        }
    }

    /// Whether the job is about days.
    pub(super) fn are_dated(&self) -> bool {
        DAY_FLAGS.iter().any(|flag| self.all.iter().any(|argument| argument.id == *flag))
    }

    /// Whether days were given.
    pub(super) fn have_days(&self) -> bool {
        DAY_FLAGS.iter().any(|flag| self.value(flag).is_some())
    }

    /// The same arguments with these days, if none were given.
    pub(super) fn meaning(self, days: Option<DayRange>) -> Self {
        match days {
            Some(days) if !self.have_days() => {
                self.with_days(&days.first().to_string(), &days.last().to_string())
            }
            _ => self,
        }
    }

    /// The same arguments with these days, in the shortest form that the job has.
    fn with_days(mut self, first: &str, last: &str) -> Self {
        let is_day = first == last && self.argument("date").is_some();
        let [day, from, to] =
            if is_day { [Some(first), None, None] } else { [None, Some(first), Some(last)] };
        for (id, value) in DAY_FLAGS.into_iter().zip([day, from, to]) {
            if let Some(argument) = self.argument(id) {
                argument.given = value.map(|value| vec![value.to_owned()]);
            }
        }
        self
    }

    /// The same arguments with relative paths resolved: a retry from another folder means the files of this command.
    /// `-` is stdin or stdout, not a path.
    fn with_paths_resolved(mut self, working_dir: &Path) -> Self {
        for argument in self.all.iter_mut().filter(|argument| argument.is_path) {
            for value in argument.given.iter_mut().flatten().filter(|value| *value != "-") {
                *value = working_dir.join(&value).to_string_lossy().into_owned();
            }
        }
        self
    }

    /// The same arguments for a command that failed before it could run completed instances again: its retry has to.
    pub(super) fn rerun(self, is_rerun: bool) -> Self {
        Self { is_rerun, ..self }
    }

    /// The words of the command line, without the program: the job, its flags, and what is not a flag.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.job.split(' ').map(str::to_owned).collect();
        for argument in &self.all {
            argument.print_flag(&mut words);
        }
        if self.is_rerun {
            words.push("--rerun".to_owned());
        }
        let positional = self.all.iter().filter(|argument| argument.flag.is_none());
        let values: Vec<String> =
            positional.filter_map(|argument| argument.given.clone()).flatten().collect();
        if !values.is_empty() {
            // A file name may look like a flag.
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
    use std::path::PathBuf;

    use super::*;

    /// The arguments of `report x`, as these words give them.
    fn given(words: &str) -> Arguments {
        let value = |id: &'static str| clap::Arg::new(id).long(id).allow_hyphen_values(true);
        let definition = clap::Command::new("report x")
            .args([value("date"), value("from"), value("to")])
            .arg(value("out").value_parser(clap::value_parser!(PathBuf)))
            .arg(value("mall").value_delimiter(',').action(ArgAction::Append))
            .arg(clap::Arg::new("so_far").long("so-far").action(ArgAction::SetTrue))
            .arg(value("size").default_value("10"))
            .arg(clap::Arg::new("file").value_hint(ValueHint::FilePath));
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

    #[test]
    fn a_retry_from_another_folder_means_the_files_of_this_command() {
        let resolved = |words: &str| line(&given(words).with_paths_resolved(Path::new("/srv/shop")));
        assert_eq!(
            resolved("--out reports --mall main orders.csv"),
            "report x --out /srv/shop/reports --mall main -- /srv/shop/orders.csv"
        );
        assert_eq!(resolved("--out /tmp/r"), "report x --out /tmp/r");
        assert_eq!(resolved("--out -"), "report x '--out=-'");
    }

    #[test]
    fn a_failure_of_all_instances_is_repeated_for_their_days() {
        let spanning = |words: &str, instances: &[&str]| {
            let instances: Vec<Arguments> = instances.iter().map(|words| given(words)).collect();
            line(&given(words).spanning(instances.iter()))
        };
        assert_eq!(spanning("--so-far", &[]), "report x --so-far");
        assert_eq!(spanning("--mall a", &["--date 2026-11-19"]), "report x --date 2026-11-19");
        let days = ["--date 2026-11-19", "--date 2026-11-17", "--date 2026-11-18"];
        assert_eq!(spanning("", &days), "report x --from 2026-11-17 --to 2026-11-19");
        assert_eq!(spanning("--from 2026-11-17", &days), "report x --from 2026-11-17 --to 2026-11-19");
        assert_eq!(spanning("--mall a", &["", ""]), "report x --mall a");
        let malls = ["--mall a --from 2026-11-17 --to 2026-11-19", "--mall b --date 2026-11-20"];
        assert_eq!(spanning("--so-far", &malls), "report x --from 2026-11-17 --to 2026-11-20 --so-far");
        let one_day = ["--mall a --date 2026-11-20", "--mall b --date 2026-11-20"];
        assert_eq!(spanning("--from 2026-11-20", &one_day), "report x --date 2026-11-20");
    }
}
