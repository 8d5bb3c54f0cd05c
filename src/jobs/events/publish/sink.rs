//! Where events go.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use crate::clients::event_folder::EventFolder;
use crate::clients::event_webhook::{EventWebhook, Verdict};
use crate::config::SinkKind;
use crate::context::Context;
use crate::failure::Failure;

use super::envelope::Ready;
use super::topics::Topics;

/// After this many refusals of different aggregates and not one acceptance nothing more is offered: it will not be the events.
const MOST_REFUSALS: u64 = 20;

/// A place where events go.
pub(super) enum Sink {
    /// Files.
    Folder(EventFolder),
    /// A webhook, with this many requests at once.
    Webhook(Box<EventWebhook>, usize),
    /// Topics of Kafka.
    Topics(Box<Topics>),
}

/// What a sink did with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// It has it.
    Taken,
    /// It does not want it, for this reason.
    Refused(String),
    /// No sink could take it, for this reason: it was not offered.
    Unsendable(String),
    /// The part of the sink that it is for accepts none at the moment, for this reason.
    Held(String),
    /// It was not offered.
    Untouched,
}

/// What became of some events, and why no more were offered.
#[derive(Default)]
pub(super) struct Delivery {
    /// Of each event.
    pub(super) done: Vec<(Ready, Done)>,
    /// What is wrong with a part of the sink: the others go on.
    pub(super) partial: Option<Failure>,
    /// What is wrong with the sink, whichever the event is.
    pub(super) stop: Option<Failure>,
}

impl Sink {
    /// Refuses settings with which there could be none, without opening one: that takes longer than a run that finds nothing.
    pub(super) fn check(cx: &Context, registers: bool) -> Result<(), Failure> {
        let sink = cx.config.events().sink;
        if registers && sink != Some(SinkKind::Kafka) {
            return Err(Failure::usage("--register is of no use without sink = \"kafka\" in [events]"));
        }
        match sink {
            None => Ok(()),
            Some(SinkKind::Ndjson) => EventFolder::check(&cx.config),
            Some(SinkKind::Webhook) => EventWebhook::check(cx),
            Some(SinkKind::Kafka) => Topics::check(cx, registers),
        }
    }

    /// The configured one; `None` if there is none. `registers` says whether schemas that a registry does not have are put there.
    pub(super) fn of(cx: &Context, registers: bool) -> Result<Option<Self>, Failure> {
        let config = cx.config.events();
        Ok(match config.sink {
            None => None,
            Some(SinkKind::Ndjson) => Some(Self::Folder(EventFolder::new(&cx.config)?)),
            Some(SinkKind::Webhook) => {
                Some(Self::Webhook(Box::new(EventWebhook::new(cx)?), config.connections()))
            }
            Some(SinkKind::Kafka) => Some(Self::Topics(Box::new(Topics::new(cx, registers)?))),
        })
    }

    /// How many events are claimed, offered and settled together: few enough that a process that dies sends little twice, and
    /// so many that a commit costs each of them next to nothing.
    pub(super) fn chunk(&self) -> i64 {
        match self {
            Self::Folder(_) | Self::Topics(_) => 1000,
            // A request takes longer than its share of a commit.
            Self::Webhook(..) => 100,
        }
    }

    /// Offers events, those of each aggregate in their order, and behind one that was not taken none of its aggregate; no more
    /// once the run is to stop. `has_taken` says whether the sink has taken any in this run.
    pub(super) async fn deliver(
        &mut self,
        events: Vec<Ready>,
        has_taken: bool,
        is_to_stop: &dyn Fn() -> bool,
    ) -> Delivery {
        match self {
            Self::Folder(folder) => append(folder, events).await,
            Self::Webhook(webhook, connections) => {
                let standing = Standing {
                    has_taken: Cell::new(has_taken),
                    refusals: Cell::new(0),
                    stop: RefCell::new(None),
                    is_to_stop,
                };
                post(webhook, *connections, events, standing).await
            }
            Self::Topics(topics) => topics.deliver(events, is_to_stop).await,
        }
    }

    /// Hands over an event that is given up to those who look after such events, if there is a place for that.
    pub(super) async fn bury(&mut self, event: &Ready, attempts: i64, reason: &str) -> Result<(), Failure> {
        match self {
            Self::Folder(_) | Self::Webhook(..) => Ok(()),
            Self::Topics(topics) => topics.bury(event, attempts, reason).await,
        }
    }
}

