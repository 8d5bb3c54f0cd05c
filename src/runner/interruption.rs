//! Why a run ended before its work was done, and the signals that ask for it.

use std::fmt;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::output::Output;

/// Why a run ended before its work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// SIGTERM or SIGINT.
    Stopped(StopSignal),
    /// The deadline passed.
    TimedOut,
    /// Another process took the run over: the lease had expired.
    LeaseLost,
}

/// The two signals that ask for an orderly stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// Ctrl-C.
    Interrupt,
    /// What `kill`, cron and Kubernetes send.
    Terminate,
}

impl fmt::Display for Interruption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stopped(StopSignal::Interrupt) => "stopped by SIGINT",
            Self::Stopped(StopSignal::Terminate) => "stopped by SIGTERM",
            Self::TimedOut => "the deadline passed",
            Self::LeaseLost => {
                "the lease was lost: this process was frozen for too long and another one took over"
            }
        })
    }
}

impl std::error::Error for Interruption {}

/// Receives the stop signals of this process.
#[derive(Clone)]
pub(super) struct Signals {
    stop: watch::Receiver<Option<StopSignal>>,
}

impl Signals {
    /// Starts to listen. The first signal asks for an orderly stop, which `output` announces; a second one ends the
    /// process at once.
    pub(super) fn listen(output: Output) -> std::io::Result<Self> {
        let (asked, stop) = watch::channel(None);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            loop {
                let heard = tokio::select! {
                    Some(()) = terminate.recv() => StopSignal::Terminate,
                    Some(()) = interrupt.recv() => StopSignal::Interrupt,
                    else => return,
                };
                if asked.borrow().is_some() {
                    leave_at_once(heard);
                }
                asked.send_replace(Some(heard));
                output.status("Stopping after the current chunk; a second signal stops at once");
            }
        });
        Ok(Self { stop })
    }

    /// Signals sent by a test.
    #[cfg(test)]
    pub(super) fn of(stop: watch::Receiver<Option<StopSignal>>) -> Self {
        Self { stop }
    }

    /// The signal that was received, if any.
    pub(super) fn heard(&self) -> Option<StopSignal> {
        *self.stop.borrow()
    }

    /// Waits for a stop signal, and then for the grace period.
    pub(super) async fn wait_and(&mut self, grace: Duration) -> StopSignal {
        let signal = self.wait().await;
        tokio::time::sleep(grace).await;
        signal
    }

    /// Waits for a stop signal.
    pub(super) async fn wait(&mut self) -> StopSignal {
        loop {
            if let Some(signal) = self.heard() {
                return signal;
            }
            if self.stop.changed().await.is_err() {
                // The listener lives as long as the process; without it no signal can arrive.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The second signal: its sender does not want to wait. The open transaction rolls back, and the next start finds the
/// run dead and takes over.
#[expect(clippy::exit, reason = "a second signal ends the process at once, whatever it is doing")]
fn leave_at_once(signal: StopSignal) -> ! {
    std::process::exit(i32::from(signal.exit_code().number()))
}
