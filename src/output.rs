//! The one place that prints. Data goes to stdout; everything else goes to stderr.
//!
//! With a terminal there are status lines and a progress bar. Without one a success is silent, as cron wants
//! it, and a failure is a few lines. `--log-format json` writes one JSON object a line instead, for containers.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::mask::Redactor;

/// How messages on stderr look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where and how this process speaks.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "facts about two streams, none of them a state")]
pub struct Output {
    format: LogFormat,
    verbose: bool,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    no_color: bool,
    redactor: Redactor,
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that prints")]
impl Output {
    /// `verbose` shows status lines without a terminal too. `no_color` is the `NO_COLOR` convention.
    pub fn new(format: LogFormat, verbose: bool, no_color: bool, redactor: Redactor) -> Self {
        Self {
            format,
            verbose,
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            no_color,
            redactor,
        }
    }

    /// Whether stdout is a terminal, where a report is shown as a table unless told otherwise.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether to colour what goes to stdout.
    pub fn colour(&self) -> bool {
        self.stdout_is_terminal && !self.no_color
    }

    /// Whether a person is there to be asked.
    pub fn is_interactive(&self) -> bool {
        self.stderr_is_terminal && std::io::stdin().is_terminal()
    }

    /// The terminal's width in columns, if stdout is one.
    pub fn width(&self) -> Option<usize> {
        if !self.stdout_is_terminal {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    }

    /// Writes data to stdout. A reader that has gone away (`| head`) is an error that ends the program quietly.
    pub fn data(&self, data: &[u8]) -> std::io::Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(data)?;
        stdout.flush()
    }

    /// Says what was done, in the past tense, where somebody watches.
    pub fn status(&self, message: &str) {
        match self.format {
            LogFormat::Json => self.log("info", message, &json!({})),
            LogFormat::Text if self.stderr_is_terminal || self.verbose => self.line(message),
            LogFormat::Text => {}
        }
    }

    /// Says what deserves attention but fails nothing. Silent in cron: such things are rows of the history too.
    pub fn warn(&self, message: &str) {
        match self.format {
            LogFormat::Json => self.log("warning", message, &json!({})),
            LogFormat::Text if self.stderr_is_terminal || self.verbose => {
                self.line(&format!("warning: {message}"));
            }
            LogFormat::Text => {}
        }
    }

    /// Says that something failed: always printed.
    pub fn error(&self, message: &str, hints: &[String]) {
        match self.format {
            LogFormat::Json => self.log("error", message, &json!({ "hints": hints })),
            LogFormat::Text => {
                self.line(&format!("error: {message}"));
                for hint in hints {
                    self.line(&format!("  {hint}"));
                }
            }
        }
    }

    /// Writes an event of a run for whoever collects logs; nothing in the text form, where the same is said in
    /// sentences.
    pub fn event(&self, event: &str, fields: &serde_json::Value) {
        if self.format == LogFormat::Json {
            self.log("info", event, fields);
        }
    }

    /// A progress bar with rate and time left; invisible without a terminal.
    pub fn progress(&self, total: Option<u64>) -> ProgressBar {
        if self.format == LogFormat::Json || !self.stderr_is_terminal {
            return ProgressBar::hidden();
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(style(
                "{bar:30} {human_pos}/{human_len} {percent}%  {per_sec}, {eta} left  {msg}",
            )),
            None => ProgressBar::new_spinner()
                .with_style(style("{spinner} {human_pos}  {per_sec}, {elapsed}  {msg}")),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Asks a question on the terminal and gives the line that was typed.
    pub fn ask(&self, question: &str) -> std::io::Result<String> {
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "{question} ")?;
        stderr.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    fn log(&self, level: &str, message: &str, fields: &serde_json::Value) {
        let time = crate::clock::machine_time().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut line = json!({ "time": time, "level": level, "message": message });
        if let (Some(line), Some(fields)) = (line.as_object_mut(), fields.as_object()) {
            line.extend(fields.clone());
        }
        self.line(&line.to_string());
    }

    fn line(&self, line: &str) {
        let line = printable(&self.redactor.redact(line));
        // Nobody can be told that stderr is closed.
        drop(writeln!(std::io::stderr().lock(), "{line}"));
    }
}

/// A line as it may go to a terminal: what is in data cannot colour it, rename its window or break it in two.
pub fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .map(|character| {
            if character.is_control() {
                character.escape_default().to_string()
            } else {
                character.to_string()
            }
        })
        .collect()
}

/// A defect is one line, as every failure is, and not a backtrace in somebody's cron mail.
#[expect(clippy::disallowed_methods, reason = "this is the one place that prints")]
pub fn print_panics_in_one_line() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string().replace('\n', " ");
        // Nobody can be told that stderr is closed.
        drop(writeln!(std::io::stderr().lock(), "defect in batchctl: {text}"));
    }));
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
