//! JSON along a schema, as bytes (Avro 1.12, "Binary encoding").
//!
//! A value is what the payload's digits say, or it is refused: nothing is rounded, cut off, left out or guessed. Payloads come
//! from anybody: what they cost is bounded in depth, in work and in bytes.

use std::collections::{HashMap, HashSet};
use std::fmt;

use num_bigint::BigInt;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::number::Number;
use super::schema::{Record, Type, TypeId, Unit};
use super::text;
use crate::printable::{escaped, shortened};
use crate::wording::counted;

/// How deep values may be in each other: a schema that refers to itself sets no limit.
const MOST_DEPTH: usize = 64;
/// The most bytes of a datum: as many as Kafka takes by default.
const MOST_BYTES: usize = 1024 * 1024;
/// The most bytes of JSON that are looked at, each time that they are: unions in each other are tried branch by branch.
const MOST_WORK: usize = 64 * 1024 * 1024;
/// How often a value is looked at for each byte of the payload, of which no value has less than two with its comma, and how
/// often anyway.
const LOOKS_PER_BYTE: usize = 8;
const LOOKS: usize = 10_000;
/// The most characters of a list of types or symbols that an error shows.
const SHOWN_TYPES: usize = 200;
/// The most characters of a number or of a name that an error shows.
const SHOWN_CHARACTERS: usize = 60;
/// The digits of an i64.
const LONG_DIGITS: usize = 19;

/// Why a payload does not fit its schema: where, what is expected there, and what is there. Texts are not shown: they may be
/// about people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The parts of its place, the innermost first.
    place: Vec<String>,
    problem: String,
    /// How deep that place is.
    depth: usize,
    /// Whether no other branch of a union helps.
    is_final: bool,
}

impl Misfit {
    fn within(mut self, step: &Step<'_>) -> Self {
        self.place.push(match step {
            Step::Field(name) => format!(".{name}"),
            Step::Item(number) => format!("[{number}]"),
            Step::Key(key) => format!("[{}]", shown_name(key)),
        });
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.place.iter().rev() {
            formatter.write_str(part)?;
        }
        write!(formatter, ": {}", self.problem)
    }
}

/// A payload as the bytes of a type.
pub(super) fn encode(types: &[Type], root: TypeId, payload: &str) -> Result<Vec<u8>, Misfit> {
    let mut writer = Writer::new(types, payload.len());
    let raw = serde_json::from_str(payload).map_err(|_| writer.misfit("it is not JSON"));
    let written = raw.and_then(|raw: &RawValue| writer.write(root, raw, Form::Payload));
    written.map_err(|mut misfit| {
        misfit.place.push("payload".to_owned());
        misfit
    })?;
    Ok(writer.bytes)
}

/// Refuses a default of the schema that is not one of its type.
pub(super) fn check_default(types: &[Type], of: TypeId, default: &RawValue) -> Result<(), Misfit> {
    Writer::new(types, default.get().len()).write(of, default, Form::Default).map_err(|mut misfit| {
        misfit.place.push("default".to_owned());
        misfit
    })
}

/// What JSON stands for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// What a program writes that knows nothing of Avro: a day as `2026-11-19`, bytes in Base64.
    Payload,
    /// Avro's own: a day as its number, bytes as characters.
    Default,
}

struct Writer<'s> {
    types: &'s [Type],
    bytes: Vec<u8>,
    /// How deep the value is that is being written.
    depth: usize,
    /// How many values have been looked at, each time that they were, and how many may be.
    looks: usize,
    most_looks: usize,
    /// The bytes of JSON in them.
    work: usize,
}

