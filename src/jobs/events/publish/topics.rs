//! Events into topics of Kafka, in waves: no event is sent before those of its aggregate that are ahead of it are in the log.
//!
//! A wave has one batch at most for each partition, and a batch is in the log as a whole or not at all. So several events of an
//! aggregate may go together if they go in one batch; otherwise the later ones wait for the next wave. If one of them is not
//! taken, none behind it is sent in this run: not even into another topic.

use std::collections::{HashMap, HashSet};

use crate::clients::kafka::{Kafka, Message, Partition, Sent, Topic, bytes_in_batch, partition_of};
use crate::config::{EventFormat, is_topic};
use crate::context::Context;
use crate::failure::{Failure, MAX_ERROR_CHARACTERS};
use crate::jobs::events::subject;
use crate::printable::shortened;

use super::avro::{Avro, Encoded, NoContent};
use super::envelope::Ready;
use super::sink::{Delivery, Done};

/// The headers that every message has. One of the event's own that has such a name is left out.
const HEADERS: [&str; 4] = ["event-id", "event-type", "aggregate-type", "occurred-at"];
/// The header that a message in Avro has besides.
const SCHEMA_ID: &str = "schema-id";

/// The topics of a run.
pub(super) struct Topics {
    kafka: Kafka,
    pattern: String,
    dead_letter_topic: Option<String>,
    /// What makes Avro of payloads; without it they are sent as they are.
    avro: Option<Avro>,
    /// What the topics are like, or why one takes nothing.
    known: HashMap<String, Result<Topic, Failure>>,
    /// Partitions that take none in this run any more.
    out: HashMap<Partition, Failure>,
}

/// An event and where it goes.
#[derive(Debug)]
struct Offer {
    event: Ready,
    partition: Partition,
    /// Its content in Avro; without it the payload is the content.
    content: Option<Encoded>,
    bytes: usize,
    /// The most bytes of its batch.
    batch_bytes: usize,
    /// Whether it is a batch of its own: so that it is known to be at fault if it is refused.
    is_alone: bool,
}

impl Topics {
    /// Refuses settings with which nothing could be sent, without opening anything.
    pub(super) fn check(cx: &Context, registers: bool) -> Result<(), Failure> {
        match cx.config.events().kafka.format {
            EventFormat::Json if registers => {
                return Err(Failure::usage(
                    "--register is of no use without format = \"avro\" in [events.kafka]",
                ));
            }
            EventFormat::Json => {}
            EventFormat::Avro => Avro::check(cx)?,
        }
        Kafka::new(cx).map(drop)
    }

    /// Those of `[events.kafka]`. Nothing is opened yet. `registers` says whether schemas that a registry does not have are put
    /// there.
    pub(super) fn new(cx: &Context, registers: bool) -> Result<Self, Failure> {
        let config = &cx.config.events().kafka;
        let avro = match config.format {
            EventFormat::Json => None,
            EventFormat::Avro => Some(Avro::new(cx, registers)?),
        };
        Ok(Self {
            avro,
            kafka: Kafka::new(cx)?,
            pattern: config.topic().to_owned(),
            dead_letter_topic: config.dead_letter_topic.clone(),
            known: HashMap::new(),
            out: HashMap::new(),
        })
    }

    /// Sends events, those of each aggregate in their order, and behind one that was not taken none of its aggregate; no more
    /// once the run is to stop.
    pub(super) async fn deliver(&mut self, events: Vec<Ready>, is_to_stop: &dyn Fn() -> bool) -> Delivery {
        let mut delivery = Delivery::default();
        let mut held = HashSet::new();
        let mut waiting = self.offers(events, &mut held, &mut delivery).await;
        while delivery.stop.is_none() && !is_to_stop() {
            waiting = self.without_held(waiting, &mut held, &mut delivery);
            if waiting.is_empty() {
                break;
            }
            let (wave, rest) = wave(waiting);
            let messages = wave.iter().map(|offer| {
                (message(&offer.event, &offer.partition.0, offer.content.as_ref()), offer.partition.1)
            });
            let sent = self.kafka.send(messages.collect()).await;
            waiting = rest;
            waiting.extend(self.sort(wave, sent, &mut held, &mut delivery));
            waiting.sort_by_key(|offer| offer.event.id);
        }
        delivery.done.extend(waiting.into_iter().map(|offer| (offer.event, Done::Untouched)));
        delivery
    }

