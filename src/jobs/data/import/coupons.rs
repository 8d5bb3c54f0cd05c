//! Single-use coupon codes, one line each. An import does not change who received a code.

use super::line::Meaning::{Day, Text};
use super::line::{LineColumn, LineKind, UPDATED_AT, column, key};

/// Coupons.
pub(super) struct Coupons;

impl LineKind for Coupons {
    const LINE_COLUMNS: &'static [LineColumn] =
        &[key("code", Text), column("description", Text).required(), column("expires_day", Day), UPDATED_AT];
    const NOUNS: (&'static str, &'static str) = ("coupon", "coupons");
    const TABLE: &'static str = "coupons";
    const STAGING: &'static str = "import_coupons";
}
