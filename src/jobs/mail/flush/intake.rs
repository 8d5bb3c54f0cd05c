//! Supplies the senders with mails: claims due rows, schedules them within the rates and renders them.
//!
//! It runs concurrently with the senders on a separate connection and is throttled by a bounded channel, so that memory
//! use is the same for ten mails and ten million.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::address;
use crate::clock::SUBSECOND_DIGITS;
use crate::config::ConsentRule;
use crate::db::Db;
use crate::failure::Failure;
use crate::mail::outgoing::OutgoingMail;

use super::super::wanted::unwanted;
use super::changes::{self, Change};
use super::claims::{self, Claim, Claimed, Only, Position, Unreadable};
use super::contents;
use super::pace::{Candidate, Rates, Turn};
use super::preparing::{Preparation, failed};

/// Mails per claim: one transaction, well under 50 ms.
const CLAIM: i64 = 500;
/// So many others go before each mail that a run may have died of, however urgent it is: if this run dies of it too, it has
/// got something done.
const BEFORE_SUSPECT: i64 = 50;
/// While a group of mails is refused for reasons that may not be theirs, a few of them are tried at a time, and between them
/// as many as this of the newest that were not: whatever the group is, a run that stops for it has sent others.
const AMONG_DOUBTFUL: i64 = 12;
/// How many of the oldest go in between: fewer, since the run stops once more are refused than taken.
const DOUBTFUL: i64 = 6;
/// How many bytes of bodies are read at a time.
const PAGE_BYTES: i64 = 512 * 1024;
/// Mails per page of bodies.
const PAGE_MAILS: usize = 100;
/// The most bytes of mails in memory, unless a single mail is larger.
pub(super) const MEMORY_KIBIBYTES: u32 = 4 * 1024;
/// After this many claims in a row that found nothing, other processes are doing the rest.
const VAIN_CLAIMS: u32 = 10;
const VAIN_PAUSE: Duration = Duration::from_millis(20);
/// How long a run waits for mails that a rate holds back: about until the next run starts.
const PATIENCE: Duration = Duration::from_mins(4);
/// How often priorities are checked again, most urgent first, so that an urgent mail overtakes the rest.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// The clock of a run: its business time plus the real time that has passed since.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunClock {
    start: DateTime<Utc>,
    since: Instant,
}

impl RunClock {
    pub(super) fn starting_at(start: DateTime<Utc>) -> Self {
        Self { start, since: Instant::now() }
    }

    pub(super) fn started(&self) -> DateTime<Utc> {
        self.start
    }

    /// The real time this long after the start.
    pub(super) fn after(&self, time: Duration) -> Instant {
        self.since + time
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.start + TimeDelta::from_std(self.since.elapsed()).unwrap_or_default())
            .trunc_subsecs(SUBSECOND_DIGITS)
    }
}

/// What the claimer passes on.
pub(super) enum Intake {
    /// A mail to be sent, not before its turn.
    Mail(Box<Ready>),
    /// A mail that is completed without being sent: no longer wanted, or broken.
    Settled {
        /// The row's change.
        change: Change,
        /// Whether that is a failure for the run's list of errors.
        is_failure: bool,
    },
    /// A row that is not a mail.
    Unreadable(Unreadable),
    /// A mail that this configuration cannot send: it stays as it is, and the run reports it at its end.
    Impossible(Failure),
}

/// A mail that is ready to be sent.
pub(super) struct Ready {
    pub(super) row: Claimed,
    pub(super) mail: OutgoingMail,
    /// The intended recipient, normalised like suppressions.
    pub(super) address: String,
    /// When its turn in the rates comes.
    pub(super) wait_until: Instant,
    /// Whether its Message-ID is new and has to be stored first.
    pub(super) has_new_id: bool,
    /// Whether it is in a different language from the one its row requested.
    pub(super) is_fallback: bool,
    /// Its share of the memory for mails.
    pub(super) _room: OwnedSemaphorePermit,
}