/// A part of a value's place.
enum Step<'s> {
    Field(&'s str),
    Item(usize),
    Key(&'s str),
}

impl<'s> Writer<'s> {
    fn new(types: &'s [Type], payload_bytes: usize) -> Self {
        let most_looks = payload_bytes.saturating_mul(LOOKS_PER_BYTE).saturating_add(LOOKS);
        Self { types, bytes: Vec::new(), depth: 0, looks: 0, most_looks, work: 0 }
    }

    fn misfit(&self, problem: impl Into<String>) -> Misfit {
        Misfit { place: Vec::new(), problem: problem.into(), depth: self.depth, is_final: false }
    }

    fn final_misfit(&self, problem: impl Into<String>) -> Misfit {
        Misfit { is_final: true, ..self.misfit(problem) }
    }

    /// "expected a long, found a text of 3 characters"
    fn expected(&self, expected: &str, raw: &RawValue) -> Misfit {
        self.misfit(format!("expected {expected}, found {}", found(raw)))
    }

    fn write_within(
        &mut self,
        step: &Step<'_>,
        of: TypeId,
        raw: &RawValue,
        form: Form,
    ) -> Result<(), Misfit> {
        self.depth += 1;
        let written = self.write(of, raw, form);
        self.depth -= 1;
        written.map_err(|misfit| misfit.within(step))
    }

    fn write(&mut self, of: TypeId, raw: &RawValue, form: Form) -> Result<(), Misfit> {
        self.looks += 1;
        // A union looks at nothing itself.
        if !matches!(self.types[of], Type::Union(_)) {
            self.work = self.work.saturating_add(raw.get().len());
        }
        if self.looks > self.most_looks || self.work > MOST_WORK {
            return Err(self.final_misfit("too many alternatives of the schema's unions have to be tried"));
        }
        if self.bytes.len() > MOST_BYTES {
            return Err(self.final_misfit(format!("it becomes larger than {MOST_BYTES} bytes")));
        }
        if self.depth > MOST_DEPTH {
            return Err(self.final_misfit(format!("it is nested more than {MOST_DEPTH} levels deep")));
        }
        let types = self.types;
        match &types[of] {
            Type::Array(items) => {
                let values: Vec<&RawValue> =
                    serde_json::from_str(raw.get()).map_err(|_| self.expected("an array", raw))?;
                self.count(values.len());
                for (number, value) in values.iter().enumerate() {
                    self.write_within(&Step::Item(number), *items, value, form)?;
                }
                self.end_block(values.len());
            }
            Type::Map(values) => {
                let members = self.members(raw, "a map")?;
                let count = members.len();
                self.count(count);
                for (key, value) in members {
                    self.sized(key.as_bytes());
                    self.write_within(&Step::Key(&key), *values, value, form)?;
                }
                self.end_block(count);
            }
            Type::Union(branches) => self.union(branches, raw, form)?,
            Type::Record(record) => self.record(record, raw, form)?,
            kind if kind.is_logical() => self.write_logical(kind, raw, form)?,
            kind => self.write_plain(kind, raw, form)?,
        }
        Ok(())
    }

    /// A value of a type that has no parts.
    fn write_plain(&mut self, kind: &Type, raw: &RawValue, form: Form) -> Result<(), Misfit> {
        match kind {
            Type::Null if raw.get() == "null" => {}
            Type::Null | Type::Unread => return Err(self.expected("null", raw)),
            Type::Boolean => match raw.get() {
                "true" => self.bytes.push(1),
                "false" => self.bytes.push(0),
                _ => return Err(self.expected("true or false", raw)),
            },
            Type::Int => {
                let value = self.whole(raw, "an int")?;
                let value =
                    i32::try_from(value).map_err(|_| self.expected("an int, which has 32 bits", raw))?;
                self.long(value.into());
            }
            Type::Long => {
                let value = self.whole(raw, "a long")?;
                self.long(value);
            }
            Type::Float => {
                let value: f32 = self.exact(raw, "a float")?;
                self.bytes.extend(value.to_le_bytes());
            }
            Type::Double => {
                let value: f64 = self.exact(raw, "a double")?;
                self.bytes.extend(value.to_le_bytes());
            }
            Type::Text => {
                let value = self.text(raw, "a text")?;
                self.sized(value.as_bytes());
            }
            Type::Bytes => {
                let value = self.binary(raw, form)?;
                self.sized(&value);
            }
            Type::Fixed { name, size } => {
                let value = self.binary(raw, form)?;
                if value.len() != *size {
                    return Err(
                        self.misfit(format!("expected {size} bytes for {name}, found {}", value.len()))
                    );
                }
                self.bytes.extend(value);
            }
            Type::Enum { name, symbols } => {
                let expected = || {
                    shortened(&format!("a symbol of {name} ({})", symbols.join(", ")), SHOWN_TYPES)
                        .into_owned()
                };
                let symbol = self.text(raw, &expected())?;
                let place = symbols.iter().position(|known| *known == symbol);
                let place = place.ok_or_else(|| self.expected(&expected(), raw))?;
                self.count(place);
            }
            _ => return Err(self.expected("another type", raw)),
        }
        Ok(())
    }

    /// A value that JSON writes in another way than the type beneath it.
    fn write_logical(&mut self, kind: &Type, raw: &RawValue, form: Form) -> Result<(), Misfit> {
        match kind {
            Type::Decimal { precision, scale, size } => {
                let bytes = match form {
                    Form::Payload => self.decimal(raw, *precision, *scale)?,
                    Form::Default => self.binary(raw, form)?,
                };
                self.decimal_bytes(&bytes, *size, raw)?;
            }
            Type::Uuid => {
                let value = self.text(raw, "a UUID")?;
                if form == Form::Payload && text::uuid(&value).is_none() {
                    return Err(self.expected("a UUID", raw));
                }
                self.sized(value.as_bytes());
            }
            Type::UuidBytes => {
                let value = match form {
                    Form::Payload => text::uuid(&self.text(raw, "a UUID")?).map(Vec::from),
                    Form::Default => Some(self.binary(raw, form)?).filter(|bytes| bytes.len() == 16),
                };
                let value = value.ok_or_else(|| self.expected("a UUID", raw))?;
                self.bytes.extend(value);
            }
            Type::Duration => {
                let expected = "a duration, such as \"P1M2DT3.5S\"";
                let value = match form {
                    Form::Payload => text::duration(&self.text(raw, expected)?).map(Vec::from),
                    Form::Default => Some(self.binary(raw, form)?).filter(|bytes| bytes.len() == 12),
                };
                let value = value.ok_or_else(|| self.expected(expected, raw))?;
                self.bytes.extend(value);
            }
            Type::Date | Type::Time(_) | Type::Instant(_) | Type::LocalTime(_) if form == Form::Default => {
                let value = self.whole(raw, "a number")?;
                self.long(value);
            }
            Type::Date => {
                let expected = "a day, such as \"2026-11-19\"";
                let value =
                    text::day(&self.text(raw, expected)?).ok_or_else(|| self.expected(expected, raw))?;
                self.long(value.into());
            }
            Type::Time(unit) => {
                self.moment(raw, "a time, such as \"10:00:00\"", text::time, *unit)?;
            }
            Type::Instant(unit) => {
                self.moment(raw, "an instant, such as \"2026-11-19T05:04:11Z\"", text::instant, *unit)?;
            }
            Type::LocalTime(unit) => {
                self.moment(raw, "a local time, such as \"2026-11-19T05:04:11\"", text::local_time, *unit)?;
            }
            _ => return Err(self.expected("another type", raw)),
        }
        Ok(())
    }

    fn moment(
        &mut self,
        raw: &RawValue,
        expected: &str,
        read: fn(&str, Unit) -> Option<i64>,
        unit: Unit,
    ) -> Result<(), Misfit> {
        let expected = format!("{expected}, with at most {} digits of a second", unit.digits());
        let value = read(&self.text(raw, &expected)?, unit).ok_or_else(|| self.expected(&expected, raw))?;
        self.long(value);
        Ok(())
    }

    /// The first branch that fits. Null is null, and nothing else.
    fn union(&mut self, branches: &[TypeId], raw: &RawValue, form: Form) -> Result<(), Misfit> {
        let is_null = |branch: TypeId| matches!(self.types[branch], Type::Null);
        let candidates: Vec<(usize, TypeId)> = branches
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, branch)| is_null(*branch) == (raw.get() == "null"))
            .collect();
        let bytes = self.bytes.len();
        let mut deepest: Option<Misfit> = None;
        for (number, branch) in &candidates {
            self.count(*number);
            match self.write(*branch, raw, form) {
                Ok(()) => return Ok(()),
                Err(misfit) if misfit.is_final => return Err(misfit),
                Err(misfit) => {
                    self.bytes.truncate(bytes);
                    if deepest.as_ref().is_none_or(|deepest| misfit.depth > deepest.depth) {
                        deepest = Some(misfit);
                    }
                }
            }
        }
        match deepest {
            // The branch that fits best is the one that was meant.
            Some(misfit) if misfit.depth > self.depth || candidates.len() == 1 => Err(misfit),
            _ => {
                let names: Vec<&str> = branches.iter().map(|branch| named(&self.types[*branch])).collect();
                Err(self.expected(&format!("one of {}", shortened(&names.join(", "), SHOWN_TYPES)), raw))
            }
        }
    }

    fn record(&mut self, record: &Record, raw: &RawValue, form: Form) -> Result<(), Misfit> {
        let members = self.members(raw, &record.name)?;
        let mut given: HashMap<&str, &RawValue> =
            members.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        for field in &record.fields {
            let (value, form) = match (given.remove(field.name.as_str()), &field.default) {
                (Some(value), _) => (value, form),
                (None, Some(default)) => (&**default, Form::Default),
                (None, None) => {
                    let problem = format!("it is missing, and {} has no default for it", record.name);
                    return Err(self.misfit(problem).within(&Step::Field(&field.name)));
                }
            };
            self.write_within(&Step::Field(&field.name), field.of, value, form)?;
        }
        // What the schema does not know would be lost on the way, and nobody would notice.
        match members.iter().find(|(key, _)| given.contains_key(key.as_str())) {
            Some((key, _)) => Err(self.misfit(format!("{} has no field `{}`", record.name, shown_name(key)))),
            None => Ok(()),
        }
    }

    /// The members of an object, in their order. One that comes twice has no value that all readers agree on.
    fn members<'v>(&self, raw: &'v RawValue, expected: &str) -> Result<Vec<(String, &'v RawValue)>, Misfit> {
        struct Members;
        impl<'v> Visitor<'v> for Members {
            type Value = Vec<(String, &'v RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'v>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        let mut json = serde_json::Deserializer::from_str(raw.get());
        let members = json
            .deserialize_map(Members)
            .map_err(|_| self.expected(&format!("an object for {expected}"), raw))?;
        let mut seen = HashSet::with_capacity(members.len());
        match members.iter().find(|(key, _)| !seen.insert(key.as_str())) {
            Some((key, _)) => Err(self.misfit(format!("it has `{}` twice", shown_name(key)))),
            None => Ok(members),
        }
    }

    fn text(&self, raw: &RawValue, expected: &str) -> Result<String, Misfit> {
        if !raw.get().starts_with('"') {
            return Err(self.expected(expected, raw));
        }
        serde_json::from_str(raw.get())
            .map_err(|_| self.misfit("the text has an escape that is no character"))
    }

    fn binary(&self, raw: &RawValue, form: Form) -> Result<Vec<u8>, Misfit> {
        let expected = match form {
            Form::Payload => "bytes in Base64",
            Form::Default => "bytes, each as a character up to \\u00ff",
        };
        let text = self.text(raw, expected)?;
        let bytes = match form {
            Form::Payload => text::bytes(&text),
            Form::Default => text::latin(&text),
        };
        bytes.ok_or_else(|| self.expected(expected, raw))
    }

    fn number(&self, raw: &RawValue, expected: &str) -> Result<Number, Misfit> {
        Number::parse(raw.get()).ok_or_else(|| self.expected(expected, raw))
    }

    fn whole(&self, raw: &RawValue, expected: &str) -> Result<i64, Misfit> {
        let number = self.number(raw, expected)?;
        if !number.is_whole() {
            return Err(self.expected(&format!("{expected}, which has no fraction"), raw));
        }
        let digits = number.whole(0, LONG_DIGITS);
        digits
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| self.expected(&format!("{expected}, which has at most 64 bits"), raw))
    }

    /// A number that is the same once it is binary and decimal again.
    fn exact<F: Binary>(&self, raw: &RawValue, expected: &str) -> Result<F, Misfit> {
        let number = self.number(raw, expected)?;
        let value = F::read(raw.get()).filter(|value| value.shortest().as_ref() == Some(&number));
        value.ok_or_else(|| self.expected(&format!("{expected} that keeps all digits"), raw))
    }

    /// The unscaled value, in as few bytes as it takes.
    fn decimal(&self, raw: &RawValue, precision: usize, scale: usize) -> Result<Vec<u8>, Misfit> {
        let expected = format!("a decimal of at most {precision} digits, {scale} of them behind the point");
        let number = if raw.get().starts_with('"') {
            Number::parse(&self.text(raw, &expected)?)
        } else {
            Number::parse(raw.get())
        };
        let digits = number.and_then(|number| number.whole(scale, precision));
        let value: Option<BigInt> = digits.and_then(|digits| digits.parse().ok());
        value.map(|value| value.to_signed_bytes_be()).ok_or_else(|| self.expected(&expected, raw))
    }

    fn decimal_bytes(&mut self, bytes: &[u8], size: Option<usize>, raw: &RawValue) -> Result<(), Misfit> {
        let Some(size) = size else {
            self.sized(bytes);
            return Ok(());
        };
        let Some(missing) = size.checked_sub(bytes.len()) else {
            return Err(self.expected(&format!("a decimal that fits into {size} bytes"), raw));
        };
        let is_negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
        self.bytes.extend(std::iter::repeat_n(if is_negative { 0xff } else { 0 }, missing));
        self.bytes.extend(bytes);
        Ok(())
    }

    /// A whole number: its sign goes to the end, and seven bits into each byte, the lowest first.
    fn long(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.bytes.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest.to_le_bytes()[0]);
    }

    fn count(&mut self, count: usize) {
        self.long(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes.extend(bytes);
    }

    /// All items are in one block, and one of none is the end; of an empty array or map there is that end alone.
    fn end_block(&mut self, items: usize) {
        if items > 0 {
            self.count(0);
        }
    }
}

