//! Avro: JSON as the binary form of a schema, exactly or not at all.
//!
//! The schema is read by the library; what it says is then kept as a plain list of types (`schema`), along which JSON is
//! written as bytes (`encode`). The library's own writer is not used: it takes numbers that JSON's digits do not fit into, and
//! its maps have no order, so that the same event would not be the same bytes twice.
//!
//! Knows no registry, no topic and no event.

mod encode;
mod number;
mod schema;
#[cfg(test)]
mod tests;
mod text;

pub use encode::Misfit;
pub use schema::AvroSchema;