    /// Where each event goes, and with which content. One whose topic no cluster could have, or whose payload does not fit its
    /// schema, is refused.
    async fn offers(
        &mut self,
        events: Vec<Ready>,
        held: &mut HashSet<(String, String)>,
        delivery: &mut Delivery,
    ) -> Vec<Offer> {
        let events: Vec<(String, Ready)> = events
            .into_iter()
            .map(|event| (subject::topic(&self.pattern, &event.event_type, &event.aggregate.0), event))
            .collect();
        if let Some(avro) = &mut self.avro {
            let sendable = events.iter().filter(|(topic, _)| is_topic(topic));
            if let Err(failure) = avro.find(sendable.map(|(topic, event)| (topic.as_str(), event))).await {
                delivery.stop = Some(failure);
                delivery.done.extend(events.into_iter().map(|(_, event)| (event, Done::Untouched)));
                return Vec::new();
            }
        }
        let mut offers = Vec::with_capacity(events.len());
        for (topic, event) in events {
            if held.contains(&event.aggregate) {
                delivery.done.push((event, Done::Untouched));
                continue;
            }
            if !is_topic(&topic) {
                held.insert(event.aggregate.clone());
                let reason = format!("event_type: `{topic}` is not a valid topic name");
                delivery.done.push((event, Done::Unsendable(reason)));
                continue;
            }
            match self.content(&topic, &event) {
                Ok(content) => {
                    let bytes = bytes_in_batch(&message(&event, &topic, content.as_ref()));
                    let partition = (topic, 0);
                    offers.push(Offer { event, partition, content, bytes, batch_bytes: 0, is_alone: true });
                }
                Err(NoContent::Misfit(reason)) => {
                    held.insert(event.aggregate.clone());
                    delivery.done.push((event, Done::Refused(reason)));
                }
                Err(NoContent::Held(failure)) => {
                    held.insert(event.aggregate.clone());
                    delivery.done.push((event, Done::Held(failure.message.clone())));
                    delivery.partial.get_or_insert(failure);
                }
            }
        }
        let topics: HashSet<&String> = offers.iter().map(|offer| &offer.partition.0).collect();
        if let Err(failure) = self.find(topics.into_iter().cloned().collect()).await {
            delivery.stop = Some(failure);
        }
        for offer in &mut offers {
            if let Some(Ok(topic)) = self.known.get(&offer.partition.0) {
                offer.partition.1 = partition_of(&offer.event.aggregate.1, topic.partitions);
                offer.batch_bytes = topic.batch_bytes;
                offer.is_alone = offer.bytes > topic.batch_bytes;
            }
        }
        offers
    }

    /// The content of an event's message in Avro, if it is to be in Avro.
    fn content(&self, topic: &str, event: &Ready) -> Result<Option<Encoded>, NoContent> {
        self.avro.as_ref().map(|avro| avro.encode(topic, event)).transpose()
    }

    /// Looks for those of the topics that are not known yet.
    async fn find(&mut self, mut topics: Vec<String>) -> Result<(), Failure> {
        topics.retain(|topic| !self.known.contains_key(topic));
        if !topics.is_empty() {
            self.known.extend(self.kafka.topics(topics).await?);
        }
        Ok(())
    }

    /// Those that may be sent: not behind one that was not taken, nor into what takes none.
    fn without_held(
        &self,
        waiting: Vec<Offer>,
        held: &mut HashSet<(String, String)>,
        delivery: &mut Delivery,
    ) -> Vec<Offer> {
        let mut free = Vec::with_capacity(waiting.len());
        for offer in waiting {
            if held.contains(&offer.event.aggregate) {
                delivery.done.push((offer.event, Done::Untouched));
            } else if let Some(failure) = self.problem_of(&offer.partition) {
                held.insert(offer.event.aggregate.clone());
                delivery.partial.get_or_insert_with(|| failure.clone());
                delivery.done.push((offer.event, Done::Held(failure.message.clone())));
            } else {
                free.push(offer);
            }
        }
        free
    }

    fn problem_of(&self, partition: &Partition) -> Option<&Failure> {
        let of_topic = self.known.get(&partition.0).and_then(|known| known.as_ref().err());
        of_topic.or_else(|| self.out.get(partition))
    }

    /// What the answers to a wave mean. Returns what is to be sent again, each alone.
    fn sort(
        &mut self,
        wave: Vec<Offer>,
        sent: Vec<Sent>,
        held: &mut HashSet<(String, String)>,
        delivery: &mut Delivery,
    ) -> Vec<Offer> {
        let mut together: HashMap<Partition, usize> = HashMap::new();
        for offer in &wave {
            *together.entry(offer.partition.clone()).or_default() += 1;
        }
        // Of brokers that take others it is the partition that does not answer.
        let is_any_taken = sent.iter().any(|sent| matches!(sent, Sent::Taken));
        let mut again = Vec::new();
        for (mut offer, sent) in wave.into_iter().zip(sent) {
            match sent {
                Sent::Taken => delivery.done.push((offer.event, Done::Taken)),
                Sent::Refused(_) | Sent::TooLarge(_)
                    if together.get(&offer.partition).is_some_and(|count| *count > 1) =>
                {
                    offer.is_alone = true;
                    again.push(offer);
                }
                Sent::Refused(reason) => {
                    held.insert(offer.event.aggregate.clone());
                    delivery.done.push((offer.event, Done::Refused(reason)));
                }
                Sent::TooLarge(reason) => {
                    held.insert(offer.event.aggregate.clone());
                    delivery.done.push((offer.event, Done::Unsendable(reason)));
                }
                Sent::Silent(failure) if !is_any_taken => {
                    delivery.stop.get_or_insert(failure);
                    delivery.done.push((offer.event, Done::Untouched));
                }
                Sent::Held(failure) | Sent::Silent(failure) => {
                    self.out.entry(offer.partition.clone()).or_insert(failure);
                    // What to do with it is decided like all that goes there.
                    again.push(offer);
                }
                Sent::Stopped(failure) => {
                    delivery.stop.get_or_insert(failure);
                    delivery.done.push((offer.event, Done::Untouched));
                }
            }
        }
        again
    }

