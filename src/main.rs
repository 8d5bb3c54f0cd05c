//! Parses the command line, creates the context, dispatches, reports the error, exits with the code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use batchctl::cli::{self, Cli};
use batchctl::config::{Config, LoadOptions};
use batchctl::context::Context;
use batchctl::jobs;
use batchctl::mask::Redactor;
use batchctl::output::{self, Output};
use futures_util::FutureExt as _;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    output::print_panics_in_one_line(Redactor::default());
    keep_memory_out_of_files();
    // A bug is a failure like any other; its line is printed by then.
    catch_unwind(run).unwrap_or_else(|_| batchctl::runner::ExitCode::Failed.into())
}

/// A core dump would hold every password and whatever rows were being read.
fn keep_memory_out_of_files() {
    let limit = rustix::process::getrlimit(Resource::Core);
    // Where it cannot be lowered, nothing is lost but this.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..limit });
}

fn run() -> ExitCode {
    let cli = Cli::of_process().unwrap_or_else(|error| output::refuse_command_line(&error));
    let full_paths = !output::is_watched(cli.global.log_format);
    let options = LoadOptions::from_process(cli.global.env.clone(), full_paths);
    let known = options.as_ref().ok().cloned();
    let loaded =
        options.and_then(Config::load).and_then(|config| jobs::check_names(&config).map(|()| config));
    let config = match loaded {
        Ok(config) => config,
        Err(error) => {
            // No configuration, no redactor: the configuration's own errors never contain a secret value.
            let output = Output::new(cli.global.log_format, cli.global.verbosity, true, Redactor::default());
            let (message, hints) = cli::refusal_of_settings(&cli.command, known, &error.to_string());
            output.error(&message, &hints);
            return batchctl::runner::ExitCode::Configuration.into();
        }
    };
    let no_color = config.variable("NO_COLOR").is_some();
    let output = Output::new(cli.global.log_format, cli.global.verbosity, no_color, config.redactor());
    output::print_panics_in_one_line(config.redactor());
    let cx = Context::new(config, output);
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(async {
                // A file that may not grow (`ulimit -f`) is an error to report, not a signal to die by.
                let _too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
                // Caught in here too, so that what must not be cut off below is not.
                let dispatched = AssertUnwindSafe(cli::dispatch(&cx, &cli.command)).catch_unwind().await;
                dispatched.unwrap_or(batchctl::runner::ExitCode::Failed)
            });
            // Whatever ended the run: some work must not be cut off.
            runtime.block_on(cx.finish());
            // Work still running on a thread (a PDF past its deadline) is not waited for.
            runtime.shutdown_background();
            code.into()
        }
        Err(error) => {
            cx.output.error(&format!("failed to start the runtime: {error}"), &[]);
            batchctl::runner::ExitCode::Failed.into()
        }
    }
}
