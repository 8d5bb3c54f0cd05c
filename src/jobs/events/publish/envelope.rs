//! An event as it leaves: one line of JSON, in the names of the table's columns.
//!
//! The payload is what its writer wrote, digit for digit and in its order: a number that passed through a number of ours
//! could come out as another one.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::db::{FromRow, StoredText, StoredTime};

/// The most bytes of a payload, as the table's CHECK has it: the largest message that Kafka takes by default.
pub(super) const MAX_PAYLOAD_BYTES: i64 = 1024 * 1024;
/// The most bytes of the headers.
pub(super) const MAX_HEADERS_BYTES: i64 = 16 * 1024;
/// More attempts than any configuration allows: the column is ours, but others can write to it.
const MAX_ATTEMPTS: i64 = 1_000_000;
/// The most bytes of a name.
pub(super) const MAX_NAME_BYTES: i64 = 200;

/// An event as it is stored. What other programs wrote may be anything; a text that is too long is not read.
#[derive(Debug, FromRow)]
pub(super) struct StoredEvent {
    pub(super) id: i64,
    event_id: Option<StoredText>,
    aggregate_type: Option<StoredText>,
    aggregate_id: Option<StoredText>,
    pub(super) event_type: Option<StoredText>,
    payload: Option<StoredText>,
    headers: Option<StoredText>,
    occurred_at: StoredTime,
    attempts: i64,
    was_refused: bool,
    payload_bytes: i64,
}

/// An event that can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) id: i64,
    pub(super) event_id: String,
    /// Type and id.
    pub(super) aggregate: (String, String),
    /// How often it was refused, and was believed to be at fault.
    pub(super) attempts: i64,
    /// Whether it was refused before.
    pub(super) was_refused: bool,
    /// The envelope, on one line.
    pub(super) json: String,
    pub(super) event_type: String,
    /// As it is in the envelope.
    pub(super) occurred_at: String,
    /// The event's own.
    pub(super) headers: BTreeMap<String, String>,
    /// As its writer wrote it.
    pub(super) payload: String,
}

#[derive(Serialize)]
struct Envelope<'e> {
    event_id: &'e str,
    event_type: &'e str,
    aggregate_type: &'e str,
    aggregate_id: &'e str,
    occurred_at: &'e str,
    headers: &'e BTreeMap<String, String>,
    payload: &'e RawValue,
}

impl StoredEvent {
    /// The event, ready to be sent, or the first problem with it, by its column.
    pub(super) fn ready(self) -> Result<Ready, String> {
        if self.payload_bytes > MAX_PAYLOAD_BYTES {
            return Err(format!(
                "payload: too large: {} bytes, of at most {MAX_PAYLOAD_BYTES}",
                self.payload_bytes
            ));
        }
        let event_id = name("event_id", self.event_id)?;
        if !is_uuid(&event_id) {
            return Err("event_id: it is not a UUID in lower case".to_owned());
        }
        let aggregate =
            (name("aggregate_type", self.aggregate_type)?, name("aggregate_id", self.aggregate_id)?);
        let event_type = name("event_type", self.event_type)?;
        let payload = json("payload", self.payload)?;
        let headers = json("headers", self.headers)?;
        let occurred_at = self
            .occurred_at
            .read()
            .map_err(|problem| format!("occurred_at: {problem}"))?
            .to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let headers: BTreeMap<String, String> = serde_json::from_str(headers.get())
            .map_err(|_| "headers: its values are not all texts".to_owned())?;
        let envelope = Envelope {
            event_id: &event_id,
            event_type: &event_type,
            aggregate_type: &aggregate.0,
            aggregate_id: &aggregate.1,
            occurred_at: &occurred_at,
            headers: &headers,
            payload: &payload,
        };
        let json = serde_json::to_string(&envelope).map_err(|error| format!("payload: {error}"))?;
        if !(0..=MAX_ATTEMPTS).contains(&self.attempts) {
            return Err(format!("attempts: {} is not a count of attempts", self.attempts));
        }
        Ok(Ready {
            id: self.id,
            event_id,
            aggregate,
            attempts: self.attempts,
            was_refused: self.was_refused,
            json,
            event_type,
            occurred_at,
            headers,
            payload: payload.get().to_owned(),
        })
    }
}

fn text(column: &str, stored: Option<StoredText>) -> Result<String, String> {
    let stored = stored.ok_or_else(|| format!("{column}: it is missing or too long"))?;
    stored.read().map_err(|problem| format!("{column}: {problem}"))
}

/// A name, which is not empty and has no NUL: no log, header or key of a consumer has one.
fn name(column: &str, stored: Option<StoredText>) -> Result<String, String> {
    let name = text(column, stored)?;
    match name.as_str() {
        "" => Err(format!("{column}: it is empty")),
        name if name.contains('\0') => Err(format!("{column}: it contains a NUL")),
        _ => Ok(name),
    }
}

