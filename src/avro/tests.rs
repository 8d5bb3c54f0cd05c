//! What becomes which bytes, what is refused in which words, and what none of it may cost.

use std::time::{Duration, Instant};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;

use super::AvroSchema;

/// A record with one field of this type.
fn of(kind: &str) -> AvroSchema {
    let text = format!(r#"{{"type": "record", "name": "R", "fields": [{{"name": "f", "type": {kind}}}]}}"#);
    AvroSchema::parse(&text).unwrap_or_else(|problem| panic!("{kind}: {problem}"))
}

fn bytes(kind: &str, value: &str) -> String {
    let encoded = of(kind).encode(&format!("{{\"f\": {value}}}"));
    hex::encode(encoded.unwrap_or_else(|misfit| panic!("{kind} {value}: {misfit}")))
}

fn misfit(kind: &str, value: &str) -> String {
    match of(kind).encode(&format!("{{\"f\": {value}}}")) {
        Ok(bytes) => panic!("{kind} {value} fits: {}", hex::encode(bytes)),
        Err(misfit) => misfit.to_string(),
    }
}

const FIXED: &str = r#"{"type": "fixed", "name": "F", "size": 2}"#;
const ENUM: &str = r#"{"type": "enum", "name": "Foo", "symbols": ["A", "B", "C", "D"]}"#;
const DECIMAL: &str = r#"{"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}"#;
const SMALL_DECIMAL: &str = r#"{"type": {"type": "fixed", "name": "D", "size": 3}, "logicalType": "decimal", "precision": 9, "scale": 2}"#;
const UUID: &str = r#"{"type": "string", "logicalType": "uuid"}"#;
const UUID_BYTES: &str = r#"{"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}"#;
const DURATION: &str = r#"{"type": "fixed", "name": "L", "size": 12, "logicalType": "duration"}"#;
const DATE: &str = r#"{"type": "int", "logicalType": "date"}"#;
const MILLIS: &str = r#"{"type": "long", "logicalType": "timestamp-millis"}"#;

/// The examples of the specification, "Binary encoding", and what follows from its rules.
#[test]
fn bytes_are_those_of_the_specification() {
    let longs = r#"{"type": "array", "items": "long"}"#;
    let optional = r#"["null", "string"]"#;
    for (kind, value, expected) in [
        (r#""long""#, "0", "00"),
        (r#""long""#, "-1", "01"),
        (r#""long""#, "1", "02"),
        (r#""int""#, "-64", "7f"),
        (r#""int""#, "64", "8001"),
        (r#""long""#, "-9223372036854775808", "ffffffffffffffffff01"),
        (r#""long""#, "9223372036854775807", "feffffffffffffffff01"),
        (r#""long""#, "1.0e3", "d00f"),
        (r#""string""#, r#""foo""#, "06666f6f"),
        (longs, "[3, 27]", "04063600"),
        (longs, "[]", "00"),
        (optional, "null", "00"),
        (optional, r#""a""#, "020261"),
        (ENUM, r#""D""#, "06"),
        (r#""boolean""#, "true", "01"),
        (r#""null""#, "null", ""),
        (r#""float""#, "1.5", "0000c03f"),
        (r#""double""#, "-0.1", "9a9999999999b9bf"),
        (r#""bytes""#, r#""/wA=""#, "04ff00"),
        (FIXED, r#""/wA=""#, "ff00"),
        // In the order in which they are written: the same event is the same bytes, whoever sends it.
        (r#"{"type": "map", "values": "int"}"#, r#"{"b": 1, "a": 2}"#, "0402620202610400"),
        (DECIMAL, "-0.01", "02ff"),
        (DECIMAL, r#""12.8""#, "040500"),
        (DECIMAL, "0", "0200"),
        (DECIMAL, "1.28", "040080"),
        (SMALL_DECIMAL, "-0.01", "ffffff"),
        (SMALL_DECIMAL, "1.28", "000080"),
        (UUID_BYTES, r#""018f4c00-0000-4000-8000-000000000001""#, "018f4c00000040008000000000000001"),
        (DURATION, r#""P1M2DT0.003S""#, "010000000200000003000000"),
        (DATE, r#""1970-01-02""#, "02"),
        (MILLIS, r#""1970-01-01T09:00:00.001+09:00""#, "02"),
    ] {
        assert_eq!(bytes(kind, value), expected, "{kind} {value}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_place_and_what_is_there() {
    for (kind, value, expected) in [
        (
            r#""int""#,
            "2147483648",
            "payload.f: expected an int, which has 32 bits, found the number 2147483648",
        ),
        (
            r#""long""#,
            "9223372036854775808",
            "payload.f: expected a long, which has at most 64 bits, found the number 9223372036854775808",
        ),
        (
            r#""long""#,
            "1e400",
            "payload.f: expected a long, which has at most 64 bits, found the number 1e400",
        ),
        (r#""long""#, "1.5", "payload.f: expected a long, which has no fraction, found the number 1.5"),
        (r#""long""#, r#""1""#, "payload.f: expected a long, found a text of 1 character"),
        (r#""long""#, "null", "payload.f: expected a long, found null"),
        (
            r#""double""#,
            "123456789012345678901234567890",
            "payload.f: expected a double that keeps all digits, found the number 123456789012345678901234567890",
        ),
        (
            r#""double""#,
            "1e999",
            "payload.f: expected a double that keeps all digits, found the number 1e999",
        ),
        (
            r#""double""#,
            "1e-999",
            "payload.f: expected a double that keeps all digits, found the number 1e-999",
        ),
        (
            r#""float""#,
            "16777217",
            "payload.f: expected a float that keeps all digits, found the number 16777217",
        ),
        (r#""string""#, "1", "payload.f: expected a text, found the number 1"),
        (r#""string""#, r#""\ud800""#, "payload.f: the text has an escape that is no character"),
        (r#""boolean""#, "0", "payload.f: expected true or false, found the number 0"),
        (r#""bytes""#, r#""\u00ff""#, "payload.f: expected bytes in Base64, found a text of 1 character"),
        (FIXED, r#""/w==""#, "payload.f: expected 2 bytes for F, found 1"),
        (ENUM, r#""E""#, "payload.f: expected a symbol of Foo (A, B, C, D), found a text of 1 character"),
        (
            DECIMAL,
            "1.234",
            "payload.f: expected a decimal of at most 5 digits, 2 of them behind the point, found the number 1.234",
        ),
        (
            DECIMAL,
            "1234.5",
            "payload.f: expected a decimal of at most 5 digits, 2 of them behind the point, found the number 1234.5",
        ),
        (
            DECIMAL,
            r#""1,5""#,
            "payload.f: expected a decimal of at most 5 digits, 2 of them behind the point, found a text of 3 characters",
        ),
        (
            SMALL_DECIMAL,
            "99999.99",
            "payload.f: expected a decimal that fits into 3 bytes, found the number 99999.99",
        ),
        (UUID, r#""018f4c00""#, "payload.f: expected a UUID, found a text of 8 characters"),
        (DATE, "1", "payload.f: expected a day, such as \"2026-11-19\", found the number 1"),
        (
            MILLIS,
            r#""2026-11-19T05:04:11.0001Z""#,
            "payload.f: expected an instant, such as \"2026-11-19T05:04:11Z\", with at most 3 digits of a second, found a text of 25 characters",
        ),
    ] {
        assert_eq!(misfit(kind, value), expected);
    }
}

#[test]
fn what_does_not_fit_within_another_value_is_refused_with_the_way_to_it() {
    for (kind, value, expected) in [
        (
            r#"{"type": "array", "items": ["null", "int"]}"#,
            "[1, null, 1.5]",
            "payload.f[2]: expected an int, which has no fraction, found the number 1.5",
        ),
        (
            r#"{"type": "map", "values": "int"}"#,
            "{\"a\\u001b[2J\": \"x\"}",
            "payload.f[a\\u{1b}[2J]: expected an int, found a text of 1 character",
        ),
        (r#"{"type": "map", "values": "int"}"#, r#"{"a": 1, "a": 2}"#, "payload.f: it has `a` twice"),
        (
            r#"["null", "int", "boolean"]"#,
            r#""x""#,
            "payload.f: expected one of null, int, boolean, found a text of 1 character",
        ),
        (r#"["int", "boolean"]"#, "null", "payload.f: expected one of int, boolean, found null"),
        (
            r#"["int", {"type": "record", "name": "Q", "fields": [{"name": "a", "type": "int"}]}]"#,
            r#"{"a": "x"}"#,
            "payload.f.a: expected an int, found a text of 1 character",
        ),
        (
            r#"{"type": "record", "name": "Q", "fields": [{"name": "a", "type": "int"}]}"#,
            "{}",
            "payload.f.a: it is missing, and Q has no default for it",
        ),
        (r#"{"type": "record", "name": "Q", "fields": []}"#, r#"{"b": 1}"#, "payload.f: Q has no field `b`"),
        (
            r#"{"type": "record", "name": "Q", "fields": []}"#,
            "[]",
            "payload.f: expected an object for Q, found an array",
        ),
    ] {
        assert_eq!(misfit(kind, value), expected);
    }
}

#[test]
fn a_union_is_the_first_type_that_fits_and_leaves_nothing_of_those_before_it() {
    let union = r#"["null", {"type": "record", "name": "Q", "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "int"}]},
                    {"type": "map", "values": "string"}, "int", "long", "double", "string"]"#;
    for (value, expected) in [
        ("null", "00"),
        (r#"{"a": "x", "b": 1}"#, "02027802"),
        (r#"{"a": "x", "b": "y"}"#, "0404026102780262027900"),
        ("1", "0602"),
        ("2147483648", "088080808010"),
        ("0.5", "0a000000000000e03f"),
        (r#""x""#, "0c0278"),
    ] {
        assert_eq!(bytes(union, value), expected, "{value}");
    }
}

#[test]
fn what_is_missing_has_its_default_in_avros_own_json() {
    let schema = AvroSchema::parse(
        r#"{"type": "record", "name": "R", "fields": [
            {"name": "a", "type": ["null", "string"], "default": null},
            {"name": "b", "type": "bytes", "default": "\u00ff"},
            {"name": "c", "type": {"type": "int", "logicalType": "date"}, "default": 1},
            {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, "default": "\u0001\u0000"},
            {"name": "e", "type": {"type": "record", "name": "Q", "fields": [{"name": "n", "type": "int", "default": 7}]}, "default": {}},
            {"name": "f", "type": {"type": "array", "items": "int"}, "default": [1]}
        ]}"#,
    )
    .unwrap();
    assert_eq!(hex::encode(schema.encode("{}").unwrap()), "0002ff020401000e020200");
    let given = schema.encode(r#"{"a": "x", "e": {"n": 8}}"#).unwrap();
    assert_eq!(hex::encode(given), "02027802ff0204010010020200");
}

#[test]
fn a_schema_that_would_go_wrong_silently_says_why_it_is_refused() {
    let field = |field: &str| format!(r#"{{"type": "record", "name": "R", "fields": [{field}]}}"#);
    for (text, problem) in [
        (String::new(), "it is not JSON: EOF while parsing a value at line 1 column 0"),
        (
            "{\n  \"type\": \"record\",,".to_owned(),
            "it is not JSON: key must be a string at line 2 column 20",
        ),
        (r#""string""#.to_owned(), "it is not a record"),
        (field(r#""a""#), "the field \"a\" is not an object"),
        (field(r#"{"name": "a", "type": "lnog"}"#), "lnog"),
        (field(r#"{"name": "a", "type": "int"}, {"name": "a", "type": "int"}"#), "a"),
        (
            field(r#"{"name": "a", "type": "long", "logicalType": "timestamp-micros"}"#),
            "the `logicalType` of `a` belongs into its type",
        ),
        (
            field(r#"{"name": "a", "type": {"type": "bytes", "logicalType": "decimal"}}"#),
            "a decimal needs a `precision`",
        ),
        (
            field(
                r#"{"name": "a", "type": {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}}"#,
            ),
            "a decimal needs a `precision`",
        ),
        (
            field(r#"{"name": "a", "type": {"type": "bytes", "logicalType": "big-decimal"}}"#),
            "`big-decimal` is not supported",
        ),
        (
            field(r#"{"name": "a", "type": {"type": "fixed", "name": "F", "size": 9999999999}}"#),
            "a fixed has more than",
        ),
        (
            field(
                r#"{"name": "a", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4}, "default": "주"}"#,
            ),
            "default",
        ),
        (
            field(
                r#"{"name": "a", "type": {"type": "enum", "name": "E", "symbols": ["A"]}}, {"name": "b", "type": {"type": "enum", "name": "E", "symbols": ["B"]}}"#,
            ),
            "the type `E` is defined twice",
        ),
        // A default without end.
        (field(r#"{"name": "a", "type": "R", "default": {}}"#), ""),
    ] {
        let found = AvroSchema::parse(&text).unwrap_err();
        assert!(found.contains(problem), "{text}: {found}");
    }
    let with_mark = format!("\u{feff}{}\n", field(r#"{"name": "a", "type": "int"}"#));
    assert!(AvroSchema::parse(&with_mark).unwrap().text().starts_with('{'));
}

#[test]
fn a_hostile_payload_costs_little() {
    let list = AvroSchema::parse(
        r#"{"type": "record", "name": "L", "fields": [{"name": "n", "type": ["null", "L"], "default": null}]}"#,
    )
    .unwrap();
    let nested = |depth: usize| format!("{}null{}", "{\"n\":".repeat(depth), "}".repeat(depth));
    assert!(list.encode(&nested(60)).is_ok());
    let deep = list.encode(&nested(100_000)).unwrap_err().to_string();
    assert!(deep.ends_with("it is nested more than 64 levels deep"), "{}", &deep[deep.len() - 60..]);

    // Two records that differ at the end only: each level doubles what there is to try.
    let forks = AvroSchema::parse(
        r#"{"type": "record", "name": "A", "fields": [{"name": "n", "type": ["null", "A",
            {"type": "record", "name": "B", "fields": [{"name": "n", "type": ["null", "A", "B"]}]}]}]}"#,
    )
    .unwrap();
    let fork = format!("{}1{}", "{\"n\":".repeat(60), "}".repeat(60));
    let started = Instant::now();
    let tried = forks.encode(&fork).unwrap_err().to_string();
    assert!(tried.contains("too many alternatives"), "{tried}");
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());

    let large = format!(
        r#"{{"type": "record", "name": "R", "fields": [{{"name": "f", "type": {{"type": "array", "items":
            {{"type": "record", "name": "Q", "fields": [{{"name": "a", "type": "string", "default": "{}"}}]}}}}}}]}}"#,
        "x".repeat(10_000)
    );
    let many = format!("{{\"f\": [{}{{}}]}}", "{},".repeat(300_000));
    let found = AvroSchema::parse(&large).unwrap().encode(&many).unwrap_err().to_string();
    assert!(found.contains("it becomes larger than 1048576 bytes"), "{found}");
}

/// The library's own reader, which has nothing of our writer.
#[test]
fn what_is_written_is_read_by_the_librarys_reader() {
    let text = r#"{"type": "record", "name": "R", "fields": [
        {"name": "order_no", "type": "string"}, {"name": "total", "type": "long"}, {"name": "rate", "type": "double"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {"name": "next", "type": ["null", "R"], "default": null}]}"#;
    let payload = r#"{"order_no": "주문-1", "total": 9007199254740993, "rate": 0.1, "at": "2026-11-19T05:04:11.000001Z",
                      "tags": {"a": "b"}}"#;
    let datum = AvroSchema::parse(text).unwrap().encode(payload).unwrap();
    let schema = Schema::parse_str(text).unwrap();
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let mut rest = datum.as_slice();
    let Value::Record(fields) = reader.read_value(&mut rest).unwrap() else { panic!("a record") };
    assert!(rest.is_empty());
    let value = |name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
    assert_eq!(value("order_no"), Value::String("주문-1".to_owned()));
    assert_eq!(value("total"), Value::Long(9_007_199_254_740_993));
    assert_eq!(value("rate"), Value::Double(0.1));
    assert_eq!(value("at"), Value::TimestampMicros(1_795_064_651_000_001));
    assert_eq!(value("next"), Value::Union(0, Box::new(Value::Null)));
}
