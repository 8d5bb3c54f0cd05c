//! A document as JSON for other programs.
//!
//! Keys are the stable keys of tables and columns, in their order, the same in every language. An amount is an integer
//! in minor units (`"money_unit": "minor"`), so that no reader rounds it; the row's `currency` names its currency. A
//! day is an ISO 8601 string, a missing value `null`.

use std::io::Write;

use anyhow::Context;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{Cell, Document, Row, Table};

/// Writes the document, indented, with a newline at the end.
pub fn write(document: &Document, out: &mut dyn Write) -> anyhow::Result<()> {
    let write = |out: &mut dyn Write| -> std::io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, &Whole(document)).map_err(std::io::Error::from)?;
        out.write_all(b"\n")
    };
    write(out).with_context(|| format!("failed to write document `{}` as JSON", document.name))
}

// Written by hand rather than through `serde_json::Value`, which would sort the keys.
struct Whole<'a>(&'a Document);
struct Pairs<'a>(&'a [(String, String)]);
struct Tables<'a>(&'a [Table]);
struct Rows<'a>(&'a Table);
struct Fields<'a>(&'a Table, &'a Row);
struct Value<'a>(&'a Cell);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.0.name)?;
        map.serialize_entry("title", &self.0.title)?;
        map.serialize_entry("locale", &self.0.locale)?;
        map.serialize_entry("money_unit", "minor")?;
        map.serialize_entry("facts", &Pairs(&self.0.facts))?;
        map.serialize_entry("tables", &Tables(&self.0.tables))?;
        map.serialize_entry("notes", &self.0.notes)?;
        map.end()
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(label, value)| (label, value)))
    }
}

impl Serialize for Tables<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|table| (table.key, Rows(table))))
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.0.rows.len()))?;
        for row in &self.0.rows {
            rows.serialize_element(&Fields(self.0, row))?;
        }
        rows.end()
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.0.columns.iter();
        serializer.collect_map(columns.zip(&self.1.cells).map(|(column, cell)| (column.key, Value(cell))))
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Cell::Empty => serializer.serialize_none(),
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Int(number) => serializer.serialize_i64(*number),
            Cell::Money { amount, .. } => serializer.serialize_i64(*amount),
            Cell::Date(day) => day.serialize(serializer),
            Cell::Bool(value) => serializer.serialize_bool(*value),
            Cell::Change(tenths) => tenths.map(|tenths| f64::from(tenths) / 10.0).serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, ColumnKind, sample};
    use super::*;
    use crate::locale::Locale;

    #[test]
    fn keys_keep_their_order_and_amounts_are_minor_units() {
        let columns = ["mall", "currency", "net_amount", "order_count", "business_day", "closed", "remark"];
        let columns = columns.map(|key| Column::new(key, "見出し", ColumnKind::Text)).to_vec();
        let cells = vec![
            Cell::text("本店\u{1b}"),
            Cell::text("USD"),
            Cell::money(-123_450, "USD"),
            Cell::Int(1_284),
            Cell::Date(sample::day()),
            Cell::Bool(false),
            Cell::Empty,
        ];
        let mut document = sample::sales(Locale::Ja, 0);
        document.tables =
            vec![Table { key: "malls", title: "T".into(), columns, rows: vec![Row::new(cells)] }];
        document.notes.clear();
        let mut out = Vec::new();
        write(&document, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{
  "name": "daily-sales-2026-11-19",
  "title": "日次売上レポート 2026年11月19日",
  "locale": "ja",
  "money_unit": "minor",
  "facts": {
    "営業日": "2026-11-19",
    "比較対象": "直近28日間"
  },
  "tables": {
    "malls": [
      {
        "mall": "本店\u001b",
        "currency": "USD",
        "net_amount": -123450,
        "order_count": 1284,
        "business_day": "2026-11-19",
        "closed": false,
        "remark": null
      }
    ]
  },
  "notes": []
}
"#
        );
    }
}
