//! Members, one line each.

use super::line::Meaning::{Text, Time, Word};
use super::line::{LineColumn, LineKind, UPDATED_AT, column, key};

/// Members.
pub(super) struct Members;

const STATUSES: &[&str] = &["UNCONFIRMED", "ACTIVE", "WITHDRAWN"];

impl LineKind for Members {
    const LINE_COLUMNS: &'static [LineColumn] = &[
        key("member_code", Text),
        column("status", Word(STATUSES)).required(),
        column("signed_up_at", Time).required(),
        column("email", Text),
        column("name", Text),
        column("phone", Text),
        column("locale", Text),
        column("channel", Text),
        column("confirmed_at", Time),
        column("withdrawn_at", Time),
        column("erasure_requested_at", Time),
        UPDATED_AT,
    ];
    const NOUNS: (&'static str, &'static str) = ("member", "members");
    const TABLE: &'static str = "members";
    const STAGING: &'static str = "import_members";
}
