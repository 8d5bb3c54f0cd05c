//! The senders: tasks that each hold a connection and send one mail at a time.
//!
//! A sender already has the next mail while it sends one: it sends the next envelope in the meantime, but holds the
//! mail itself back until the outcome of the previous one is recorded, and the mail is marked as SENDING. So a process
//! that dies leaves at most one mail per connection that may have arrived, and it is known which.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clients::mail_transport::{MailConnection, MailTransport};
use crate::mail::delivery::{Outcome, Stop};

use super::intake::Ready;

/// How long the end of a run waits for the server to close the connection.
const FAREWELL: Duration = Duration::from_secs(2);
/// The mail being sent and the next one.
const MAILS_IN_HAND: usize = 2;
/// How long a number of connections is kept that the server did not want to exceed, before one more is tried.
const REGROWTH: Duration = Duration::from_secs(10);
/// So many connections in a row that cannot be opened show a limit; a single one may have met the one machine of several
/// that is overloaded.
const FAILURES_OF_A_LIMIT: usize = 2;

/// A sender's report.
pub(super) enum SenderReport {
    /// Its connection is open: it accepts mails.
    Connected,
    /// A mail leaves its hands.
    Mail {
        /// The mail.
        mail: Box<Ready>,
        /// How far it got.
        standing: Standing,
        /// What became of it.
        end: MailEnd,
    },
    /// The sender has ended: because no connection could be made, or because the server asked for less.
    Gone {
        /// Why there is no connection.
        stop: Option<Stop>,
    },
}

/// What became of a mail in a sender's hands.
pub(super) enum MailEnd {
    /// It has an outcome.
    Outcome {
        /// The outcome.
        outcome: Outcome,
        /// When the sender began with the mail.
        begun: Instant,
    },
    /// The server asked for less. The sender has ended if that closed its connection.
    SlowDown {
        /// The server's reply.
        reply: String,
        /// How long it asked to wait, if it said so.
        wait: Option<Duration>,
        /// When the sender began with the mail.
        begun: Instant,
        /// How many mails the server took before on this connection, if it then closed it.
        closed_after: Option<usize>,
    },
    /// It was not handed over at all, and the sender has ended for this reason.
    NotTried(Stop),
    /// It was not handed over at all, and another sender may have it.
    Returned,
}

/// How far a mail got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The server may know sender and recipient, but not the mail: its row is as it was.
    Assigned,
    /// Its row is SENDING: the server may have it.
    Cleared,
    /// Its row was changed by somebody else in the meantime: it is not sent.
    Revoked,
}

/// A sender's report, and what is left of the sender.
struct SenderMessage {
    sender: usize,
    report: SenderReport,
    is_gone: bool,
}

/// A mail for a sender, and the clearance to send it: false if it is not to be sent after all.
struct Assignment {
    mail: Box<Ready>,
    clearance: oneshot::Receiver<bool>,
}

/// A mail that a sender has.
struct InHand {
    id: i64,
    /// The Message-ID to be stored with its clearance.
    new_message_id: Option<String>,
    standing: Standing,
    clearance: Option<oneshot::Sender<bool>>,
}

/// The run's view of a sender.
struct Sender {
    /// `None` once it is to end.
    assignments: Option<mpsc::Sender<Assignment>>,
    is_connected: bool,
    /// Mails assigned to it that have no outcome yet, in order.
    in_hand: VecDeque<InHand>,
    /// All mails ever assigned to it.
    assigned: usize,
}

impl Sender {
    /// How many more mails it could accept now.
    fn room(&self, mails_per_connection: usize) -> usize {
        if !self.is_connected || self.assignments.is_none() {
            return 0;
        }
        let left = mails_per_connection.saturating_sub(self.assigned);
        MAILS_IN_HAND.saturating_sub(self.in_hand.len()).min(left)
    }
}

/// All senders of a run.
pub(super) struct Senders {
    transport: MailTransport,
    /// How many there may be.
    limit: usize,
    /// How many the server seems to want at most.
    most: usize,
    /// When one more is tried.
    grows_at: Instant,
    /// Connections in a row that could not be opened.
    failures: usize,
    /// How many mails the server takes on one connection, as far as is known.
    mails_per_connection: usize,
    /// After how many it last closed one.
    closed_after: Option<usize>,
    /// By index; `None` once it has ended.
    crew: Vec<Option<Sender>>,
    reports: mpsc::UnboundedReceiver<SenderMessage>,
    reporting: mpsc::UnboundedSender<SenderMessage>,
    tasks: JoinSet<()>,
}

