//! Responses split without decoding their records.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// How much is quoted of what is not a count.
const MAX_QUOTED: usize = 40;

/// The records under `key`, in one pass; everything else in the response is ignored.
pub(super) fn list(body: &[u8], key: &str) -> serde_json::Result<Vec<Box<RawValue>>> {
    under(body, key)
}

/// The record under `key`; `None` where it is null.
pub(super) fn one(body: &[u8], key: &str) -> serde_json::Result<Option<Box<RawValue>>> {
    let record: Box<RawValue> = under(body, key)?;
    Ok((record.get() != "null").then_some(record))
}

/// The number of `{"count": 12}`, which may be a string, like other numbers from Cafe24.
pub(super) fn count(body: &[u8]) -> serde_json::Result<u64> {
    let answered: Box<RawValue> = under(body, "count")?;
    let text: Option<String> = serde_json::from_str(answered.get()).ok();
    let count = text.as_deref().unwrap_or(answered.get()).trim().parse();
    count.map_err(|_| {
        let shown: String = answered.get().chars().take(MAX_QUOTED).collect();
        let rest = if shown.len() < answered.get().len() { "…" } else { "" };
        serde_json::Error::custom(format_args!("`count` is {shown}{rest}, which is not a count"))
    })
}

fn under<'a, T: Deserialize<'a>>(body: &'a [u8], key: &str) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = (&mut deserializer).deserialize_map(Under { key, value: None })?;
    deserializer.end()?;
    Ok(value)
}

/// Takes one key's value out of an object.
struct Under<'k, T> {
    key: &'k str,
    value: Option<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Under<'_, T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with `{}`", self.key)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<T, A::Error> {
        while let Some(is_ours) = map.next_key_seed(Is(self.key))? {
            if is_ours {
                self.value = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        self.value.ok_or_else(|| A::Error::custom(format_args!("`{}` is missing", self.key)))
    }
}

/// Whether a key is this one, without a copy of it.
struct Is<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<String> {
        let records = list(body.as_bytes(), "orders").unwrap();
        records.iter().map(|record| record.get().to_owned()).collect()
    }

    #[test]
    fn records_stay_as_they_are_and_links_are_passed_over() {
        let body = r#"{"links":[{"orders":[1]}],"orders":[{"a": "1.00"}, 7, null],"x":{"orders":[2]}}"#;
        assert_eq!(texts(body), [r#"{"a": "1.00"}"#, "7", "null"]);
        assert!(texts(r#"{"orders":[]}"#).is_empty());
    }

    #[test]
    fn json_of_another_shape_is_told_apart_from_what_is_no_json() {
        for other in [r#"{"order":[]}"#, r#"{"orders":{}}"#, r#"{"orders":null}"#, "[]", "7", r#""html""#] {
            assert!(list(other.as_bytes(), "orders").unwrap_err().is_data(), "{other}");
        }
        for broken in
            ["", "<html>", r#"{"orders":[{"a":1"#, r#"{"orders":[]} and more"#, "{\"orders\":[\"\u{1}\"]}"]
        {
            assert!(!list(broken.as_bytes(), "orders").unwrap_err().is_data(), "{broken}");
        }
    }

    #[test]
    fn a_count_is_a_number_or_its_digits() {
        assert_eq!(count(br#"{"count":12}"#).unwrap(), 12);
        assert_eq!(count(br#"{"count":"12"}"#).unwrap(), 12);
        assert_eq!(count(br#"{"count":" 12 "}"#).unwrap(), 12);
        for (answered, shown) in [
            (r#""many""#, r#""many""#),
            ("-1", "-1"),
            ("3000.0", "3000.0"),
            ("1e30", "1e30"),
            ("18446744073709551616", "18446744073709551616"),
            ("null", "null"),
            (r#"{"count":3}"#, r#"{"count":3}"#),
            (
                &format!("[{}]", "1,".repeat(100)).replace(",]", "]"),
                "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1…",
            ),
        ] {
            let error = count(format!(r#"{{"count":{answered}}}"#).as_bytes()).unwrap_err();
            assert!(error.is_data(), "{answered}");
            assert_eq!(error.to_string(), format!("`count` is {shown}, which is not a count"));
        }
        assert!(count(b"{}").unwrap_err().is_data());
    }

    #[test]
    fn a_record_may_be_null() {
        assert_eq!(one(br#"{"order":{"a":1}}"#, "order").unwrap().unwrap().get(), r#"{"a":1}"#);
        assert!(one(br#"{"order":null}"#, "order").unwrap().is_none());
        assert!(one(b"{}", "order").unwrap_err().is_data());
    }
}
