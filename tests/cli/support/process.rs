//! Processes of batchctl: starting, holding, signalling and checking them.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// How long a process may run before the test counts as failed.
const LIMIT: Duration = Duration::from_mins(2);

/// The size of the terminal that a person sees.
const TERMINAL: &str = "cols 100 rows 40";

/// A batchctl that is not started yet.
#[must_use]
pub(crate) struct Batchctl {
    command: Command,
    arguments: Vec<String>,
    /// Where its output goes: this path with `.out` and `.err`. Files, so that nothing can block on a full pipe.
    files: PathBuf,
    typed: Option<String>,
    /// The content of stdin.
    stdin: Option<String>,
}

impl Batchctl {
    pub(super) fn new(command: Command, arguments: Vec<String>, files: PathBuf) -> Self {
        Self { command, arguments, files, typed: None, stdin: None }
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.command.env(name, value.as_ref());
        self
    }

    /// Starts it in another folder.
    pub(super) fn in_folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Removes a variable that the sandbox sets.
    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Fixes the clock at another instant than the sandbox's.
    pub(crate) fn now(self, instant: &str) -> Self {
        self.env("BATCHCTL_NOW", instant)
    }

    /// Lets the clock be the machine's; `--env prod` refuses any other.
    pub(crate) fn real_clock(mut self) -> Self {
        self.command.env_remove("BATCHCTL_NOW");
        self
    }

    /// Makes the process die or freeze: `in-chunk=kill`, or on the second pass `in-chunk@2=stop`.
    pub(crate) fn failpoint(self, failpoint: &str) -> Self {
        self.env("BATCHCTL_FAILPOINT", failpoint)
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Ran {
        self.spawn().wait()
    }

    /// Runs it to its end on a terminal of 100 columns, where a person types `typed`. Everything that appears is
    /// [`Ran::stdout`]; [`Ran::screen`] is what remains visible.
    #[track_caller]
    pub(crate) fn run_on_terminal(mut self, typed: &str) -> Ran {
        let program = self.command.get_program().to_string_lossy().into_owned();
        let words = std::iter::once(program.as_str()).chain(self.arguments.iter().map(String::as_str));
        let line = shlex::try_join(words).expect("a word holds no NUL");
        // `script`, one of Debian's essential packages, creates the terminal, which would take unsafe code in Rust.
        let mut script = Command::new("script");
        script.args(["-qec", &format!("stty {TERMINAL}; exec {line}"), "/dev/null"]);
        script.current_dir(self.command.get_current_dir().expect("the sandbox sets it")).env_clear();
        script.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
        self.command = script;
        self.typed = Some(typed.to_owned());
        self.run()
    }

    /// Sets the content of stdin.
    pub(crate) fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Starts it with a pipe as stdin that holds `text` and is never closed. What is longer than a pipe's buffer is written only
    /// once the program reads.
    #[track_caller]
    pub(crate) fn spawn_with_open_stdin(mut self, text: impl Into<String>) -> Running {
        self.typed = Some(text.into());
        self.spawn()
    }

    /// Lets a shell start it: `script` finds the program and its arguments in `"$@"`.
    pub(crate) fn through_shell(mut self, script: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(self.command.get_program()).args(&self.arguments);
        shell.current_dir(self.command.get_current_dir().expect("the sandbox sets it")).env_clear();
        shell.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.command = shell;
        self
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn spawn(mut self) -> Running {
        let out = File::create(self.files.with_extension("out")).expect("a file can be made");
        let err = File::create(self.files.with_extension("err")).expect("a file can be made");
        let stdin = match &self.stdin {
            Some(text) => {
                let file = self.files.with_extension("in");
                std::fs::write(&file, text).expect("a file can be written");
                Stdio::from(File::open(file).expect("it was written"))
            }
            None if self.typed.is_some() => Stdio::piped(),
            None => Stdio::null(),
        };
        self.command.stdin(stdin).stdout(out).stderr(err);
        let mut child = self.command.spawn().expect("the program starts");
        if let (Some(typed), Some(stdin)) = (&self.typed, &mut child.stdin) {
            // It stays open: closing it would be typed as Ctrl-D. A process that has already ended reads nothing.
            let _ = stdin.write_all(typed.as_bytes());
        }
        Running { child, command: self.arguments.join(" "), files: self.files, ended: None }
    }

    /// Starts it, to be held when it reaches a failpoint: `in-chunk`, or on its second pass `in-chunk@2`.
    #[track_caller]
    pub(crate) fn hold_at(self, point: &str) -> Held {
        let word = self.files.with_extension("hold");
        let action = format!("{point}=hold:{}", word.display());
        Held { running: self.failpoint(&action).spawn(), word }
    }
}

/// A process that waits at a failpoint until the test releases it.
pub(crate) struct Held {
    running: Running,
    word: PathBuf,
}

impl Held {
    /// Waits until it has reached the point.
    #[track_caller]
    pub(crate) fn wait_until_reached(&mut self) {
        let reached = PathBuf::from(format!("{}.reached", self.word.display()));
        let running = &mut self.running;
        eventually(|| reached.exists() || running.has_ended(), "the failpoint is reached");
        assert!(reached.exists(), "ended before the failpoint: {:?}", running.so_far());
    }

    /// The process, to signal it while it is held.
    pub(crate) fn process(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Lets it continue.
    pub(crate) fn release(self) -> Running {
        std::fs::write(&self.word, "").expect("a file can be written");
        self.running
    }
}

/// A process that was started. It is killed if the test ends before it does.
#[must_use]
pub(crate) struct Running {
    child: Child,
    command: String,
    files: PathBuf,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    #[track_caller]
    pub(crate) fn signal(&mut self, signal: Signal) {
        assert!(!self.has_ended(), "it has ended already: {:?}", self.so_far());
        kill_process(Pid::from_child(&self.child), signal).expect("our own child can be signalled");
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("our own child can be asked");
        }
        self.ended.is_some()
    }

    /// What it has printed until now.
    pub(crate) fn so_far(&self) -> Ran {
        Ran {
            command: self.command.clone(),
            code: self.ended.and_then(|status| status.code()),
            signal: self.ended.and_then(|status| status.signal()),
            stdout: read(&self.files.with_extension("out")),
            stderr: read(&self.files.with_extension("err")),
        }
    }

    /// Waits until it ends; fails the test if it does not within two minutes.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ran {
        let started = Instant::now();
        while !self.has_ended() {
            assert!(started.elapsed() < LIMIT, "still running after {LIMIT:?}: {:?}", self.so_far());
            std::thread::sleep(Duration::from_millis(1));
        }
        self.so_far()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            // Both fail only if it has ended in the meantime.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn read(file: &Path) -> String {
    let bytes = std::fs::read(file).expect("its output is a file");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How a process ended and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The command line.
    pub(crate) command: String,
    /// Its exit code, unless a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    /// All of stdout.
    pub(crate) stdout: String,
    /// All of stderr.
    pub(crate) stderr: String,
}

#[expect(clippy::wrong_self_convention, reason = "reads as a sentence, and chains after `run()`")]
impl Ran {
    /// It exited with 0.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// It exited with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        self.expect(|ran| ran.code == Some(code), &format!("an exit with {code}"))
    }

    /// This signal ended it.
    #[track_caller]
    pub(crate) fn is_killed_by(self, signal: Signal) -> Self {
        self.expect(|ran| ran.signal == Some(signal.as_raw()), &format!("an end by {signal:?}"))
    }

    /// It printed nothing at all.
    #[track_caller]
    pub(crate) fn is_silent(self) -> Self {
        self.expect(|ran| ran.stdout.is_empty() && ran.stderr.is_empty(), "no output")
    }

    /// Its stdout contains this text.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        self.expect(|ran| ran.stdout.contains(text), &format!("stdout with `{text}`"))
    }