/// The loop that claims and prepares mails until nothing is due or it is asked to stop.
pub(super) struct Claimer {
    pub(super) db: Db,
    pub(super) run: i64,
    pub(super) only: Only,
    pub(super) clock: RunClock,
    pub(super) rates: Rates,
    pub(super) preparation: Preparation,
    pub(super) consent: ConsentRule,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) ready: mpsc::Sender<Intake>,
    pub(super) memory: Arc<Semaphore>,
    /// After this time no more mails are started, so that the run ends cleanly before its deadline.
    pub(super) until: Instant,
    /// Whether earlier runs were refused mails for reasons that may not be theirs.
    pub(super) is_in_doubt: bool,
    /// While that is so: the priority whose newest were claimed last, or 0 after the oldest.
    pub(super) last_tried: i64,
}

/// Where the next mails are claimed from.
#[derive(Clone, Copy)]
enum Place {
    /// A priority, as far as claiming has got in it.
    Queue { priority: i64, position: Option<Position> },
    /// The most urgent ones, so many of them.
    SomeOf { priority: i64, most: i64 },
    /// The newest of a priority that no run left in doubt, a few of them.
    NewestOf { priority: i64 },
    /// The mails that a run may have died of, one by one.
    Suspects,
}

impl Place {
    /// Where claiming continues.
    fn after(self, position: Position) -> Option<Self> {
        match self {
            Self::Queue { priority, .. } => Some(Self::Queue { priority, position: Some(position) }),
            Self::SomeOf { .. } | Self::NewestOf { .. } | Self::Suspects => None,
        }
    }
}

/// Claimed rows with the mails' turns in the rates.
struct Scheduled {
    mails: Vec<(Claimed, Instant)>,
    unreadable: Vec<Unreadable>,
    /// How many have to be claimed again when their turn comes.
    later: u64,
    position: Option<Position>,
}

impl Scheduled {
    fn found(&self) -> u64 {
        (self.mails.len() + self.unreadable.len()) as u64
    }

    /// Whether nothing was claimed.
    fn is_empty(&self) -> bool {
        self.found() + self.later == 0
    }
}

impl Claimer {
    /// Works until nothing more is due. Returns the number of mails claimed.
    pub(super) async fn work(mut self) -> anyhow::Result<u64> {
        let mut claimed = 0;
        let mut place: Option<Place> = None;
        let mut looked_around = Instant::now();
        let mut in_vain = 0;
        let mut others_have_gone = false;
        while !*self.stop.borrow() && in_vain < VAIN_CLAIMS && Instant::now() < self.until {
            if looked_around.elapsed() >= LOOK_AROUND {
                place = None;
                looked_around = Instant::now();
            }
            let from = match place {
                Some(place) => place,
                None => match self.next_place(others_have_gone).await? {
                    Some(place) => place,
                    None if self.wait_for_turns().await? => continue,
                    None => break,
                },
            };
            let is_suspect = matches!(from, Place::Suspects);
            if is_suspect && !self.is_alone().await? {
                break;
            }
            others_have_gone = !is_suspect;
            let claim = self.claim(from).await?;
            if claim.is_empty() && place.is_none() {
                // Another process was faster. What it leaves is found by the next claim.
                in_vain += 1;
                tokio::time::sleep(VAIN_PAUSE).await;
            } else {
                in_vain = 0;
            }
            place = claim.position.and_then(|position| from.after(position));
            claimed += claim.found();
            // Nothing else is claimed while it is sent: that would come under suspicion with it.
            if !self.hand_over(claim).await? || (is_suspect && !self.is_alone().await?) {
                break;
            }
        }
        self.db.close().await;
        Ok(claimed)
    }

