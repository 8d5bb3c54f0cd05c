//! A schema: read by the library, held against what would go wrong silently, and kept as a list of types.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{DecimalSchema, InnerDecimalSchema, RecordSchema, UuidSchema};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::encode::{Misfit, check_default, encode};

/// No event has more.
const MOST_FIXED_BYTES: u64 = 1024 * 1024;

/// Where a type is in the list of its schema.
pub(super) type TypeId = usize;

/// A type, whose parts are other types of the same list.
#[derive(Debug)]
pub(super) enum Type {
    /// The place of a record whose fields are being read.
    Unread,
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record(Record),
    Enum {
        name: String,
        symbols: Vec<String>,
    },
    Fixed {
        name: String,
        size: usize,
    },
    /// Of these digits in all and behind the point; in so many bytes, or in as many as it takes.
    Decimal {
        precision: usize,
        scale: usize,
        size: Option<usize>,
    },
    Uuid,
    UuidBytes,
    Date,
    Time(Unit),
    Instant(Unit),
    LocalTime(Unit),
    Duration,
}

impl Type {
    /// Whether JSON writes its values in another way than those of the type beneath it.
    pub(super) fn is_logical(&self) -> bool {
        matches!(
            self,
            Self::Decimal { .. }
                | Self::Uuid
                | Self::UuidBytes
                | Self::Date
                | Self::Time(_)
                | Self::Instant(_)
                | Self::LocalTime(_)
                | Self::Duration
        )
    }
}

/// What a time is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    /// How many digits of a second it holds.
    pub(super) fn digits(self) -> usize {
        match self {
            Self::Millis => 3,
            Self::Micros => 6,
            Self::Nanos => 9,
        }
    }
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) of: TypeId,
    /// In Avro's own JSON.
    pub(super) default: Option<Box<RawValue>>,
}

/// A schema of a record.
#[derive(Debug)]
pub struct AvroSchema {
    text: String,
    name: String,
    canonical: String,
    types: Vec<Type>,
    root: TypeId,
}

