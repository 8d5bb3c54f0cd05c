//! Why a run ended before its work did, and the signals that ask for it.

use std::fmt;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::output::Output;

/// Why a run ended before its work did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// SIGTERM or SIGINT.
    Stopped(StopSignal),
    /// The deadline passed.
    TimedOut,
    /// Another process took the run over: the lease had lapsed.
    LeaseLost,
}

/// The two signals that ask for an orderly stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// Ctrl-C.
    Interrupt,
    /// `kill`, cron's and Kubernetes' way.
    Terminate,
}

impl fmt::Display for Interruption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stopped(StopSignal::Interrupt) => "stopped by SIGINT",
            Self::Stopped(StopSignal::Terminate) => "stopped by SIGTERM",
            Self::TimedOut => "the deadline passed",
            Self::LeaseLost => {
                "the lease was lost: this process stood still for too long and another one took over"
            }
        })
    }
}

impl std::error::Error for Interruption {}

/// Hears the stop signals of this process.
#[derive(Clone)]
pub(super) struct Signals {
    stop: watch::Receiver<Option<StopSignal>>,
}

impl Signals {
    /// Starts to listen. The first signal asks for an orderly stop, which `output` tells whoever watches; a second
    /// one ends the process at once.
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
                output.status("Stopping behind the current chunk; a second signal ends the run at once");
            }
        });
        Ok(Self { stop })
    }

    /// Signals that a test sends.
    #[cfg(test)]
    pub(super) fn of(stop: watch::Receiver<Option<StopSignal>>) -> Self {
        Self { stop }
    }

    /// The signal that has been heard, if any.
    pub(super) fn heard(&self) -> Option<StopSignal> {
        *self.stop.borrow()
    }

    /// Waits for a stop signal, and then for as long as what runs may take to end.
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
                // The listener lives as long as the process; without it no signal can come.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The second signal: its sender does not want to wait for anything. The open transaction rolls back, and
/// the next start finds the run dead and takes over.
#[expect(clippy::exit, reason = "a second signal ends the process at once, whatever it is doing")]
fn leave_at_once(signal: StopSignal) -> ! {
    std::process::exit(i32::from(signal.exit_code().number()))
}
