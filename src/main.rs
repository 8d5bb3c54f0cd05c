//! Parses the command line, creates the context, dispatches, reports the error, exits with the code.

use std::process::ExitCode;

use batchctl::cli::{self, Cli};
use batchctl::config::{Config, LoadOptions};
use batchctl::context::Context;
use batchctl::jobs;
use batchctl::mask::Redactor;
use batchctl::output::{self, Output};
use clap::Parser;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    output::print_panics_in_one_line();
    let cli = Cli::parse();
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
    let cx = Context::new(config, output);
    match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(async {
                // A file that may not grow (`ulimit -f`) is an error to report, not a signal to die by.
                let _too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
                cli::dispatch(&cx, &cli.command).await
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