/// A JSON object, on one line: between its parts a line break is a space like any other, and inside a text there is none.
fn json(column: &str, stored: Option<StoredText>) -> Result<Box<RawValue>, String> {
    let not_json = |error: serde_json::Error| format!("{column}: it is not JSON: {error}");
    let value: Box<RawValue> = serde_json::from_str(&text(column, stored)?).map_err(not_json)?;
    if !value.get().starts_with('{') {
        return Err(format!("{column}: it is not a JSON object"));
    }
    if !value.get().contains(['\n', '\r']) {
        return Ok(value);
    }
    RawValue::from_string(value.get().replace(['\n', '\r'], " ")).map_err(not_json)
}

/// Whether a text has the form of a UUID (RFC 9562 section 4).
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::at;

    const ID: &str = "018f4c00-0000-4000-8000-000000000000";

    fn stored(payload: &str) -> StoredEvent {
        let text = |text: &str| Some(StoredText::Text(text.to_owned()));
        StoredEvent {
            id: 7,
            event_id: text(ID),
            aggregate_type: text("order"),
            aggregate_id: text("주문/1"),
            event_type: text("order.paid"),
            payload: text(payload),
            headers: text("{\"trace\": \"00-4bf9\"}"),
            occurred_at: StoredTime::At(at("2026-11-19T12:00:00.5+09:00")),
            attempts: 0,
            was_refused: false,
            payload_bytes: i64::try_from(payload.len()).unwrap(),
        }
    }

    #[test]
    fn an_event_is_one_line_and_its_payload_is_as_it_was_written() {
        let ready = stored("{\"b\": 1.10,\r\n \"a\": 123456789012345678901234567890, \"t\": \"1\\n2\"}")
            .ready()
            .unwrap();
        assert_eq!(
            ready.json,
            format!(
                "{{\"event_id\":\"{ID}\",\"event_type\":\"order.paid\",\"aggregate_type\":\"order\",\"aggregate_id\":\"주문/1\",\
                 \"occurred_at\":\"2026-11-19T03:00:00.500Z\",\"headers\":{{\"trace\":\"00-4bf9\"}},\
                 \"payload\":{{\"b\": 1.10,   \"a\": 123456789012345678901234567890, \"t\": \"1\\n2\"}}}}"
            )
        );
        assert_eq!(ready.aggregate, ("order".to_owned(), "주문/1".to_owned()));
    }

    #[test]
    fn an_event_that_cannot_be_sent_says_which_column_is_the_reason() {
        let not_text = || Some(StoredText::NotText("a\u{fffd}".to_owned()));
        let nested = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(stored(&nested).ready().is_ok(), "however deep");
        for (event, problem) in [
            (stored("{\"a\":"), "payload: it is not JSON: EOF while parsing"),
            (stored("{} {}"), "payload: it is not JSON: trailing characters"),
            (stored("{}\0"), "payload: it is not JSON: "),
            (stored("[1]"), "payload: it is not a JSON object"),
            (stored("{\"a\": \"1\n2\"}"), "payload: it is not JSON: control character"),
            (
                StoredEvent { payload_bytes: 5 << 20, payload: None, ..stored("{}") },
                "payload: too large: 5242880 bytes",
            ),
            (StoredEvent { payload: not_text(), ..stored("{}") }, "payload: the text is not UTF-8"),
            (StoredEvent { aggregate_id: not_text(), ..stored("{}") }, "aggregate_id: the text is not UTF-8"),
            (StoredEvent { event_type: None, ..stored("{}") }, "event_type: it is missing or too long"),
            (
                StoredEvent { event_id: Some(StoredText::Text("7".into())), ..stored("{}") },
                "event_id: it is not a UUID",
            ),
            (
                StoredEvent { aggregate_type: Some(StoredText::Text("a\0".into())), ..stored("{}") },
                "aggregate_type: it contains a NUL",
            ),
            (
                StoredEvent { headers: Some(StoredText::Text("{\"a\":1}".into())), ..stored("{}") },
                "headers: its values are not all texts",
            ),
            (
                StoredEvent { occurred_at: StoredTime::NotTime("infinity".into()), ..stored("{}") },
                "occurred_at: `infinity` is not a time",
            ),
            (StoredEvent { attempts: -1, ..stored("{}") }, "attempts: -1 is not a count"),
            (
                StoredEvent { attempts: i64::MAX, ..stored("{}") },
                "attempts: 9223372036854775807 is not a count",
            ),
        ] {
            let found = event.ready().unwrap_err();
            assert!(found.starts_with(problem), "{found}");
        }
    }
}