    /// Its stderr contains this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        self.expect(|ran| ran.stderr.contains(text), &format!("stderr with `{text}`"))
    }

    /// Neither stdout nor stderr contains this text.
    #[track_caller]
    pub(crate) fn never_shows(self, text: &str) -> Self {
        self.expect(
            |ran| !ran.stdout.contains(text) && !ran.stderr.contains(text),
            &format!("no `{text}` anywhere"),
        )
    }

    /// What remains visible on a terminal: no escape sequences, and of each line what was written last.
    pub(crate) fn screen(&self) -> String {
        let mut plain = String::new();
        let mut rest = self.stdout.as_str();
        while let Some((before, sequence)) = rest.split_once("\x1b[") {
            plain.push_str(before);
            // A sequence ends with its first letter (ECMA-48, section 5.4).
            let end = sequence.find(|c: char| c.is_ascii_alphabetic()).map_or(sequence.len(), |end| end + 1);
            rest = &sequence[end..];
        }
        plain.push_str(rest);
        let lines = plain.lines().map(|line| line.rsplit('\r').next().unwrap_or_default().trim_end());
        lines.collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn expect(self, is_so: impl FnOnce(&Self) -> bool, expected: &str) -> Self {
        assert!(
            is_so(&self),
            "expected {expected}\n  command: batchctl {}\n  code: {:?}, signal: {:?}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.command,
            self.code,
            self.signal,
            self.stdout,
            self.stderr
        );
        self
    }
}