impl Senders {
    pub(super) fn new(transport: MailTransport, limit: usize) -> Self {
        let (reporting, reports) = mpsc::unbounded_channel();
        Self {
            transport,
            limit,
            most: limit,
            grows_at: Instant::now(),
            failures: 0,
            mails_per_connection: usize::MAX,
            closed_after: None,
            crew: Vec::new(),
            reports,
            reporting,
            tasks: JoinSet::new(),
        }
    }

    /// The server's name, for messages and for what is known about it.
    pub(super) fn server(&self) -> &str {
        self.transport.server()
    }

    /// How many mails they could accept now.
    pub(super) fn room(&self) -> usize {
        self.crew.iter().flatten().map(|sender| sender.room(self.mails_per_connection)).sum()
    }

    /// Whether a waiting mail could be assigned to a sender, or a new sender could be started for it.
    pub(super) fn has_room(&self) -> bool {
        self.room() > 0 || (!self.is_connecting() && self.count() < self.most)
    }

    /// Whether no mail is in any hands.
    pub(super) fn are_empty(&self) -> bool {
        self.crew.iter().flatten().all(|sender| sender.in_hand.is_empty())
    }

    /// Whether a mail has its clearance but no outcome yet.
    pub(super) fn are_under_way(&self) -> bool {
        let is_cleared = |mail: &InHand| mail.standing == Standing::Cleared;
        self.crew.iter().flatten().any(|sender| sender.in_hand.front().is_some_and(is_cleared))
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

    /// The server asked for less: half as many connections for now.
    pub(super) fn halve(&mut self) {
        self.keep_to(self.most.min(self.count()) / 2);
        self.release_surplus();
    }

    /// The server did not mean the number of connections.
    pub(super) fn restore(&mut self) {
        self.most = self.limit;
    }

    /// No more connections than so many, but one more after each while.
    fn keep_to(&mut self, most: usize) {
        self.most = most.max(1);
        self.grows_at = Instant::now() + REGROWTH;
    }

    /// The server closed a connection on which it had taken so many mails. Twice after the same number is its rule, by which
    /// further connections are closed before it does; returns whether it is.
    pub(super) fn note_closed_after(&mut self, mails: usize) -> bool {
        let is_rule = mails > 0 && self.closed_after.replace(mails) == Some(mails);
        if is_rule {
            self.mails_per_connection = mails;
            self.release_worn_out();
        } else if mails < self.mails_per_connection {
            // What looked like a rule was chance.
            self.mails_per_connection = usize::MAX;
        }
        is_rule
    }

    /// Lets idle senders go that are too many.
    fn release_surplus(&mut self) {
        let mut surplus = self.count().saturating_sub(self.most);
        for place in &mut self.crew {
            if surplus > 0
                && place.take_if(|sender| sender.is_connected && sender.in_hand.is_empty()).is_some()
            {
                surplus -= 1;
            }
        }
    }

    /// Lets senders go whose connection has carried its share of mails.
    fn release_worn_out(&mut self) {
        let most = self.mails_per_connection;
        for place in &mut self.crew {
            let is_worn_out =
                |sender: &Sender| sender.is_connected && sender.in_hand.is_empty() && sender.assigned >= most;
            place.take_if(|sender| is_worn_out(sender));
        }
    }

    /// Starts one more sender if all are busy and the limit allows it. Only one connects at a time, so that a server that
    /// refuses is asked once.
    pub(super) fn grow(&mut self) {
        if self.most < self.limit && Instant::now() >= self.grows_at {
            self.keep_to(self.most + 1);
        }
        let is_one_idle = self.crew.iter().flatten().any(|sender| sender.in_hand.is_empty());
        if is_one_idle || self.is_connecting() || self.count() >= self.most {
            return;
        }
        let (assignments, inbox) = mpsc::channel(MAILS_IN_HAND);
        let sender = Sender {
            assignments: Some(assignments),
            is_connected: false,
            in_hand: VecDeque::new(),
            assigned: 0,
        };
        let number = self.crew.len();
        self.crew.push(Some(sender));
        self.tasks.spawn(work(number, self.transport.clone(), inbox, self.reporting.clone()));
    }

    /// Assigns a mail to the sender with the least to do; returns the mail if that sender has ended in the meantime.
    pub(super) fn assign(&mut self, mail: Box<Ready>) -> Result<(), Box<Ready>> {
        let most = self.mails_per_connection;
        let open = self.crew.iter_mut().flatten().filter(|sender| sender.room(most) > 0);
        let Some(sender) = open.min_by_key(|sender| sender.in_hand.len()) else { return Err(mail) };
        let Some(assignments) = &sender.assignments else { return Err(mail) };
        let (clear, clearance) = oneshot::channel();
        let in_hand = InHand {
            id: mail.row.id,
            new_message_id: mail.row.message_id.clone().filter(|_| mail.has_new_id),
            standing: Standing::Assigned,
            clearance: Some(clear),
        };
        if let Err(refused) = assignments.try_send(Assignment { mail, clearance }) {
            return Err(refused.into_inner().mail);
        }
        sender.assigned += 1;
        sender.in_hand.push_back(in_hand);
        Ok(())
    }

    /// The mails that could be sent now, with the Message-IDs to be stored before: the first of each sender, whose other
    /// mails have outcomes.
    pub(super) fn next_to_clear(&self) -> Vec<(i64, Option<String>)> {
        let first = self.crew.iter().flatten().filter_map(|sender| sender.in_hand.front());
        let first = first.filter(|mail| mail.standing == Standing::Assigned);
        first.map(|mail| (mail.id, mail.new_message_id.clone())).collect()
    }

    /// These mails are SENDING: their senders may hand them over. The other ones of `asked` are no longer ours.
    pub(super) fn clear(&mut self, asked: &HashSet<i64>, granted: &HashSet<i64>) {
        let first = self.crew.iter_mut().flatten().filter_map(|sender| sender.in_hand.front_mut());
        for mail in first.filter(|mail| mail.standing == Standing::Assigned && asked.contains(&mail.id)) {
            let is_granted = granted.contains(&mail.id);
            mail.standing = if is_granted { Standing::Cleared } else { Standing::Revoked };
            if let Some(clear) = mail.clearance.take() {
                // A sender that has ended reports it itself.
                let _ = clear.send(is_granted);
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
        let SenderMessage { sender: number, mut report, is_gone } = message;
        if let Some(Some(sender)) = self.crew.get_mut(number) {
            match &mut report {
                SenderReport::Connected => {
                    sender.is_connected = true;
                    self.failures = 0;
                }
                SenderReport::Gone { .. } => {}
                SenderReport::Mail { standing, .. } => {
                    if let Some(mail) = sender.in_hand.pop_front() {
                        *standing = mail.standing;
                    }
                }
            }
            if is_gone {
                self.crew[number] = None;
                if let SenderReport::Gone { stop: Some(_) } = report {
                    self.failures += 1;
                    if self.failures >= FAILURES_OF_A_LIMIT {
                        // A server that accepts four connections is not asked for a fifth again and again.
                        self.keep_to(self.count());
                    }
                }
            }
        }
        self.release_worn_out();
        self.release_surplus();
        report
    }

    /// Closes all connections, cleanly if the server cooperates.
    pub(super) async fn close(&mut self) {
        for sender in self.crew.iter_mut().flatten() {
            sender.assignments = None;
            for mail in &mut sender.in_hand {
                mail.clearance = None;
            }
        }
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
    // How far the mail got is known to the run.
    let part_with = |mail, end| say(SenderReport::Mail { mail, standing: Standing::Assigned, end }, false);
    let mut connection: Option<MailConnection> = None;
    // How many mails the server took on this connection.
    let mut taken = 0;
    let stop = loop {
        let mut open = match connection.take() {
            Some(open) => open,
            None => match transport.open().await {
                Ok(open) => {
                    taken = 0;
                    say(SenderReport::Connected, false);
                    open
                }
                Err(stop) => break Some(stop),
            },
        };
        let Some(Assignment { mail, clearance }) = inbox.recv().await else { return open.close().await };
        let begun = Instant::now();
        let mut is_over = false;
        let clearance = async {
            clearance.await.unwrap_or_else(|_| {
                is_over = true;
                false
            })
        };
        match open.send_when(&mail.mail, clearance).await {
            Ok(Some(Outcome::SlowDown { reply, wait })) => {
                let is_usable = open.is_usable();
                let closed_after = (!is_usable).then_some(taken);
                part_with(mail, MailEnd::SlowDown { reply, wait, begun, closed_after });
                if !is_usable {
                    open.close().await;
                    break None;
                }
                // The next mail begins when the run says so.
                while let Ok(Assignment { mail, .. }) = inbox.try_recv() {
                    part_with(mail, MailEnd::Returned);
                }
                connection = Some(open);
            }
            Ok(Some(outcome)) => {
                taken += usize::from(matches!(outcome, Outcome::Accepted { .. }));
                part_with(mail, MailEnd::Outcome { outcome, begun });
                if open.is_usable() {
                    connection = Some(open);
                }
            }
            // The run is over: the connection is dropped before the mail.
            Ok(None) if is_over => return,
            Ok(None) => part_with(mail, MailEnd::Returned),
            Err(stop) => {
                part_with(mail, MailEnd::NotTried(stop.clone()));
                break Some(stop);
            }
        }
    };
    inbox.close();
    while let Some(Assignment { mail, .. }) = inbox.recv().await {
        part_with(mail, stop.clone().map_or(MailEnd::Returned, MailEnd::NotTried));
    }
    say(SenderReport::Gone { stop }, true);
}