    /// Where the next mails are claimed from. Mails that a run may have died of go within their priority, and others between
    /// them, so that nobody waits until the last of them has killed its runs.
    async fn next_place(&mut self, others_have_gone: bool) -> anyhow::Result<Option<Place>> {
        let now = self.clock.now();
        let others = claims::most_urgent(&mut self.db, &self.only, now).await?;
        let suspect = claims::most_urgent_suspect(&mut self.db, &self.only, now).await?;
        Ok(match (others, suspect) {
            (None, None) => None,
            (None, Some(_)) => Some(Place::Suspects),
            (Some(priority), Some(suspect)) if suspect < priority => Some(if others_have_gone {
                Place::Suspects
            } else {
                Place::SomeOf { priority, most: BEFORE_SUSPECT }
            }),
            (Some(priority), _) if self.is_in_doubt => Some(self.place_in_doubt(priority).await?),
            (Some(priority), _) => Some(Place::Queue { priority, position: None }),
        })
    }

    /// Where the next mails are claimed from while a group of mails is refused: from the newest of each priority in turn, and
    /// then a few of the oldest, since the reason may have passed.
    async fn place_in_doubt(&mut self, most_urgent: i64) -> anyhow::Result<Place> {
        let now = self.clock.now();
        let untried = claims::priorities_with_untried(&mut self.db, &self.only, now).await?;
        let next = untried.into_iter().find(|priority| *priority > self.last_tried);
        self.last_tried = next.unwrap_or(0);
        Ok(match next {
            Some(priority) => Place::NewestOf { priority },
            None => Place::SomeOf { priority: most_urgent, most: DOUBTFUL },
        })
    }

    /// Waits until no mail is in memory. Returns whether more is wanted.
    async fn is_alone(&mut self) -> anyhow::Result<bool> {
        tokio::select! {
            room = self.memory.acquire_many(MEMORY_KIBIBYTES) => Ok(room.map(|_| true)?),
            _ = self.stop.wait_for(|stop| *stop) => Ok(false),
        }
    }

    /// Claims a chunk and assigns each mail its turn; those whose turn is far off are returned.
    async fn claim(&mut self, from: Place) -> anyhow::Result<Scheduled> {
        let (run, now, rates, only) = (self.run, self.clock.now(), &self.rates, &self.only);
        let noticed = Instant::now();
        self.db
            .transaction(async |db| {
                let found = match from {
                    Place::Queue { priority, position } => {
                        claims::claim(db, run, only, priority, now, position, CLAIM).await?
                    }
                    Place::SomeOf { priority, most } => {
                        claims::claim(db, run, only, priority, now, None, most).await?
                    }
                    Place::NewestOf { priority } => {
                        claims::claim_newest_untried(db, run, only, priority, now, AMONG_DOUBTFUL).await?
                    }
                    Place::Suspects => claims::claim_suspect(db, run, only, now).await?,
                };
                let Claim { mails, unreadable, position } = found;
                if !rates.are_limited() {
                    let mails = mails.into_iter().map(|mail| (mail, noticed)).collect();
                    return Ok(Scheduled { mails, unreadable, later: 0, position });
                }
                let domains: Vec<String> = mails.iter().map(|mail| domain_of(&mail.recipient)).collect();
                let candidates: Vec<Candidate<'_>> = mails
                    .iter()
                    .zip(&domains)
                    .map(|(mail, domain)| Candidate {
                        domain,
                        expected: (mail.is_paced || mail.attempts > 0).then_some(mail.due_at),
                    })
                    .collect();
                let turns = rates.turns(db, &candidates, now).await?;
                let mut soon = Vec::new();
                let mut later = Vec::new();
                for (mail, turn) in mails.into_iter().zip(turns) {
                    match turn {
                        Turn::Taken(at) => {
                            soon.push((mail, noticed + (at - now).to_std().unwrap_or_default()));
                        }
                        Turn::Later(due) => later.push(Change {
                            due_at: Some(due),
                            is_paced: true,
                            ..Change::to(mail.id, word(&mail.status))
                        }),
                    }
                }
                changes::write(db, run, now, &later).await?;
                Ok(Scheduled { mails: soon, unreadable, later: later.len() as u64, position })
            })
            .await
    }

