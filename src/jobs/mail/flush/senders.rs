//! The senders: tasks that hold a connection each and send one mail at a time.
//!
//! A sender has the next mail in its hands while it sends one: it tells the server who writes to whom meanwhile, and
//! holds the mail itself back until the outcome of the one before is written down. So a process that dies leaves at
//! most one mail a connection that arrived and is not marked.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clients::mail_transport::{MailConnection, MailTransport};
use crate::mail::delivery::{Outcome, Stop};

use super::intake::Ready;

/// How long the end of a run waits for the server's goodbye.
const FAREWELL: Duration = Duration::from_secs(2);
/// The mail that is sent and the next one.
const MAILS_IN_HAND: usize = 2;

/// What a sender says.
pub(super) enum Report {
    /// Its connection stands: it takes mails.
    Connected,
    /// A mail came to an end.
    Done {
        /// The mail.
        mail: Box<Ready>,
        /// Its end.
        outcome: Outcome,
    },
    /// A mail was not handed over at all, and the sender is gone.
    NotTried {
        /// The mail.
        mail: Box<Ready>,
        /// Why.
        stop: Stop,
    },
    /// No connection could be made, and the sender is gone.
    NoConnection {
        /// Why.
        stop: Stop,
    },
}

/// A sender's report, and what is left of the sender.
struct Message {
    sender: usize,
    report: Report,
    is_gone: bool,
}

/// A mail for a sender, and the word that it may leave.
struct Order {
    mail: Box<Ready>,
    clearance: oneshot::Receiver<()>,
}

/// A sender as the run sees it.
struct Sender {
    orders: mpsc::Sender<Order>,
    is_connected: bool,
    /// Mails given to it that have not come to an end.
    in_hand: usize,
    /// Whether a mail of it has ended and is not written down yet.
    is_unmarked: bool,
    /// The word for the mail behind that one.
    next_clearance: Option<oneshot::Sender<()>>,
}

/// All senders of a run.
pub(super) struct Senders {
    transport: MailTransport,
    most: usize,
    /// By number; `None` once it is gone.
    crew: Vec<Option<Sender>>,
    reports: mpsc::UnboundedReceiver<Message>,
    reporting: mpsc::UnboundedSender<Message>,
    tasks: JoinSet<()>,
}

impl Senders {
    pub(super) fn new(transport: MailTransport, most: usize) -> Self {
        let (reporting, reports) = mpsc::unbounded_channel();
        Self { transport, most, crew: Vec::new(), reports, reporting, tasks: JoinSet::new() }
    }

    /// How many mails could be given to them now.
    pub(super) fn room(&self) -> usize {
        let room = |sender: &Sender| MAILS_IN_HAND.saturating_sub(sender.in_hand);
        self.crew.iter().flatten().filter(|sender| sender.is_connected).map(room).sum()
    }

    /// Whether a mail that waits could be given to one, or a sender be made for it.
    pub(super) fn has_room(&self) -> bool {
        self.room() > 0 || (!self.is_connecting() && self.count() < self.most)
    }

    /// Whether no mail is under way.
    pub(super) fn are_idle(&self) -> bool {
        self.crew.iter().flatten().all(|sender| sender.in_hand == 0)
    }

    /// Whether a mail has its clearance and has not come to its end.
    pub(super) fn are_under_way(&self) -> bool {
        self.crew.iter().flatten().any(|sender| sender.in_hand > 0 && !sender.is_unmarked)
    }

    /// Whether there is no sender, and none is being made.
    pub(super) fn are_gone(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        self.crew.iter().flatten().count()
    }

    fn is_connecting(&self) -> bool {
        self.crew.iter().flatten().any(|sender| !sender.is_connected)
    }

    /// Makes one more sender if all have work and there may be one more. One connects at a time: a server that
    /// refuses is asked once.
    pub(super) fn grow(&mut self) {
        let is_one_idle = self.crew.iter().flatten().any(|sender| sender.in_hand == 0);
        if is_one_idle || self.is_connecting() || self.count() >= self.most {
            return;
        }
        let (orders, inbox) = mpsc::channel(MAILS_IN_HAND);
        let sender =
            Sender { orders, is_connected: false, in_hand: 0, is_unmarked: false, next_clearance: None };
        let number = self.crew.len();
        self.crew.push(Some(sender));
        self.tasks.spawn(work(number, self.transport.clone(), inbox, self.reporting.clone()));
    }

