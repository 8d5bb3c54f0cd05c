//! The shop's own tables, written set by set from staged records: by files and by shops' APIs alike.

pub mod orders;
pub mod upsert;