/// A binary floating-point number.
trait Binary: Sized {
    /// The nearest one to a number in JSON's form; `None` if that is infinite.
    fn read(text: &str) -> Option<Self>;
    /// The shortest decimal that is read as this one.
    fn shortest(&self) -> Option<Number>;
}

impl Binary for f32 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|value: &Self| value.is_finite())
    }

    fn shortest(&self) -> Option<Number> {
        Number::parse(&format!("{self:e}"))
    }
}

impl Binary for f64 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|value: &Self| value.is_finite())
    }

    fn shortest(&self) -> Option<Number> {
        Number::parse(&format!("{self:e}"))
    }
}

/// What a value is, for an error.
fn found(raw: &RawValue) -> String {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "an array".to_owned(),
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(text) => format!("a text of {}", counted(text.chars().count(), "character", "characters")),
            Err(_) => "a text".to_owned(),
        },
        Some(b't' | b'f' | b'n') => text.to_owned(),
        _ => format!("the number {}", shortened(text, SHOWN_CHARACTERS)),
    }
}

/// What a type is called, for an error.
fn named(kind: &Type) -> &str {
    match kind {
        Type::Unread | Type::Null => "null",
        Type::Boolean => "boolean",
        Type::Int => "int",
        Type::Long => "long",
        Type::Float => "float",
        Type::Double => "double",
        Type::Bytes => "bytes",
        Type::Text => "string",
        Type::Array(_) => "array",
        Type::Map(_) => "map",
        Type::Union(_) => "union",
        Type::Record(record) => &record.name,
        Type::Enum { name, .. } | Type::Fixed { name, .. } => name,
        Type::Decimal { .. } => "decimal",
        Type::Uuid | Type::UuidBytes => "uuid",
        Type::Date => "date",
        Type::Time(_) => "time",
        Type::Instant(_) => "timestamp",
        Type::LocalTime(_) => "local timestamp",
        Type::Duration => "duration",
    }
}

fn shown_name(name: &str) -> String {
    escaped(&shortened(name, SHOWN_CHARACTERS)).into_owned()
}
