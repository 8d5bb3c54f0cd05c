//! The command line: global flags and the groups of commands.

use clap::{CommandFactory, Parser, Subcommand};

use crate::context::Context;
use crate::jobs::{
    cart, configuration, data, database, demo, environment, mail, mall, report, runs, schedule, stats,
};
use crate::output::LogFormat;
use crate::runner::{ExitCode, RunOptions, end_plain, report_error};

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
    /// Say what was done without a terminal too; twice (`-vv`), trace requests to outside systems as well
    #[arg(long = "verbose", short, global = true, action = clap::ArgAction::Count)]
    pub verbosity: u8,
}

/// The groups.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report sales, cancellations, sign-ups, and the figures for the management
    #[command(subcommand)]
    Report(report::Report),
    /// Count what there is, once a day
    #[command(subcommand)]
    Stats(stats::Stats),
    /// Load a shop's data
    #[command(subcommand)]
    Data(data::Data),
    /// Remind members of what they left in their carts
    #[command(subcommand)]
    Cart(cart::Cart),
    /// Send mails, and look after their queue and their texts
    #[command(subcommand)]
    Mail(mail::Mail),
    /// Name the malls whose data is kept here
    #[command(subcommand)]
    Mall(mall::MallCommand),
    /// Look at past runs and repeat what failed
    #[command(subcommand)]
    Runs(runs::Runs),
    /// Care for the database
    #[command(subcommand)]
    Db(database::Database),
    /// Print the jobs' schedules for a scheduler
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    /// Show the environment's settings
    #[command(subcommand)]
    Env(environment::EnvCommand),
    /// Check the configuration
    #[command(subcommand)]
    Config(configuration::ConfigCommand),
    /// Make an example shop and run the day's jobs on it
    Demo(demo::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Runs the chosen command.
pub async fn dispatch(cx: &Context, command: &Command) -> ExitCode {
    match command {
        Command::Report(report) => report.dispatch(cx).await,
        Command::Stats(stats) => stats.dispatch(cx).await,
        Command::Data(data) => data.dispatch(cx).await,
        Command::Cart(cart) => cart.dispatch(cx).await,
        Command::Mail(mail) => mail.dispatch(cx).await,
        Command::Mall(mall) => mall.dispatch(cx).await,
        Command::Runs(runs::Runs::Retry(args)) => retry(cx, args).await,
        Command::Runs(runs) => runs.dispatch(cx).await,
        Command::Db(database) => end_plain(cx, database.dispatch(cx).await),
        Command::Schedule(schedule) => end_plain(cx, schedule.dispatch(cx)),
        Command::Env(environment) => end_plain(cx, environment.dispatch(cx)),
        Command::Config(configuration) => end_plain(cx, configuration.dispatch(cx)),
        Command::Demo(args) => match demo::prepare(cx, args).await {
            Ok(prepared) => run_demo(cx, &prepared).await,
            Err(error) => report_error(cx, &error),
        },
        Command::Completions { shell } => end_plain(cx, completions(cx, *shell)),
        Command::Man => end_plain(cx, manual(cx)),
    }
}

/// `runs retry`: parses the stored command line again and runs it, limited to what failed.
async fn retry(cx: &Context, args: &runs::RetryArgs) -> ExitCode {
    let stored = match runs::stored_command(cx, args).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return ExitCode::Completed,
        Err(error) => return report_error(cx, &error),
    };
    let mut command = match parse(&stored.arguments) {
        Ok(command) => command,
        Err(error) => return report_error(cx, &error),
    };
    if let Some(options) = run_options(&mut command) {
        options.retry_of = Some(args.id);
        options.rerun |= args.rerun;
        options.on_overlap = args.on_overlap.or(options.on_overlap);
    }
    Box::pin(dispatch(cx, &command)).await
}

/// The demo's commands, one after the other, each as a user would type it.
async fn run_demo(cx: &Context, prepared: &demo::Prepared) -> ExitCode {
    let cx = prepared.cx.as_ref().unwrap_or(cx);
    for arguments in &prepared.commands {
        let code = match parse(arguments) {
            Ok(command) => Box::pin(dispatch(cx, &command)).await,
            Err(error) => report_error(cx, &error),
        };
        if code != ExitCode::Completed {
            return code;
        }
    }
    end_plain(cx, demo::finish(cx, prepared))
}

fn parse(arguments: &[String]) -> anyhow::Result<Command> {
    let program = std::iter::once("batchctl");
    let cli = Cli::try_parse_from(program.chain(arguments.iter().map(String::as_str)))
        .map_err(|error| anyhow::anyhow!("failed to parse `{}`: {error}", arguments.join(" ")))?;
    Ok(cli.command)
}

/// The runner's flags of a command, if it is a job.
fn run_options(command: &mut Command) -> Option<&mut RunOptions> {
    match command {
        Command::Report(report) => Some(report.options()),
        Command::Stats(stats) => Some(stats.options()),
        Command::Data(data) => Some(data.options()),
        Command::Cart(cart) => Some(cart.options()),
        Command::Mail(mail) => mail.options(),
        Command::Mall(mall) => mall.options(),
        Command::Runs(runs) => runs.options(),
        _ => None,
    }
}

fn completions(cx: &Context, shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "batchctl", &mut script);
    Ok(cx.output.data(&script)?)
}

fn manual(cx: &Context) -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(cx.output.data(&page)?)
}
