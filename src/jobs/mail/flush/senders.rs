//! The senders: tasks that each hold a connection and send one mail at a time.
//!
//! A sender already has the next mail while it sends one: it sends the next envelope in the meantime, but holds the
//! mail itself back until the outcome of the previous one is recorded. So a process that dies leaves at most one mail
//! per connection that arrived without being marked as sent.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clients::mail_transport::{MailConnection, MailTransport};
use crate::mail::delivery::{Outcome, Stop};

use super::intake::Ready;

/// How long the end of a run waits for the server to close the connection.
const FAREWELL: Duration = Duration::from_secs(2);
/// The mail being sent and the next one.
const MAILS_IN_HAND: usize = 2;

/// A sender's report.
pub(super) enum SenderReport {
    /// Its connection is open: it accepts mails.
    Connected,
    /// A mail has an outcome.
    Done {
        /// The mail.
        mail: Box<Ready>,
        /// Its outcome.
        outcome: Outcome,
    },
    /// A mail was not handed over at all, and the sender has ended.
    NotTried {
        /// The mail.
        mail: Box<Ready>,
        /// The reason.
        stop: Stop,
    },
    /// No connection could be made, and the sender has ended.
    NoConnection {
        /// The reason.
        stop: Stop,
    },
}

/// A sender's report, and what is left of the sender.
struct SenderMessage {
    sender: usize,
    report: SenderReport,
    is_gone: bool,
}

/// A mail for a sender, and the clearance to send it.
struct Assignment {
    mail: Box<Ready>,
    clearance: oneshot::Receiver<()>,
}

/// The run's view of a sender.
struct Sender {
    assignments: mpsc::Sender<Assignment>,
    is_connected: bool,
    /// Mails assigned to it that have no outcome yet.
    in_hand: usize,
    /// Whether one of its mails has an outcome that is not recorded yet.
    is_unmarked: bool,
    /// The clearance for the mail after that one.
    next_clearance: Option<oneshot::Sender<()>>,
}

/// All senders of a run.
pub(super) struct Senders {
    transport: MailTransport,
    most: usize,
    /// By index; `None` once it has ended.
    crew: Vec<Option<Sender>>,
    reports: mpsc::UnboundedReceiver<SenderMessage>,
    reporting: mpsc::UnboundedSender<SenderMessage>,
    tasks: JoinSet<()>,
}

impl Senders {
    pub(super) fn new(transport: MailTransport, most: usize) -> Self {
        let (reporting, reports) = mpsc::unbounded_channel();
        Self { transport, most, crew: Vec::new(), reports, reporting, tasks: JoinSet::new() }
    }

    /// How many mails they could accept now.
    pub(super) fn room(&self) -> usize {
        let room = |sender: &Sender| MAILS_IN_HAND.saturating_sub(sender.in_hand);
        self.crew.iter().flatten().filter(|sender| sender.is_connected).map(room).sum()
    }

    /// Whether a waiting mail could be assigned to a sender, or a new sender could be started for it.
    pub(super) fn has_room(&self) -> bool {
        self.room() > 0 || (!self.is_connecting() && self.count() < self.most)
    }

    /// Whether no mail is in transit.
    pub(super) fn are_idle(&self) -> bool {
        self.crew.iter().flatten().all(|sender| sender.in_hand == 0)
    }

    /// Whether a mail has its clearance but no outcome yet.
    pub(super) fn are_under_way(&self) -> bool {
        self.crew.iter().flatten().any(|sender| sender.in_hand > 0 && !sender.is_unmarked)
    }

    /// Whether there is no sender, and none is being started.
    pub(super) fn are_gone(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        self.crew.iter().flatten().count()
    }

    fn is_connecting(&self) -> bool {
        self.crew.iter().flatten().any(|sender| !sender.is_connected)
    }

    /// Starts one more sender if all are busy and the limit allows it. Only one connects at a time, so that a server that
    /// refuses is asked once.
    pub(super) fn grow(&mut self) {
        let is_one_idle = self.crew.iter().flatten().any(|sender| sender.in_hand == 0);
        if is_one_idle || self.is_connecting() || self.count() >= self.most {
            return;
        }
        let (assignments, inbox) = mpsc::channel(MAILS_IN_HAND);
        let sender =
            Sender { assignments, is_connected: false, in_hand: 0, is_unmarked: false, next_clearance: None };
        let number = self.crew.len();
        self.crew.push(Some(sender));
        self.tasks.spawn(work(number, self.transport.clone(), inbox, self.reporting.clone()));
    }

