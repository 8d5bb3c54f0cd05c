//! The command line: global flags and the groups of commands.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use futures_util::future::LocalBoxFuture;

use crate::config::{Config, LoadOptions};
use crate::context::Context;
use crate::failure::Failure;
use crate::jobs::runs::{StoredCommand, refuse_other_job};
use crate::jobs::{
    alerts, cart, configuration, data, database, demo, environment, events, mail, mall, order, report, runs,
    schedule, stats, stock,
};
use crate::output::{LogFormat, Output};
use crate::runner::stored_line::Origin;
use crate::runner::{Action, ExitCode, Retry, line_of_start, report_error};

/// The batch jobs of an online business: each command runs once and exits
#[derive(Debug, Parser)]
#[command(name = "batchctl", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// The flags that every command has.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The flags that every command has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub struct GlobalArgs {
    /// Use this environment: its `.env.NAME`, its database (default: `BATCHCTL_ENV`, else `dev`)
    #[arg(long, global = true, value_name = "NAME")]
    pub env: Option<String>,
    /// Write messages as lines of text, or of JSON for log collectors
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Report what was done even without a terminal; `-vv` also traces requests to outside systems
    #[arg(long = "verbose", short, global = true, action = clap::ArgAction::Count)]
    pub verbosity: u8,
}

/// The command groups.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report sales, cancellations, sign-ups and the key figures for management
    #[command(subcommand)]
    Report(report::Report),
    /// Store the day's counts and sales, for reports and for other systems
    #[command(subcommand)]
    Stats(stats::Stats),
    /// Load a shop's data
    #[command(subcommand)]
    Data(data::Data),
    /// Remind members of abandoned carts
    #[command(subcommand)]
    Cart(cart::Cart),
    /// Cancel orders that were not paid in time
    #[command(subcommand)]
    Order(order::Order),
    /// Alert about low stock, and compare the stock in Redis with the database
    #[command(subcommand)]
    Stock(stock::Stock),
    /// Send mails, and manage their queue and their texts
    #[command(subcommand)]
    Mail(mail::Mail),
    /// Manage malls, their access tokens and their synchronisation
    #[command(subcommand)]
    Mall(mall::MallCommand),
    /// Publish the events of the outbox, and manage them
    #[command(subcommand)]
    Events(events::Events),
    /// List past runs and retry what failed
    #[command(subcommand)]
    Runs(runs::Runs),
    /// Migrate and check the database
    #[command(subcommand)]
    Db(database::Database),
    /// Print the jobs' schedules
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    /// Show the environment's settings
    #[command(subcommand)]
    Env(environment::EnvCommand),
    /// Test the alert channels
    #[command(subcommand)]
    Alerts(alerts::Alerts),
    /// Check the configuration
    #[command(subcommand)]
    Config(configuration::ConfigCommand),
    /// Create an example shop and run the day's jobs on it
    Demo(demo::Args),
    /// Print a shell completion script
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write a page for every command
    Man {
        /// Write `batchctl.1`, `batchctl-report.1`, … to this folder
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

impl Command {
    /// What the chosen command does.
    fn action<'a>(&'a self, cx: &'a Context) -> Action<'a> {
        match self {
            Self::Report(group) => group.action(cx),
            Self::Stats(group) => group.action(cx),
            Self::Data(group) => group.action(cx),
            Self::Cart(group) => group.action(cx),
            Self::Order(group) => group.action(cx),
            Self::Stock(group) => group.action(cx),
            Self::Mail(group) => group.action(cx),
            Self::Mall(group) => group.action(cx),
            Self::Events(group) => group.action(cx),
            Self::Runs(group) => group.action(cx, repeat),
            Self::Db(group) => Action::plain(cx, group.dispatch(cx)),
            Self::Schedule(group) => Action::plain(cx, async move { group.dispatch(cx) }),
            Self::Env(group) => Action::plain(cx, async move { group.dispatch(cx) }),
            Self::Alerts(group) => Action::plain(cx, group.dispatch(cx)),
            Self::Config(group) => Action::plain(cx, group.dispatch(cx)),
            Self::Demo(args) => Action::other(demo::demo(cx, args, run_line)),
            Self::Completions { shell } => Action::plain(cx, async move { completions(cx, *shell) }),
            Self::Man { out } => Action::plain(cx, async move { manual(cx, out.as_deref()) }),
        }
    }
}

impl Cli {
    /// Parses the program's own command line.
    pub fn of_process() -> Result<Self, clap::Error> {
        let matches = with_globals_shown_once(Self::command()).try_get_matches()?;
        Self::from_arg_matches(&matches)
    }
}

/// Shows the flags that every command has in the help of the program only: repeated in each, they hide what is special there.
fn with_globals_shown_once(mut command: clap::Command) -> clap::Command {
    // Before that the subcommands do not have them.
    command.build();
    command.mut_subcommands(without_globals)
}

fn without_globals(command: clap::Command) -> clap::Command {
    let elsewhere = "Every command: --env, --log-format and --verbose (`batchctl --help`)";
    let facts = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let facts = facts.map_or_else(|| elsewhere.to_owned(), |facts| format!("{facts}\n{elsewhere}"));
    command
        .mut_args(|argument| if argument.is_global_set() { argument.hide(true) } else { argument })
        .after_long_help(facts)
        .mut_subcommands(without_globals)
}

/// Runs the chosen command.
pub async fn dispatch(cx: &Context, command: &Command) -> ExitCode {
    command.action(cx).run(cx).await
}

/// What is told of a command whose settings are wrong, before there is a context: which job did not start, and what to
/// type once they are right. The days in it are those that were meant.
pub fn refusal_of_settings(
    command: &Command,
    options: Option<LoadOptions>,
    error: &str,
) -> (String, Vec<String>) {
    let known = options.and_then(Config::in_spite_of_errors);
    let Some(config) = known else { return (error.to_owned(), Vec::new()) };
    let output = Output::new(LogFormat::Text, 0, true, config.redactor());
    let cx = Context::new(config, output);
    let Action::Job(job) = command.action(&cx) else { return (error.to_owned(), Vec::new()) };
    let retry = cx.command(&line_of_start(&cx, job, job.options()));
    let hints =
        vec!["data:  nothing was changed".to_owned(), format!("retry: {retry}  # once this is corrected")];
    let code = ExitCode::Configuration.number();
    (format!("{} did not start (exit {code}): {error}", job.spec().name), hints)
}

/// Runs a command line, given as words without the program.
fn run_line<'a>(cx: &'a Context, words: &'a [String]) -> LocalBoxFuture<'a, ExitCode> {
    Box::pin(async move {
        match parse(words) {
            Ok(command) => dispatch(cx, &command).await,
            Err(error) => report_error(cx, &error),
        }
    })
}

/// `runs retry`: runs a stored command line, limited to what failed. A stored text is run only if it is proven to start
/// the job of its run.
fn repeat(cx: &Context, stored: StoredCommand, retry: Retry) -> LocalBoxFuture<'_, ExitCode> {
    Box::pin(async move {
        // Flags that were added for the retry replace those of the stored line.
        let command = match parse_with(Cli::command().args_override_self(true), &stored.words) {
            Ok(command) => command,
            Err(error) if !stored.flags.is_empty() => {
                return report_error(cx, &Failure::usage(error.to_string()).into());
            }
            Err(error) => return report_error(cx, &error),
        };
        match command.action(cx) {
            Action::Job(job) if job.spec().name == stored.job => {
                match stored.refuse_foreign_places(cx, job.arguments()) {
                    Ok(()) => {
                        let is_unproven = stored.origin == Origin::Unproven;
                        Box::pin(job.retry(cx, Retry { is_unproven, ..retry })).await
                    }
                    Err(failure) => report_error(cx, &failure.into()),
                }
            }
            _ => report_error(cx, &refuse_other_job(&stored).into()),
        }
    })
}