async fn append(folder: &EventFolder, events: Vec<Ready>) -> Delivery {
    let mut lines = String::with_capacity(events.iter().map(|event| event.json.len() + 1).sum());
    for event in &events {
        lines.push_str(&event.json);
        lines.push('\n');
    }
    let stop = if lines.is_empty() { None } else { folder.append(lines).await.err() };
    let done = if stop.is_none() { Done::Taken } else { Done::Untouched };
    let done = events.into_iter().map(|event| (event, done.clone())).collect();
    Delivery { done, stop, ..Delivery::default() }
}

/// How long a run that is to stop waits for the answers that it has not yet. A request may take longer than the time that is
/// left then, and what others have answered has to be noted.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the run is to stop.
const STOP_PAUSE: Duration = Duration::from_millis(100);

/// What is known of a webhook while some requests are under way.
struct Standing<'s> {
    has_taken: Cell<bool>,
    refusals: Cell<u64>,
    stop: RefCell<Option<Failure>>,
    is_to_stop: &'s dyn Fn() -> bool,
}

impl Standing<'_> {
    fn takes_more(&self) -> bool {
        let is_believed = self.has_taken.get() || self.refusals.get() < MOST_REFUSALS;
        is_believed && self.stop.borrow().is_none() && !(self.is_to_stop)()
    }

    /// Until a run that is to stop waits for no answer any more.
    async fn ends(&self) {
        while !(self.is_to_stop)() {
            tokio::time::sleep(STOP_PAUSE).await;
        }
        tokio::time::sleep(LAST_PATIENCE).await;
    }
}

async fn post(
    webhook: &EventWebhook,
    connections: usize,
    events: Vec<Ready>,
    standing: Standing<'_>,
) -> Delivery {
    let mut aggregates = by_aggregate(events);
    // Whoever was refused before goes last: if one of the others is taken, it is not the webhook that is at fault.
    aggregates.sort_by_key(|aggregate| aggregate.first().is_some_and(|first| first.was_refused));
    let posted = stream::iter(aggregates).map(|aggregate| post_aggregate(webhook, aggregate, &standing));
    let done: Vec<Vec<(Ready, Done)>> = posted.buffer_unordered(connections).collect().await;
    let done = done.into_iter().flatten().collect();
    Delivery { done, stop: standing.stop.into_inner(), ..Delivery::default() }
}

/// The events of each aggregate, the aggregates in the order of their first ones.
fn by_aggregate(events: Vec<Ready>) -> Vec<Vec<Ready>> {
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    let mut aggregates: Vec<Vec<Ready>> = Vec::new();
    for event in events {
        let place = *places.entry(event.aggregate.clone()).or_insert(aggregates.len());
        match aggregates.get_mut(place) {
            Some(aggregate) => aggregate.push(event),
            None => aggregates.push(vec![event]),
        }
    }
    aggregates
}

/// One after the other: the next one once the webhook has the one before.
async fn post_aggregate(
    webhook: &EventWebhook,
    events: Vec<Ready>,
    standing: &Standing<'_>,
) -> Vec<(Ready, Done)> {
    let mut done = Vec::with_capacity(events.len());
    let mut is_held_up = false;
    for event in events {
        if is_held_up || !standing.takes_more() {
            done.push((event, Done::Untouched));
            continue;
        }
        let answer = tokio::select! {
            answer = webhook.post(&event.event_id, &event.json) => answer,
            // It may have been taken, and is sent again with the same id.
            () = standing.ends() => {
                is_held_up = true;
                done.push((event, Done::Untouched));
                continue;
            }
        };
        let result = match answer {
            Ok(Verdict::Taken) => {
                standing.has_taken.set(true);
                Done::Taken
            }
            Ok(Verdict::Refused(reason)) => {
                standing.refusals.set(standing.refusals.get() + 1);
                Done::Refused(reason)
            }
            Err(failure) => {
                standing.stop.borrow_mut().get_or_insert(failure);
                Done::Untouched
            }
        };
        is_held_up = result != Done::Taken;
        done.push((event, result));
    }
    done
}
