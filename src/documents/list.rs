//! Lists that commands print: a table for people, JSON for programs.

use serde::Serialize;

use crate::output::Output;
use crate::printable::escaped_json;

use super::{Table, terminal};

/// The format in which a command prints a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ListFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

impl ListFormat {
    /// Prints the rows, as the table that `table` makes of them or as a JSON array. `nothing` is what people read instead
    /// of an empty table.
    pub fn print<T: Serialize>(
        self,
        output: &Output,
        rows: &[T],
        nothing: &str,
        table: impl FnOnce(&[T]) -> Table,
    ) -> anyhow::Result<()> {
        let text = match self {
            Self::Json => escaped_json(&serde_json::to_string_pretty(rows)?).into_owned() + "\n",
            Self::Table if rows.is_empty() => format!("{nothing}\n"),
            Self::Table => terminal::render_list(&table(rows), output.width(), output.colour()),
        };
        Ok(output.data(text.as_bytes())?)
    }
}