fn parse(words: &[String]) -> anyhow::Result<Command> {
    parse_with(Cli::command(), words)
}

fn parse_with(parser: clap::Command, words: &[String]) -> anyhow::Result<Command> {
    let program = std::iter::once("batchctl");
    let cli = parser
        .try_get_matches_from(program.chain(words.iter().map(String::as_str)))
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = cli
        .map_err(|error| anyhow::anyhow!("failed to parse `{}`: {}", words.join(" "), first_line(&error)))?;
    Ok(cli.command)
}

/// What clap says about a line without its usage, which is that of another command.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn completions(cx: &Context, shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "batchctl", &mut script);
    Ok(cx.output.data(&script)?)
}

fn manual(cx: &Context, out: Option<&Path>) -> anyhow::Result<()> {
    if let Some(folder) = out {
        let folder = cx.working_dir().join(folder);
        let written =
            std::fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(Cli::command(), &folder));
        written.with_context(|| format!("failed to write manual pages to `{}`", folder.display()))?;
        cx.output.status(&format!("Wrote the manual pages to {}", folder.display()));
        return Ok(());
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(cx.output.data(&page)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::error::ErrorKind;

    use super::*;
    use crate::config::{Config, LoadOptions};
    use crate::jobs::specs;
    use crate::mask::Redactor;
    use crate::output::Output;
    use crate::runner::NOT_REPEATED;

    /// A value that an argument takes.
    fn sample(argument: &clap::Arg) -> String {
        if let Some(value) = argument.get_possible_values().last() {
            return value.get_name().to_owned();
        }
        let value_name = argument.get_value_names().map_or("", |names| names[0].as_str());
        let value = match value_name {
            "DAY" | "DAY|INSTANT" | "INSTANT" => "2026-11-19",
            "DURATION" => "90m",
            "N" | "LINES" | "ORDERS" | "COUNT" | "DAYS" | "ID" => "17",
            "KIND" => "cart-reminder",
            "NAME" => "shopify",
            "HASH" => "9f86d081884c",
            "N|N%" => "1%",
            "fail|wait=DURATION" => "fail",
            "MALL" => "tokyo",
            "CHARACTER" => ";",
            "ADDRESS" => "manager@example.jp",
            // It looks like a flag, and contains characters at which a shell would split.
            "FILE" | "DIR" | "DIR|-" => "-it's a \"file\" $HOME",
            other => panic!("add a sample value for `{}` here: `{other}` is new", argument.get_id()),
        };
        value.to_owned()
    }

    /// The words that set an argument, and whether they come last.
    fn words_of(argument: &clap::Arg) -> Vec<String> {
        match argument.get_long() {
            None => vec!["--".to_owned(), sample(argument)],
            Some(flag) if argument.get_action().takes_values() => {
                let value = match argument.get_value_delimiter() {
                    Some(delimiter) => format!("{0}{delimiter}{0}", sample(argument)),
                    None => sample(argument),
                };
                vec![format!("--{flag}={value}")]
            }
            Some(flag) => vec![format!("--{flag}")],
        }
    }

    /// A command line of the job with these arguments and all required ones.
    fn line(job: &str, all: &[clap::Arg], wanted: &[&clap::Arg]) -> Vec<String> {
        let is_needed = |argument: &&clap::Arg| {
            argument.is_required_set() || wanted.iter().any(|wanted| wanted.get_id() == argument.get_id())
        };
        let (flags, rest): (Vec<&clap::Arg>, Vec<&clap::Arg>) =
            all.iter().filter(is_needed).partition(|argument| argument.get_long().is_some());
        let words = job.split(' ').map(str::to_owned);
        words.chain(flags.into_iter().chain(rest).flat_map(words_of)).collect()
    }

    fn is_incomplete(words: &[String]) -> bool {
        let program = std::iter::once("batchctl");
        Cli::try_parse_from(program.chain(words.iter().map(String::as_str)))
            .is_err_and(|error| error.kind() == ErrorKind::MissingRequiredArgument)
    }

    fn subcommand(job: &str) -> clap::Command {
        job.split(' ').fold(Cli::command(), |command, word| command.find_subcommand(word).unwrap().clone())
    }

    /// A context that opens nothing.
    fn context(folder: &std::path::Path) -> Context {
        let options = LoadOptions {
            env_flag: None,
            working_dir: folder.to_owned(),
            process_env: BTreeMap::new(),
            full_paths: false,
        };
        let config = Config::load(options).unwrap();
        Context::new(config, Output::new(LogFormat::Text, 0, true, Redactor::default()))
    }

    /// The words that a run of this command stores.
    fn printed(cx: &Context, command: &Command) -> Vec<String> {
        match command.action(cx) {
            Action::Job(job) => job.arguments().words(),
            Action::Other(_) => panic!("{command:?} is not a job"),
        }
    }

    #[test]
    fn every_argument_of_every_job_is_printed_and_parsed_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let cx = context(folder.path());
        let mut arguments_seen = 0;
        for spec in specs() {
            let all: Vec<clap::Arg> = subcommand(spec.name).get_arguments().cloned().collect();
            // With these it is no run, and nothing is stored.
            let starts_none = |argument: &&clap::Arg| {
                spec.name == "data import"
                    && ["check", "guess", "dry_run"].contains(&argument.get_id().as_str())
            };
            let all_of_runs: Vec<&clap::Arg> = all.iter().filter(|argument| !starts_none(argument)).collect();
            for &argument in &all_of_runs {
                let mut words = line(spec.name, &all, &[argument]);
                if is_incomplete(&words) {
                    // It requires another one, or two: `--to` requires `--from`.
                    let alone = all_of_runs.iter().map(|one| vec![argument, *one]);
                    let pairs = all_of_runs
                        .iter()
                        .flat_map(|one| all_of_runs.iter().map(move |two| vec![argument, *one, *two]));
                    words = alone
                        .chain(pairs)
                        .map(|wanted| line(spec.name, &all, &wanted))
                        .find(|words| parse(words).is_ok())
                        .unwrap_or_else(|| panic!("{words:?} cannot be completed"));
                }
                let given = parse(&words).unwrap_or_else(|error| panic!("{words:?}: {error:#}"));
                let stored = printed(&cx, &given);
                let again = parse(&stored).unwrap_or_else(|error| panic!("{stored:?}: {error:#}"));
                assert_eq!(printed(&cx, &again), stored);
                if !NOT_REPEATED.contains(&argument.get_id().as_str()) {
                    assert_eq!(format!("{again:?}"), format!("{given:?}"), "{words:?} became {stored:?}");
                    assert_ne!(stored, spec.name.split(' ').collect::<Vec<_>>(), "{words:?} is lost");
                }
                arguments_seen += 1;
            }
        }
        assert!(arguments_seen > 150, "only {arguments_seen} arguments");
    }

    #[test]
    fn an_advice_knows_every_group_of_commands() {
        let mut groups: Vec<String> = Cli::command()
            .get_subcommands()
            .filter(|command| command.has_subcommands())
            .map(|command| command.get_name().to_owned())
            .collect();
        groups.sort();
        assert_eq!(groups, crate::context::GROUPS);
    }
}
