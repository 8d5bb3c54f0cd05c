//! The senders: tasks that hold a connection each and send one mail at a time.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::clients::mail_transport::{MailConnection, MailTransport};
use crate::mail::delivery::{Outcome, Stop};

use super::intake::Ready;

/// How long the end of a run waits for the server's goodbye.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a sender says.
pub(super) enum Report {
    /// Its connection stands: it takes a mail.
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

/// A sender's report, and whether it takes another mail.
struct Message {
    sender: usize,
    report: Report,
    is_free: bool,
    is_gone: bool,
}

/// All senders of a run.
pub(super) struct Senders {
    transport: MailTransport,
    most: usize,
    /// By number; `None` once it is gone.
    orders: Vec<Option<mpsc::Sender<Box<Ready>>>>,
    free: Vec<usize>,
    /// How many are connecting.
    connecting: usize,
    reports: mpsc::UnboundedReceiver<Message>,
    reporting: mpsc::UnboundedSender<Message>,
    tasks: JoinSet<()>,
    /// Mails under way.
    busy: usize,
}

impl Senders {
    pub(super) fn new(transport: MailTransport, most: usize) -> Self {
        let (reporting, reports) = mpsc::unbounded_channel();
        Self {
            transport,
            most,
            orders: Vec::new(),
            free: Vec::new(),
            connecting: 0,
            reports,
            reporting,
            tasks: JoinSet::new(),
            busy: 0,
        }
    }

    /// How many take a mail now.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Whether a mail that waits could be begun, or a sender be made for it.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty() || (self.connecting == 0 && self.count() < self.most)
    }

    /// Whether no mail is under way.
    pub(super) fn are_idle(&self) -> bool {
        self.busy == 0
    }

    /// Whether there is no sender, and none is being made.
    pub(super) fn are_gone(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        self.orders.iter().flatten().count()
    }

    /// Makes one more sender if there may be one. One connects at a time: a server that refuses is asked once.
    pub(super) fn grow(&mut self) {
        if self.connecting > 0 || self.count() >= self.most {
            return;
        }
        let number = self.orders.len();
        let (orders, inbox) = mpsc::channel(1);
        self.orders.push(Some(orders));
        self.connecting += 1;
        self.tasks.spawn(work(number, self.transport.clone(), inbox, self.reporting.clone()));
    }

    /// Hands a mail to a free sender.
    pub(super) fn send(&mut self, mail: Box<Ready>) {
        let Some(number) = self.free.pop() else {
            unreachable!("a mail is begun only when a sender is free")
        };
        if let Some(Some(orders)) = self.orders.get(number)
            && orders.try_send(mail).is_ok()
        {
            self.busy += 1;
        }
    }

    /// Waits for the next report. Never ends by itself.
    pub(super) async fn next(&mut self) -> Option<Report> {
        let message = self.reports.recv().await?;
        Some(self.note(message))
    }

    /// The next report that is there already.
    pub(super) fn try_next(&mut self) -> Option<Report> {
        let message = self.reports.try_recv().ok()?;
        Some(self.note(message))
    }

    fn note(&mut self, message: Message) -> Report {
        match &message.report {
            Report::Connected | Report::NoConnection { .. } => {
                self.connecting = self.connecting.saturating_sub(1)
            }
            Report::Done { .. } | Report::NotTried { .. } => self.busy = self.busy.saturating_sub(1),
        }
        if message.is_gone {
            self.orders[message.sender] = None;
            // A server that takes four connections is not asked for a fifth again and again.
            self.most = self.count();
        } else if message.is_free {
            self.free.push(message.sender);
        } else {
            // It makes itself a new connection before it takes another mail.
            self.connecting += 1;
        }
        message.report
    }

    /// Ends all connections, in an orderly way if the server takes part.
    pub(super) async fn close(&mut self) {
        self.orders.clear();
        self.free.clear();
        let farewell = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// One sender: connects, then sends what it is given until there is nothing more.
async fn work(
    sender: usize,
    transport: MailTransport,
    mut inbox: mpsc::Receiver<Box<Ready>>,
    reports: mpsc::UnboundedSender<Message>,
) {
    // Nobody listens any more at the end of a run: then nothing is left to be said.
    let say = |report, is_free, is_gone| drop(reports.send(Message { sender, report, is_free, is_gone }));
    let mut connection: Option<MailConnection> = None;
    loop {
        let mut open = match connection.take() {
            Some(open) => open,
            None => match transport.open().await {
                Ok(open) => {
                    say(Report::Connected, true, false);
                    open
                }
                Err(stop) => return say(Report::NoConnection { stop }, false, true),
            },
        };
        let Some(mail) = inbox.recv().await else { return open.close().await };
        match open.send(&mail.mail).await {
            Ok(outcome) => {
                let is_usable = open.is_usable();
                say(Report::Done { mail, outcome }, is_usable, false);
                if is_usable {
                    connection = Some(open);
                }
            }
            Err(stop) => return say(Report::NotTried { mail, stop }, false, true),
        }
    }
}