    /// Assigns a mail to the sender with the least to do; returns the mail if that sender has ended in the meantime.
    pub(super) fn send(&mut self, mail: Box<Ready>) -> Result<(), Box<Ready>> {
        let open = self.crew.iter_mut().flatten().filter(|sender| sender.is_connected);
        let Some(sender) = open.min_by_key(|sender| sender.in_hand) else { return Err(mail) };
        let (clear, clearance) = oneshot::channel();
        let is_next = sender.in_hand > 0 || sender.is_unmarked;
        if let Err(refused) = sender.assignments.try_send(Assignment { mail, clearance }) {
            return Err(refused.into_inner().mail);
        }
        sender.in_hand += 1;
        if is_next {
            sender.next_clearance = Some(clear);
        } else {
            // A sender that has ended reports it itself.
            let _ = clear.send(());
        }
        Ok(())
    }

    /// The reported outcomes are recorded: the next mails may be sent.
    pub(super) fn clear(&mut self) {
        for sender in self.crew.iter_mut().flatten().filter(|sender| sender.is_unmarked) {
            sender.is_unmarked = false;
            if let Some(clear) = sender.next_clearance.take() {
                // A sender that has ended reports it itself.
                let _ = clear.send(());
            }
        }
    }

    /// Waits for the next report. A panic in a sender is passed on to the run, which would otherwise wait for its
    /// report forever.
    pub(super) async fn next(&mut self) -> Option<SenderReport> {
        let message = tokio::select! {
            biased;
            message = self.reports.recv() => message?,
            panic = panicked(&mut self.tasks) => std::panic::resume_unwind(panic),
        };
        Some(self.note(message))
    }

    /// The next report, if there is one.
    pub(super) fn try_next(&mut self) -> Option<SenderReport> {
        let message = self.reports.try_recv().ok()?;
        Some(self.note(message))
    }

    fn note(&mut self, message: SenderMessage) -> SenderReport {
        if let Some(Some(sender)) = self.crew.get_mut(message.sender) {
            match &message.report {
                SenderReport::Connected => sender.is_connected = true,
                SenderReport::NoConnection { .. } => {}
                SenderReport::Done { .. } => {
                    sender.in_hand = sender.in_hand.saturating_sub(1);
                    sender.is_unmarked = true;
                }
                SenderReport::NotTried { .. } => sender.in_hand = sender.in_hand.saturating_sub(1),
            }
            if message.is_gone {
                self.crew[message.sender] = None;
                // A server that accepts four connections is not asked for a fifth again and again.
                self.most = self.count();
            }
        }
        message.report
    }

    /// Closes all connections, cleanly if the server cooperates.
    pub(super) async fn close(&mut self) {
        self.crew.clear();
        let farewell = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Waits until a task panics.
async fn panicked(tasks: &mut JoinSet<()>) -> Box<dyn std::any::Any + Send> {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            return panic;
        }
    }
    std::future::pending().await
}

/// One sender: connects, then sends the mails it receives until there are no more.
async fn work(
    sender: usize,
    transport: MailTransport,
    mut inbox: mpsc::Receiver<Assignment>,
    reports: mpsc::UnboundedSender<SenderMessage>,
) {
    // At the end of a run reports are no longer received, and none are needed.
    let say = |report, is_gone| drop(reports.send(SenderMessage { sender, report, is_gone }));
    let mut connection: Option<MailConnection> = None;
    let stop = loop {
        let mut open = match connection.take() {
            Some(open) => open,
            None => match transport.open().await {
                Ok(open) => {
                    say(SenderReport::Connected, false);
                    open
                }
                Err(stop) => break stop,
            },
        };
        let Some(Assignment { mail, clearance }) = inbox.recv().await else { return open.close().await };
        // Without clearance the run is over: the connection is dropped in the middle of the mail.
        match open.send_when(&mail.mail, async { clearance.await.is_ok() }).await {
            Ok(Some(outcome)) => {
                say(SenderReport::Done { mail, outcome }, false);
                if open.is_usable() {
                    connection = Some(open);
                }
            }
            Ok(None) => return,
            Err(stop) => {
                say(SenderReport::NotTried { mail, stop: stop.clone() }, false);
                break stop;
            }
        }
    };
    inbox.close();
    while let Some(Assignment { mail, .. }) = inbox.recv().await {
        say(SenderReport::NotTried { mail, stop: stop.clone() }, false);
    }
    say(SenderReport::NoConnection { stop }, true);
}