    /// Gives a mail to the sender with the least to do; back if that one is gone by now.
    pub(super) fn send(&mut self, mail: Box<Ready>) -> Result<(), Box<Ready>> {
        let open = self.crew.iter_mut().flatten().filter(|sender| sender.is_connected);
        let Some(sender) = open.min_by_key(|sender| sender.in_hand) else { return Err(mail) };
        let (clear, clearance) = oneshot::channel();
        let is_next = sender.in_hand > 0 || sender.is_unmarked;
        if let Err(refused) = sender.orders.try_send(Order { mail, clearance }) {
            return Err(refused.into_inner().mail);
        }
        sender.in_hand += 1;
        if is_next {
            sender.next_clearance = Some(clear);
        } else {
            // A sender that is gone says so itself.
            let _ = clear.send(());
        }
        Ok(())
    }

    /// The outcomes that were heard of are written down: the mails behind them may leave.
    pub(super) fn clear(&mut self) {
        for sender in self.crew.iter_mut().flatten().filter(|sender| sender.is_unmarked) {
            sender.is_unmarked = false;
            if let Some(clear) = sender.next_clearance.take() {
                // A sender that is gone says so itself.
                let _ = clear.send(());
            }
        }
    }

    /// Waits for the next report. Never ends by itself; a defect in a sender is one of the run, which would wait for
    /// its report in vain.
    pub(super) async fn next(&mut self) -> Option<Report> {
        let message = tokio::select! {
            biased;
            message = self.reports.recv() => message?,
            panic = panicked(&mut self.tasks) => std::panic::resume_unwind(panic),
        };
        Some(self.note(message))
    }

    /// The next report that is there already.
    pub(super) fn try_next(&mut self) -> Option<Report> {
        let message = self.reports.try_recv().ok()?;
        Some(self.note(message))
    }

    fn note(&mut self, message: Message) -> Report {
        if let Some(Some(sender)) = self.crew.get_mut(message.sender) {
            match &message.report {
                Report::Connected => sender.is_connected = true,
                Report::NoConnection { .. } => {}
                Report::Done { .. } => {
                    sender.in_hand = sender.in_hand.saturating_sub(1);
                    sender.is_unmarked = true;
                }
                Report::NotTried { .. } => sender.in_hand = sender.in_hand.saturating_sub(1),
            }
            if message.is_gone {
                self.crew[message.sender] = None;
                // A server that takes four connections is not asked for a fifth again and again.
                self.most = self.count();
            }
        }
        message.report
    }

    /// Ends all connections, in an orderly way if the server takes part.
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

/// One sender: connects, then sends what it is given until there is nothing more.
async fn work(
    sender: usize,
    transport: MailTransport,
    mut inbox: mpsc::Receiver<Order>,
    reports: mpsc::UnboundedSender<Message>,
) {
    // Nobody listens any more at the end of a run: then nothing is left to be said.
    let say = |report, is_gone| drop(reports.send(Message { sender, report, is_gone }));
    let mut connection: Option<MailConnection> = None;
    let stop = loop {
        let mut open = match connection.take() {
            Some(open) => open,
            None => match transport.open().await {
                Ok(open) => {
                    say(Report::Connected, false);
                    open
                }
                Err(stop) => break stop,
            },
        };
        let Some(Order { mail, clearance }) = inbox.recv().await else { return open.close().await };
        // Without the word the run is at its end: the connection is dropped with the mail half said.
        match open.send_when(&mail.mail, async { clearance.await.is_ok() }).await {
            Ok(Some(outcome)) => {
                say(Report::Done { mail, outcome }, false);
                if open.is_usable() {
                    connection = Some(open);
                }
            }
            Ok(None) => return,
            Err(stop) => {
                say(Report::NotTried { mail, stop: stop.clone() }, false);
                break stop;
            }
        }
    };
    inbox.close();
    while let Some(Order { mail, .. }) = inbox.recv().await {
        say(Report::NotTried { mail, stop: stop.clone() }, false);
    }
    say(Report::NoConnection { stop }, true);
}