    /// Waits until the next mail's turn comes, but only for a while: the next run can send it too.
    async fn wait_for_turns(&mut self) -> anyhow::Result<bool> {
        if !self.rates.are_limited() || self.clock.since.elapsed() >= PATIENCE {
            return Ok(false);
        }
        let now = self.clock.now();
        let Some(next) = claims::next_paced(&mut self.db, &self.only, now).await? else { return Ok(false) };
        let wait = (next - now).to_std().unwrap_or_default();
        if self.clock.since.elapsed() + wait > PATIENCE {
            return Ok(false);
        }
        // An urgent mail may arrive in the meantime.
        let wait = wait.min(LOOK_AROUND);
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(true),
            _ = self.stop.wait_for(|stop| *stop) => Ok(false),
        }
    }

    /// Renders the claimed rows, page by page, and hands them over. Returns whether the receiver still exists.
    async fn hand_over(&mut self, claim: Scheduled) -> anyhow::Result<bool> {
        let Scheduled { mut mails, unreadable, .. } = claim;
        for row in unreadable {
            if !self.pass_on(Intake::Unreadable(row)).await {
                return Ok(false);
            }
        }
        while !mails.is_empty() {
            let mut bytes = 0;
            let fitting = mails
                .iter()
                .take(PAGE_MAILS)
                .take_while(|(mail, _)| {
                    bytes += mail.bytes;
                    bytes <= PAGE_BYTES
                })
                .count();
            let page: Vec<_> = mails.drain(..fitting.max(1)).collect();
            if !self.hand_over_page(page).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn hand_over_page(&mut self, page: Vec<(Claimed, Instant)>) -> anyhow::Result<bool> {
        let ids: Vec<i64> = page.iter().map(|(mail, _)| mail.id).collect();
        let mut bodies = contents::bodies(&mut self.db, &ids).await?;
        let recipients: Vec<(i64, String)> = page
            .iter()
            .filter_map(|(mail, _)| {
                Some((mail.id, address::normalised(&address::parse(&mail.recipient).ok()?)))
            })
            .collect();
        let mut unwanted = unwanted(&mut self.db, &recipients, self.consent).await?;
        for (row, wait_until) in page {
            let id = row.id;
            // Deleted in the meantime: there is nothing to send.
            let Some(bodies) = bodies.remove(&id) else { continue };
            let Some(room) = self.room(&row).await? else { return Ok(false) };
            let intake = match (unwanted.remove(&id), bodies) {
                (Some(because), _) => Intake::Settled {
                    change: Change { reply: Some(because), ..Change::to(id, changes::CANCELLED) },
                    is_failure: false,
                },
                (None, Ok(bodies)) => self.mail_of(row, bodies, wait_until, room).await?,
                (None, Err(problem)) => failed(id, problem),
            };
            if !self.pass_on(intake).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Passes on what became of a row. Returns whether the receiver still exists and wants more.
    async fn pass_on(&mut self, intake: Intake) -> bool {
        tokio::select! {
            sent = self.ready.send(intake) => sent.is_ok(),
            _ = self.stop.wait_for(|stop| *stop) => false,
        }
    }

    /// Waits until there is room in memory for a mail; `None` if the run is to stop. A mail that a run may have died of takes
    /// all of it: it is prepared and sent alone, so that no other comes under suspicion with it.
    async fn room(&mut self, mail: &Claimed) -> anyhow::Result<Option<OwnedSemaphorePermit>> {
        let kibibytes = if mail.is_suspect {
            MEMORY_KIBIBYTES
        } else {
            u32::try_from(mail.bytes / 1024 + 1).unwrap_or(u32::MAX).min(MEMORY_KIBIBYTES)
        };
        let room = Arc::clone(&self.memory).acquire_many_owned(kibibytes);
        tokio::select! {
            room = room => Ok(Some(room?)),
            _ = self.stop.wait_for(|stop| *stop) => Ok(None),
        }
    }
}

fn domain_of(recipient: &str) -> String {
    address::parse(recipient).map_or_else(|_| String::new(), |recipient| address::domain(&recipient))
}

/// A claimed row's status as one of our constants.
pub(super) fn word(status: &str) -> &'static str {
    match status {
        changes::RETRY => changes::RETRY,
        changes::UNKNOWN => changes::UNKNOWN,
        _ => changes::QUEUED,
    }
}
