//! Subscriptions with their next charge, one line each.

use super::field::{Fields, Parsed};
use super::line::Meaning::{Amount, Currency, Day, LastFour, Text, Word};
use super::line::{LineColumn, LineKind, UPDATED_AT, column, key};

/// Subscriptions.
pub(super) struct Subscriptions;

const IF_NEGATIVE_CHARGE: &str =
    "most likely a credit, which is not a charge; if nothing will be charged next time, the amount is 0";

const STATUSES: &[&str] = &["ACTIVE", "PAUSED", "CANCELLED"];

impl LineKind for Subscriptions {
    const LINE_COLUMNS: &'static [LineColumn] = &[
        key("subscription_no", Text),
        column("member_code", Text).required(),
        column("plan_name", Text).required(),
        column("status", Word(STATUSES)).required(),
        column("amount", Amount { if_negative: IF_NEGATIVE_CHARGE }).required(),
        column("currency", Currency),
        column("next_charge_day", Day),
        column("cancel_by_day", Day),
        column("payment_method", Text),
        column("card_last4", LastFour),
        column("manage_url", Text),
        UPDATED_AT,
    ];
    const NOUNS: (&'static str, &'static str) = ("subscription", "subscriptions");
    const TABLE: &'static str = "subscriptions";
    const STAGING: &'static str = "import_subscriptions";

    /// Without the day nobody would be told about the charge; a file without the column keeps the stored one.
    fn check(fields: &Fields<'_>) -> Parsed<()> {
        const STATUS: usize = 4;
        const NEXT_CHARGE_DAY: usize = 7;
        if fields.has(NEXT_CHARGE_DAY)
            && fields.meant(STATUS) == "ACTIVE"
            && fields.meant(NEXT_CHARGE_DAY).is_empty()
        {
            return Err(fields.wrong(NEXT_CHARGE_DAY, "is empty, but the subscription is ACTIVE"));
        }
        Ok(())
    }
}
