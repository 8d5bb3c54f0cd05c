//! Where events go.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use futures_util::stream::{self, StreamExt as _};

use crate::clients::event_folder::EventFolder;
use crate::clients::event_webhook::{EventWebhook, Verdict};
use crate::config::SinkKind;
use crate::context::Context;
use crate::failure::Failure;

use super::envelope::Ready;

/// After this many refusals of different aggregates and not one acceptance nothing more is offered: it will not be the events.
const MOST_REFUSALS: u64 = 20;

/// A place where events go.
pub(super) enum Sink {
    /// Files.
    Folder(EventFolder),
    /// A webhook, with this many requests at once.
    Webhook(Box<EventWebhook>, usize),
}

/// What a sink did with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// It has it.
    Taken,
    /// It does not want it, for this reason.
    Refused(String),
    /// It was not offered.
    Untouched,
}

/// What became of some events, and why no more were offered.
pub(super) struct Delivery {
    /// Of each event.
    pub(super) done: Vec<(Ready, Done)>,
    /// What is wrong with the sink, whichever the event is.
    pub(super) stop: Option<Failure>,
}

impl Sink {
    /// The configured one; `None` if there is none.
    pub(super) fn of(cx: &Context) -> Result<Option<Self>, Failure> {
        let config = cx.config.events();
        Ok(match config.sink {
            None => None,
            Some(SinkKind::Ndjson) => Some(Self::Folder(EventFolder::new(&cx.config)?)),
            Some(SinkKind::Webhook) => {
                Some(Self::Webhook(Box::new(EventWebhook::new(cx)?), config.connections()))
            }
        })
    }

    /// Offers events, those of each aggregate in their order, and behind one that was not taken none of its aggregate.
    /// `has_taken` says whether it has taken any in this run.
    pub(super) async fn deliver(&self, events: Vec<Ready>, has_taken: bool) -> Delivery {
        match self {
            Self::Folder(folder) => append(folder, events).await,
            Self::Webhook(webhook, connections) => post(webhook, *connections, events, has_taken).await,
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
    Delivery { done: events.into_iter().map(|event| (event, done.clone())).collect(), stop }
}

/// What is known of a webhook while some requests are under way.
struct Standing {
    has_taken: Cell<bool>,
    refusals: Cell<u64>,
    stop: RefCell<Option<Failure>>,
}

impl Standing {
    fn takes_more(&self) -> bool {
        self.stop.borrow().is_none() && (self.has_taken.get() || self.refusals.get() < MOST_REFUSALS)
    }
}

async fn post(webhook: &EventWebhook, connections: usize, events: Vec<Ready>, has_taken: bool) -> Delivery {
    let standing =
        Standing { has_taken: Cell::new(has_taken), refusals: Cell::new(0), stop: RefCell::new(None) };
    let mut aggregates = by_aggregate(events);
    // Whoever was refused before goes last: if one of the others is taken, it is not the webhook that is at fault.
    aggregates.sort_by_key(|aggregate| aggregate.first().is_some_and(|first| first.was_refused));
    let posted = stream::iter(aggregates).map(|aggregate| post_aggregate(webhook, aggregate, &standing));
    let done: Vec<Vec<(Ready, Done)>> = posted.buffer_unordered(connections).collect().await;
    Delivery { done: done.into_iter().flatten().collect(), stop: standing.stop.into_inner() }
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
    standing: &Standing,
) -> Vec<(Ready, Done)> {
    let mut done = Vec::with_capacity(events.len());
    let mut is_held_up = false;
    for event in events {
        if is_held_up || !standing.takes_more() {
            done.push((event, Done::Untouched));
            continue;
        }
        let result = match webhook.post(&event.event_id, &event.json).await {
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
