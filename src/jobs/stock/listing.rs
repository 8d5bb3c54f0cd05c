//! Lists of stock: of so many rows, for people, spreadsheets and programs.

use serde::Serialize;

use crate::context::Context;
use crate::documents::{ListFormat, Table, csv};
use crate::jobs::listing::drop_one_more;
use crate::locale::Locale;
use crate::text_encoding::TextEncoding;
use crate::wording::counted;

/// The format of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum StockListFormat {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
    /// For programs
    Json,
}

impl StockListFormat {
    /// Prints at most so many of the rows, of which one more was read. `nothing` is what people read instead of an
    /// empty table. `table` makes one in this format: people read names, programs codes.
    pub(super) fn print<T: Serialize>(
        self,
        cx: &Context,
        mut rows: Vec<T>,
        limit: u32,
        nothing: &str,
        table: impl Fn(&[T], Self) -> Table,
    ) -> anyhow::Result<()> {
        let table = |rows: &[T]| table(rows, self);
        let are_more = drop_one_more(&mut rows, limit);
        match self {
            Self::Json => ListFormat::Json.print(&cx.output, &rows, nothing, table)?,
            Self::Table => ListFormat::Table.print(&cx.output, &rows, nothing, table)?,
            Self::Csv => {
                let mut bytes = Vec::new();
                csv::write(&table(&rows), Locale::En, TextEncoding::Utf8, &mut bytes)?;
                cx.output.data(&bytes)?;
            }
        }
        if are_more && self == Self::Table {
            let shown = counted(limit, "is shown", "are shown");
            let more = format!("there are more, of which {shown}: --limit COUNT shows more\n");
            cx.output.data(more.as_bytes())?;
        }
        Ok(())
    }
}
