//! How sections are read: a key that is not one of theirs is kept, to be named later, or is the name of another section.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{ImportSection, ImportSections};

impl<'de> Deserialize<'de> for ImportSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfTable;
        impl<'de> Visitor<'de> for OfTable {
            type Value = ImportSection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ImportSection, A::Error> {
                let mut section = ImportSection::default();
                while let Some(key) = map.next_key::<String>()? {
                    if !section.take(&key, &mut map)? {
                        map.next_value::<IgnoredAny>()?;
                        section.unknown.push(key);
                    }
                }
                Ok(section)
            }
        }
        deserializer.deserialize_map(OfTable)
    }
}

impl<'de> Deserialize<'de> for ImportSections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfTable;
        impl<'de> Visitor<'de> for OfTable {
            type Value = ImportSections;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ImportSections, A::Error> {
                let mut sections = ImportSections::default();
                while let Some(key) = map.next_key::<String>()? {
                    if sections.own.take(&key, &mut map)? {
                        continue;
                    }
                    match map.next_value::<MaybeSection>()?.0 {
                        Some(section) => drop(sections.named.insert(key, section)),
                        None => sections.unknown.push(key),
                    }
                }
                Ok(sections)
            }
        }
        deserializer.deserialize_map(OfTable)
    }
}

/// A section, or nothing if the value is not a table.
struct MaybeSection(Option<ImportSection>);

impl<'de> Deserialize<'de> for MaybeSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfAny;
        impl<'de> Visitor<'de> for OfAny {
            type Value = MaybeSection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MaybeSection, A::Error> {
                ImportSection::deserialize(MapAccessDeserializer::new(map))
                    .map(|section| MaybeSection(Some(section)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<MaybeSection, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(MaybeSection(None))
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<MaybeSection, E> {
                Ok(MaybeSection(None))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<MaybeSection, E> {
                Ok(MaybeSection(None))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<MaybeSection, E> {
                Ok(MaybeSection(None))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<MaybeSection, E> {
                Ok(MaybeSection(None))
            }
        }
        deserializer.deserialize_any(OfAny)
    }
}