impl AvroSchema {
    /// Reads a schema. The error is what is wrong with it, and where, in words for whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Editors of one system begin a file with it, and JSON has none.
        let text = text.trim_start_matches('\u{feff}').trim();
        let json: Json = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        check(&json)?;
        let schema = Schema::parse(&json).map_err(|error| error.to_string())?;
        let Schema::Record(record) = &schema else {
            return Err("it is not a record, and the payload of an event is an object".to_owned());
        };
        let mut types = Types::default();
        let root = types.add(&schema)?;
        let types = types.list;
        for kind in &types {
            let Type::Record(record) = kind else { continue };
            for field in &record.fields {
                if let Some(default) = &field.default {
                    check_default(&types, field.of, default).map_err(|misfit| {
                        format!("the default of `{}` of {} does not fit: {misfit}", field.name, record.name)
                    })?;
                }
            }
        }
        Ok(Self {
            text: text.to_owned(),
            name: record.name.fullname(None),
            canonical: schema.canonical_form(),
            types,
            root,
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The full name of its record.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether another text is the schema of the same bytes: documentation, defaults and spaces do not count.
    pub fn is_same_as(&self, text: &str) -> bool {
        Schema::parse_str(text).is_ok_and(|schema| schema.canonical_form() == self.canonical)
    }

    /// A JSON object as the binary form of this schema, or what of it does not fit.
    pub fn encode(&self, payload: &str) -> Result<Vec<u8>, Misfit> {
        encode(&self.types, self.root, payload)
    }
}

/// Refuses what the library, as the specification allows, passes over: a field that is no object, a logical type in the wrong
/// place or without what it needs. Whoever wrote it meant it.
fn check(schema: &Json) -> Result<(), String> {
    match schema {
        Json::Array(branches) => branches.iter().try_for_each(check),
        Json::Object(object) => {
            match object.get("logicalType").and_then(Json::as_str) {
                Some("decimal") => {
                    let number = |key: &str| object.get(key).map(Json::as_u64);
                    let is_sound = match (number("precision"), number("scale")) {
                        (Some(Some(precision)), None) => precision > 0,
                        (Some(Some(precision)), Some(Some(scale))) => precision > 0 && scale <= precision,
                        _ => false,
                    };
                    if !is_sound {
                        return Err(
                            "a decimal needs a `precision` of at least 1 and a `scale` of at most that"
                                .to_owned(),
                        );
                    }
                }
                Some("big-decimal") => {
                    return Err("the logical type `big-decimal` is not supported: write `decimal`".to_owned());
                }
                _ => {}
            }
            if object.get("size").and_then(Json::as_u64).is_some_and(|size| size > MOST_FIXED_BYTES) {
                return Err(format!("a fixed has more than {MOST_FIXED_BYTES} bytes"));
            }
            for field in object.get("fields").and_then(Json::as_array).into_iter().flatten() {
                let Json::Object(field) = field else {
                    return Err(format!("the field {field} is not an object"));
                };
                if field.contains_key("logicalType") {
                    let name = field.get("name").and_then(Json::as_str).unwrap_or_default();
                    return Err(format!(
                        "the `logicalType` of `{name}` belongs into its type: {{\"type\": \"long\", \"logicalType\": …}}"
                    ));
                }
                field.get("type").map_or(Ok(()), check)?;
            }
            ["type", "items", "values"].iter().filter_map(|key| object.get(*key)).try_for_each(check)
        }
        _ => Ok(()),
    }
}

/// The list while it is made.
#[derive(Default)]
struct Types {
    list: Vec<Type>,
    /// The types that have a name, by it and by its aliases.
    named: HashMap<String, TypeId>,
}

impl Types {
    fn add(&mut self, schema: &Schema) -> Result<TypeId, String> {
        if let Schema::Ref { name } = schema {
            let name = name.fullname(None);
            return self.named.get(&name).copied().ok_or_else(|| format!("there is no type `{name}`"));
        }
        let id = self.list.len();
        self.list.push(Type::Unread);
        if let Some(name) = schema.name() {
            let full = name.fullname(None);
            if self.named.insert(full.clone(), id).is_some() {
                return Err(format!("the type `{full}` is defined twice"));
            }
            for alias in schema.aliases().into_iter().flatten() {
                self.named.entry(alias.fullname(None)).or_insert(id);
            }
        }
        let found = match schema {
            Schema::Null => Type::Null,
            Schema::Boolean => Type::Boolean,
            Schema::Int => Type::Int,
            Schema::Long => Type::Long,
            Schema::Float => Type::Float,
            Schema::Double => Type::Double,
            // A UUID in bytes of any length is none that the specification knows.
            Schema::Bytes | Schema::Uuid(UuidSchema::Bytes) => Type::Bytes,
            Schema::String => Type::Text,
            Schema::Array(array) => Type::Array(self.add(&array.items)?),
            Schema::Map(map) => Type::Map(self.add(&map.types)?),
            Schema::Union(union) => {
                let branches: Result<_, _> = union.variants().iter().map(|branch| self.add(branch)).collect();
                Type::Union(branches?)
            }
            Schema::Record(record) => Type::Record(self.record(record)?),
            Schema::Enum(found) => {
                Type::Enum { name: found.name.fullname(None), symbols: found.symbols.clone() }
            }
            Schema::Fixed(fixed) => Type::Fixed { name: fixed.name.fullname(None), size: fixed.size },
            Schema::Decimal(DecimalSchema { precision, scale, inner }) => Type::Decimal {
                precision: *precision,
                scale: *scale,
                size: match inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
                },
            },
            Schema::Uuid(UuidSchema::String) => Type::Uuid,
            Schema::Uuid(UuidSchema::Fixed(_)) => Type::UuidBytes,
            Schema::Date => Type::Date,
            Schema::TimeMillis => Type::Time(Unit::Millis),
            Schema::TimeMicros => Type::Time(Unit::Micros),
            Schema::TimestampMillis => Type::Instant(Unit::Millis),
            Schema::TimestampMicros => Type::Instant(Unit::Micros),
            Schema::TimestampNanos => Type::Instant(Unit::Nanos),
            Schema::LocalTimestampMillis => Type::LocalTime(Unit::Millis),
            Schema::LocalTimestampMicros => Type::LocalTime(Unit::Micros),
            Schema::LocalTimestampNanos => Type::LocalTime(Unit::Nanos),
            Schema::Duration(_) => Type::Duration,
            Schema::BigDecimal => return Err("the logical type `big-decimal` is not supported".to_owned()),
            Schema::Ref { name } => return Err(format!("there is no type `{}`", name.fullname(None))),
        };
        self.list[id] = found;
        Ok(id)
    }

    fn record(&mut self, record: &RecordSchema) -> Result<Record, String> {
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let default = field.default.as_ref().map(serde_json::value::to_raw_value).transpose();
            fields.push(Field {
                name: field.name.clone(),
                of: self.add(&field.schema)?,
                default: default.map_err(|error| format!("the default of `{}`: {error}", field.name))?,
            });
        }
        Ok(Record { name: record.name.fullname(None), fields })
    }
}