    /// Puts an event that is given up into the topic for such events, if there is one.
    pub(super) async fn bury(&mut self, event: &Ready, attempts: i64, reason: &str) -> Result<(), Failure> {
        let Some(topic) = self.dead_letter_topic.clone() else { return Ok(()) };
        self.find(vec![topic.clone()]).await?;
        let partitions = match self.known.get(&topic) {
            Some(Ok(topic)) => topic.partitions,
            Some(Err(failure)) => return Err(failure.clone()),
            None => return Ok(()),
        };
        let partition = partition_of(&event.aggregate.1, partitions);
        // As it was written: whoever looks into it may be looking for what does not fit its schema.
        let mut dead = message(event, &topic, None);
        let headers = [
            ("dead-letter-topic", subject::topic(&self.pattern, &event.event_type, &event.aggregate.0)),
            ("dead-letter-reason", shortened(reason, MAX_ERROR_CHARACTERS).into_owned()),
            ("dead-letter-attempts", attempts.to_string()),
        ];
        dead.headers.extend(headers.map(|(name, value)| (name.to_owned(), value)));
        let mut sent = self.kafka.send(vec![(dead.clone(), partition)]).await;
        if let Some(Sent::Refused(_) | Sent::TooLarge(_)) = sent.first() {
            // It was too large for its own topic, and is for this one.
            dead.headers.push(("dead-letter-payload".to_owned(), "left out".to_owned()));
            dead.value = Vec::new();
            sent = self.kafka.send(vec![(dead, partition)]).await;
        }
        match sent.pop() {
            Some(Sent::Taken) | None => Ok(()),
            Some(Sent::Refused(reason) | Sent::TooLarge(reason)) => {
                let problem = format!("the topic `{topic}` refuses an event that is given up: {reason}");
                Err(Failure::try_later(problem).hint("check `events.kafka.dead_letter_topic`"))
            }
            Some(Sent::Held(failure) | Sent::Silent(failure) | Sent::Stopped(failure)) => Err(failure),
        }
    }
}

fn message(event: &Ready, topic: &str, content: Option<&Encoded>) -> Message {
    let values = [&event.event_id, &event.event_type, &event.aggregate.0, &event.occurred_at];
    let ours = HEADERS.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.clone()));
    let schema_id = content.map(|content| (SCHEMA_ID.to_owned(), content.schema_id.to_string()));
    let is_ours = |name: &str| HEADERS.contains(&name) || (schema_id.is_some() && name == SCHEMA_ID);
    let own = event.headers.iter().filter(|(name, _)| !is_ours(name));
    let own: Vec<(String, String)> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    Message {
        topic: topic.to_owned(),
        key: event.aggregate.1.clone(),
        headers: ours.chain(schema_id).chain(own).collect(),
        value: content.map_or_else(|| event.payload.clone().into_bytes(), |content| content.bytes.clone()),
    }
}

