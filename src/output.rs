//! The only place that prints. Data goes to stdout, everything else to stderr.
//!
//! With a terminal there are status lines and progress bars, one below another where work runs side by side.
//! Without one, success is silent, as cron wants it, and a failure is a few lines. `--log-format json` writes one
//! JSON object per line instead, for containers.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{
    HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use serde_json::json;

use crate::failure::MAX_ERROR_CHARACTERS;
use crate::mask::Redactor;
use crate::printable::{escaped, escaped_json, escaped_lines, shortened};

/// How messages on stderr look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// From this many `-v` on, requests to outside systems are traced.
const TRACING: u8 = 2;
/// How often a bar is redrawn while it does not advance.
const TICK: Duration = Duration::from_millis(200);

/// Data that could not be written to stdout.
#[derive(Debug, thiserror::Error)]
#[error("failed to write to stdout")]
pub struct StdoutError(#[source] io::Error);

/// Where and how this process prints. A clone shares the terminal and may be used from any task.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "facts about two streams, none of them a state")]
pub struct Output {
    format: LogFormat,
    verbose: bool,
    tracing: bool,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    no_color: bool,
    redactor: Redactor,
    bars: Bars,
}

/// The bars that are drawn now. Other output is printed above them.
#[derive(Clone)]
struct Bars {
    all: MultiProgress,
    drawn: Arc<AtomicUsize>,
}

impl Bars {
    fn are_drawn(&self) -> bool {
        self.drawn.load(Ordering::Relaxed) > 0
    }
}

/// Whether a person reads what is printed in this format, where it is printed: on a terminal.
#[expect(clippy::disallowed_methods, reason = "this is the only place that prints")]
pub fn is_watched(format: LogFormat) -> bool {
    format == LogFormat::Text && io::stderr().is_terminal()
}

/// The progress of a piece of work, drawn as a line of the terminal until dropped; invisible without a terminal.
pub struct Progress {
    bar: ProgressBar,
    bars: Option<Bars>,
}

impl Progress {
    /// An invisible bar.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), bars: None }
    }

    /// Advances by this many items.
    pub fn advance(&self, items: u64) {
        self.bar.inc(items);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if let Some(bars) = &self.bars {
            bars.all.remove(&self.bar);
            bars.drawn.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the only place that prints")]
impl Output {
    /// `verbosity` counts the `-v` flags: one prints status lines even without a terminal, two trace requests to
    /// outside systems. `no_color` is the `NO_COLOR` convention.
    pub fn new(format: LogFormat, verbosity: u8, no_color: bool, redactor: Redactor) -> Self {
        Self {
            format,
            verbose: verbosity > 0,
            tracing: verbosity >= TRACING,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            no_color,
            redactor,
            bars: Bars {
                all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
                drawn: Arc::default(),
            },
        }
    }

    /// The same output with the secrets of other settings.
    #[must_use]
    pub fn with_redactor(&self, redactor: Redactor) -> Self {
        Self { redactor, ..self.clone() }
    }

    /// Whether stdout is a terminal, where a report is shown as a table unless told otherwise.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether to colour what goes to stdout.
    pub fn colour(&self) -> bool {
        self.stdout_is_terminal && !self.no_color
    }

    /// Whether somebody reads every message: a person, or a collector of logs; not cron, which mails each one.
    pub fn is_attended(&self) -> bool {
        self.stderr_is_terminal || self.verbose || self.format == LogFormat::Json
    }

    /// Whether progress bars are shown: then it is worth a query to find out the total.
    pub fn is_watched(&self) -> bool {
        is_watched(self.format)
    }

    /// Whether requests to outside systems are traced, so that callers need not build a trace for nothing.
    pub fn is_tracing(&self) -> bool {
        self.tracing
    }

    /// Whether there is a person who can answer a question.
    pub fn is_interactive(&self) -> bool {
        self.stderr_is_terminal && io::stdin().is_terminal()
    }

    /// The terminal's width in columns, if stdout is one.
    pub fn width(&self) -> Option<usize> {
        if !self.stdout_is_terminal {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    }

    /// Writes data to stdout. A closed pipe (`| head`) is an error that ends the program quietly; a stdout that was never
    /// open is not, because nobody can have seen anything.
    pub fn data(&self, data: &[u8]) -> Result<(), StdoutError> {
        let write = || {
            if batchctl_startup::stdout_was_closed() {
                return Err(io::Error::other("it is closed"));
            }
            // Not through `Stdout`, which takes a descriptor that cannot be written to for one that wants no data.
            File::from(io::stdout().as_fd().try_clone_to_owned()?).write_all(data)
        };
        let written = if self.stdout_is_terminal && self.bars.are_drawn() {
            self.bars.all.suspend(write)
        } else {
            write()
        };
        written.map_err(StdoutError)
    }

    /// Writes lines for people to stdout. Whatever is foreign in them cannot colour them, move the cursor or pose as
    /// another line.
    pub fn text(&self, lines: &str) -> Result<(), StdoutError> {
        if lines.is_empty() { Ok(()) } else { self.data((escaped_lines(lines) + "\n").as_bytes()) }
    }

    /// Reports what was done, in the past tense, on a terminal or with `-v`.
    pub fn status(&self, message: &str) {
        match self.format {
            LogFormat::Json => self.log("info", message, &json!({})),
            LogFormat::Text if self.stderr_is_terminal || self.verbose => self.line(message),
            LogFormat::Text => {}
        }
    }

    /// Reports what deserves attention but is not a failure. Silent in cron: such things are in the history too.
    pub fn warn(&self, message: &str) {
        match self.format {
            LogFormat::Json => self.log("warning", message, &json!({})),
            LogFormat::Text if self.stderr_is_terminal || self.verbose => {
                self.line(&format!("warning: {message}"));
            }
            LogFormat::Text => {}
        }
    }

    /// Reports what somebody has to know or to do although nothing failed. Cron mails it: for what is said once.
    pub fn notice(&self, message: &str) {
        match self.format {
            LogFormat::Json => self.log("warning", message, &json!({})),
            LogFormat::Text => self.line(&format!("note: {message}")),
        }
    }

    /// Reports requests to outside systems and their responses; only with `-vv`.
    pub fn trace(&self, message: &str) {
        match self.format {
            _ if !self.tracing => {}
            LogFormat::Json => self.log("debug", message, &json!({})),
            LogFormat::Text => self.line(message),
        }
    }

    /// Reports a failure: always printed.
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

    /// Writes an event of a run for log collectors; nothing in the text format, where status lines report the same.
    pub fn event(&self, event: &str, fields: &serde_json::Value) {
        if self.format == LogFormat::Json {
            self.log("info", event, fields);
        }
    }

    /// A progress bar with rate and time left, below those already drawn; invisible without a terminal.
    /// `done` items of the total were done before: the rate counts from there. `label` distinguishes the bars.
    pub fn progress(&self, label: Option<&str>, done: u64, total: Option<u64>) -> Progress {
        if !self.is_watched() {
            return Progress::hidden();
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()).with_position(done);
        // The estimator must see the starting position before it starts to measure.
        bar.tick();
        bar.reset_eta();
        bar.set_style(style(label.is_some(), total.is_some()));
        bar.set_prefix(
            label.map(|label| escaped(&self.redactor.redact(label)).into_owned()).unwrap_or_default(),
        );
        let bar = self.bars.all.add(bar);
        self.bars.drawn.fetch_add(1, Ordering::Relaxed);
        bar.enable_steady_tick(TICK);
        Progress { bar, bars: Some(self.bars.clone()) }
    }

    /// Asks a question on the terminal and returns the line that was typed.
    pub fn ask(&self, question: &str) -> io::Result<String> {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{} ", escaped(question))?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    #[expect(clippy::disallowed_methods, reason = "log lines have the machine's time")]
    fn log(&self, level: &str, message: &str, fields: &serde_json::Value) {
        let time = crate::clock::machine_time().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut line = json!({ "time": time, "level": level, "message": message });
        if let (Some(line), Some(fields)) = (line.as_object_mut(), fields.as_object()) {
            line.extend(fields.clone());
        }
        self.line(&escaped_json(&line.to_string()));
    }

    fn line(&self, line: &str) {
        let line = self.redactor.redact(line);
        let line = escaped(&line);
        // There is no way to report that stderr is closed.
        drop(if self.bars.are_drawn() && !self.bars.all.is_hidden() {
            self.bars.all.println(line)
        } else {
            writeln!(io::stderr().lock(), "{line}")
        });
    }
}

/// What Rust says of a text that is not a number, and what to write.
const NUMBER_ERRORS: [(&str, &str); 4] = [
    (": invalid digit found in string", ": write a whole number, such as 20"),
    (": cannot parse integer from empty string", ": write a whole number, such as 20"),
    (": number too large to fit in target type", ": the number is too large"),
    (": number too small to fit in target type", ": the number is too small"),
];

/// Prints what clap says about the command line, and exits. A command line may be put together by a script, of texts
/// that are not its own; then it is printed without clap's colours.
#[expect(
    clippy::disallowed_methods,
    clippy::exit,
    reason = "the only place that prints, and clap's own way to end"
)]
pub fn refuse_command_line(error: &clap::Error) -> ! {
    let plain = error.render().to_string();
    let foreign = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    // A line break of a word would look like one of the message.
    let broken = foreign.filter(|word| word.contains('\n') && plain.contains(word));
    let shown = broken.fold(plain.clone(), |text, word| text.replace(&word, &escaped(&word)));
    // A range as Rust writes it.
    let shown = match shown.split_once(" is not in ") {
        Some((before, range)) if range.contains("..=") => {
            format!("{before} is not from {}", range.replacen("..=", " to ", 1))
        }
        _ => shown,
    };
    let shown = NUMBER_ERRORS.iter().fold(shown, |text, (raw, plain)| text.replace(raw, plain));
    if escaped_lines(&shown) == plain.trim_end_matches('\n') {
        error.exit();
    }
    // There is no way to report that stderr is closed.
    drop(writeln!(io::stderr().lock(), "{}", escaped_lines(&shown)));
    std::process::exit(error.exit_code())
}

/// Prints a panic on one line, like every failure, instead of a backtrace in somebody's cron mail.
#[expect(clippy::disallowed_methods, reason = "this is the only place that prints")]
pub fn print_panics_in_one_line(redactor: Redactor) {
    std::panic::set_hook(Box::new(move |panic| {
        // The words of a bug may be anybody's data.
        let text = redactor.redact(&panic.to_string().replace('\n', " "));
        let text = shortened(&text, MAX_ERROR_CHARACTERS);
        // There is no way to report that stderr is closed.
        drop(writeln!(io::stderr().lock(), "bug in batchctl: {}", escaped(&text)));
    }));
}

/// How a bar looks. A labelled bar is as wide as the terminal allows, so that each stays on its line.
fn style(is_labelled: bool, has_total: bool) -> ProgressStyle {
    let template = match (is_labelled, has_total) {
        (false, true) => "{bar:30} {human_pos}/{human_len} {percent}%  {pace}",
        (true, true) => "{prefix:24} {wide_bar} {human_pos}/{human_len} {percent:>3}%  {pace}",
        (false, false) => "{spinner} {human_pos}  {rate}, {elapsed}",
        (true, false) => "{prefix:24} {spinner} {human_pos}  {rate}, {elapsed}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("rate", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        // There is no way to report that a line of the terminal cannot be formatted.
        write!(text, "{}", rate(state.per_sec())).unwrap_or_default();
    });
    style.with_key("pace", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        // Without a rate there is no estimate.
        if state.per_sec() > 0.0 {
            let left = HumanDuration(state.eta());
            write!(text, "{}, {left:#} left", rate(state.per_sec())).unwrap_or_default();
        }
    })
}

/// Items per second for people: a whole number, unless it is small.
fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        return format!("{per_second:.1}/s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate, rounded")]
    let whole = per_second.round() as u64;
    format!("{}/s", HumanCount(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_fraction_only_where_it_matters() {
        assert_eq!([rate(0.0), rate(2.04), rate(1234.6)], ["0.0/s", "2.0/s", "1,235/s"]);
    }

    #[test]
    fn every_task_may_speak() {
        fn is_shared<T: Clone + Send + Sync + 'static>() {}
        is_shared::<Output>();
    }
}
