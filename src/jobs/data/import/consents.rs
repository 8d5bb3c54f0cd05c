//! Members' consents and refusals, one line for each member and purpose.

use super::line::Meaning::{Text, Word, YesOrNo};
use super::line::{LineColumn, LineKind, UPDATED_AT, column, key};

/// Consents.
pub(super) struct Consents;

const PURPOSES: &[&str] = &["MARKETING", "DIGEST"];

impl LineKind for Consents {
    const LINE_COLUMNS: &'static [LineColumn] = &[
        key("member_code", Text),
        key("purpose", Word(PURPOSES)),
        column("granted", YesOrNo).required().stored_as("is_granted"),
        UPDATED_AT,
    ];
    const NOUNS: (&'static str, &'static str) = ("consent", "consents");
    const TABLE: &'static str = "mail_consents";
    const STAGING: &'static str = "import_consents";
}