/// The events that can be sent now, and those that have to wait for them.
fn wave(waiting: Vec<Offer>) -> (Vec<Offer>, Vec<Offer>) {
    /// What a wave has for a partition.
    #[derive(Default)]
    struct Batch {
        bytes: usize,
        is_closed: bool,
    }
    let mut batches: HashMap<Partition, Batch> = HashMap::new();
    // Where the events of an aggregate go in this wave; `None` once one of them waits.
    let mut places: HashMap<(String, String), Option<Partition>> = HashMap::new();
    let (mut wave, mut rest) = (Vec::new(), Vec::new());
    for offer in waiting {
        let place =
            places.entry(offer.event.aggregate.clone()).or_insert_with(|| Some(offer.partition.clone()));
        let batch = batches.entry(offer.partition.clone()).or_default();
        let is_in_order = place.as_ref() == Some(&offer.partition);
        let fits =
            if offer.is_alone { batch.bytes == 0 } else { batch.bytes + offer.bytes <= offer.batch_bytes };
        if is_in_order && fits && !batch.is_closed {
            batch.bytes += offer.bytes;
            batch.is_closed = offer.is_alone;
            wave.push(offer);
        } else {
            *place = None;
            rest.push(offer);
        }
    }
    (wave, rest)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn event(id: i64, aggregate: &str) -> Ready {
        Ready {
            id,
            event_id: id.to_string(),
            aggregate: ("order".to_owned(), aggregate.to_owned()),
            attempts: 0,
            was_refused: false,
            json: String::new(),
            event_type: "order.paid".to_owned(),
            occurred_at: "2026-11-19T03:00:00Z".to_owned(),
            headers: BTreeMap::new(),
            payload: "{}".to_owned(),
        }
    }

    /// Offers of an aggregate to a partition of a topic, with these bytes, numbered from 1; with 0 it goes alone.
    fn offers(list: &[(&str, &str, i32, usize)]) -> Vec<Offer> {
        let numbered = (1..).zip(list);
        numbered
            .map(|(id, (aggregate, topic, partition, bytes))| Offer {
                event: event(id, aggregate),
                partition: ((*topic).to_owned(), *partition),
                content: None,
                bytes: (*bytes).max(1),
                batch_bytes: if *topic == "small" { 50 } else { 100 },
                is_alone: *bytes == 0,
            })
            .collect()
    }

    fn waves(list: &[(&str, &str, i32, usize)]) -> Vec<Vec<i64>> {
        let (mut waiting, mut waves) = (offers(list), Vec::new());
        while !waiting.is_empty() {
            let (now, rest) = wave(waiting);
            waves.push(now.iter().map(|offer| offer.event.id).collect());
            waiting = rest;
        }
        waves
    }

    #[test]
    fn what_goes_into_one_batch_goes_in_one_wave() {
        let list =
            [("a", "t", 0, 30), ("b", "t", 1, 30), ("a", "t", 0, 30), ("c", "t", 0, 40), ("b", "t", 1, 70)];
        assert_eq!(waves(&list), [[1, 2, 3, 4, 5]]);
    }

    #[test]
    fn what_does_not_fit_waits_and_so_does_all_of_its_aggregate() {
        let list =
            [("a", "t", 0, 60), ("a", "t", 0, 60), ("a", "t", 0, 10), ("b", "t", 0, 40), ("c", "t", 1, 100)];
        assert_eq!(waves(&list), [vec![1, 4, 5], vec![2, 3]]);
    }

    #[test]
    fn a_topic_may_take_smaller_batches_than_others() {
        let list = [("a", "small", 0, 30), ("a", "small", 0, 30), ("b", "t", 0, 60), ("b", "t", 0, 40)];
        assert_eq!(waves(&list), [vec![1, 3, 4], vec![2]]);
    }

    #[test]
    fn an_aggregate_goes_into_one_topic_at_a_time() {
        let list = [("a", "t", 0, 10), ("a", "u", 0, 10), ("a", "t", 0, 10), ("b", "u", 0, 10)];
        assert_eq!(waves(&list), [vec![1, 4], vec![2], vec![3]]);
    }

    #[test]
    fn what_goes_alone_is_alone_in_its_partition() {
        let list =
            [("a", "t", 0, 10), ("b", "t", 0, 0), ("b", "t", 0, 10), ("c", "t", 0, 10), ("d", "t", 1, 0)];
        assert_eq!(waves(&list), [vec![1, 4, 5], vec![2], vec![3]]);
    }

    #[test]
    fn a_message_has_our_headers_and_the_events_own() {
        let mut event = event(7, "주문/1");
        event.headers = [("trace", "00-4bf9"), ("event-id", "8"), ("schema-id", "9")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .into();
        let message = message(&event, "t", None);
        let headers: Vec<(&str, &str)> =
            message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("event-id", "7"),
            ("event-type", "order.paid"),
            ("aggregate-type", "order"),
            ("occurred-at", "2026-11-19T03:00:00Z"),
            ("schema-id", "9"),
            ("trace", "00-4bf9"),
        ];
        assert_eq!((message.key.as_str(), headers.as_slice()), ("주문/1", expected.as_slice()));
        assert_eq!(message.value, b"{}");
    }

    #[test]
    fn a_message_in_avro_has_the_id_of_its_schema_and_no_other() {
        let mut event = event(7, "1");
        event.headers = BTreeMap::from([("schema-id".to_owned(), "9".to_owned())]);
        let content = Encoded { schema_id: 3, bytes: vec![0, 0, 0, 0, 3, 2] };
        let message = message(&event, "t", Some(&content));
        let ids: Vec<_> = message.headers.iter().filter(|(name, _)| name == "schema-id").collect();
        assert_eq!(ids, [&("schema-id".to_owned(), "3".to_owned())]);
        assert_eq!(message.value, content.bytes);
    }
}
