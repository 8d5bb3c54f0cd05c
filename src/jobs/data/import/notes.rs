//! What is worth knowing about the good lines of a file, in words.

use crate::money::minor_to_display;
use crate::wording::counted;

use super::kind::{FileKind, Noted, Notes};
use super::layout::Layout;

/// What is worth knowing about the good lines of a file, in words.
pub(super) fn notes_in_words<K: FileKind>(layout: &Layout, notes: &Notes) -> Vec<String> {
    let of_orders = of_days(notes).into_iter().chain(of_amounts(notes));
    let mut words: Vec<String> =
        of_orders.filter_map(|(noted, one, many)| in_words(noted, one, many)).collect();
    for (rule, lines) in &notes.left_out {
        let name = layout.skip_rules().get(*rule).map_or("", |rule| rule.name.as_str());
        words.push(format!("{} left out by the rule `{name}`", counted(*lines, "line was", "lines were")));
    }
    words
}

/// What is said of the orders that stand in another part of the same export too, with other lines.
pub(super) fn split_in_words(split: &Noted) -> Option<String> {
    in_words(
        split,
        "order has other lines in another file of the same export, and only those of this one are stored: put all lines of an \
         order into one file",
        "orders have other lines in another file of the same export, and only those of this one are stored: put all lines of \
         an order into one file",
    )
}

fn in_words(noted: &Noted, one: &'static str, many: &'static str) -> Option<String> {
    if noted.is_empty() {
        return None;
    }
    let amounts: Vec<String> =
        noted.amounts.iter().map(|(currency, amount)| money_in_words(*amount, currency)).collect();
    Some(format!("{} ({}): {}", counted(noted.count, one, many), amounts.join(", "), examples(noted)))
}

/// The notes about the days of orders, and about what of them counts.
fn of_days(notes: &Notes) -> [(&Noted, &'static str, &'static str); 8] {
    [
        (
            &notes.assumed_refunds,
            "order counts as refunded in full: it is REFUNDED, or was cancelled after it was paid, without an amount",
            "orders count as refunded in full: they are REFUNDED, or were cancelled after they were paid, without an amount",
        ),
        (
            &notes.kept_refunds,
            "order counts in full until its refund is imported: it is REFUNDED, or was cancelled after it was paid",
            "orders count in full until their refunds are imported: they are REFUNDED, or were cancelled after they were paid",
        ),
        (
            &notes.assumed_payments,
            "paid order has no payment day and counts on another of its days",
            "paid orders have no payment day and count on another of their days",
        ),
        (
            &notes.assumed_cancellations,
            "cancelled order has no day of it and counts on another of its days",
            "cancelled orders have no day of it and count on another of their days",
        ),
        (
            &notes.paid_waiting,
            "order waits for its payment (PAYMENT_WAIT) but has a payment day, and counts as paid",
            "orders wait for their payment (PAYMENT_WAIT) but have a payment day, and count as paid",
        ),
        (
            &notes.standing_cancelled,
            "order has the day of a cancellation but is not ORDER_CANCELLED, and counts among the cancelled ones too",
            "orders have the day of a cancellation but are not ORDER_CANCELLED, and count among the cancelled ones too",
        ),
        (
            &notes.kept_cancellations,
            "order was cancelled after it was paid and counts in full: nothing of it was paid back",
            "orders were cancelled after they were paid and count in full: nothing of them was paid back",
        ),
        (
            &notes.refunds_above_total,
            "order had more paid back than it cost",
            "orders had more paid back than they cost",
        ),
    ]
}

/// The notes about amounts.
fn of_amounts(notes: &Notes) -> [(&Noted, &'static str, &'static str); 10] {
    [
        (
            &notes.refunds_of_unpaid,
            "order has an amount that was paid back but no payment day, and counts neither as a sale nor as a refund",
            "orders have an amount that was paid back but no payment day, and count neither as sales nor as refunds",
        ),
        (
            &notes.partly_cancelled,
            "order counts in full although some of its items were cancelled or returned: no amount says what was paid back",
            "orders count in full although some of their items were cancelled or returned: no amount says what was paid back",
        ),
        (
            &notes.negative_deductions,
            "order has a negative amount where one is deducted, which adds to it",
            "orders have a negative amount where one is deducted, which adds to them",
        ),
        (
            &notes.repeated_refunds,
            "order has what was paid back on a line of its own and again on its items, and counts it once",
            "orders have what was paid back on a line of their own and again on their items, and count it once",
        ),
        (
            &notes.added_refunds,
            "order has amounts that were paid back on a line of its own and other ones on its items: they are added up",
            "orders have amounts that were paid back on a line of their own and other ones on their items: they are added up",
        ),
        (
            &notes.unequal_lines,
            "order has a line whose amount is not its quantity times its price: the amount counts",
            "orders have lines whose amounts are not their quantities times their prices: the amounts count",
        ),
        (
            &notes.left_out_sales,
            "order that a rule leaves out was stored earlier as a sale, and stays one",
            "orders that a rule leaves out were stored earlier as sales, and stay so",
        ),
        (
            &notes.future,
            "order has a day that was still to come when the file was exported",
            "orders have a day that was still to come when the file was exported",
        ),
        (
            &notes.undated_refunds,
            "order's money went back on a day that the file does not say: it counts on the day of the payment, or of the export that \
             first said it",
            "orders' money went back on days that the file does not say: it counts on the days of the payments, or of the exports that \
             first said it",
        ),
        (
            &notes.unbalanced,
            "total is not the sum of its lines, shipping, fees and tax less discounts",
            "totals are not the sums of their lines, shipping, fees and taxes less discounts",
        ),
    ]
}

fn money_in_words(amount: i128, currency: &str) -> String {
    match i64::try_from(amount) {
        Ok(amount) => format!("{} {currency}", minor_to_display(amount, currency)),
        Err(_) => format!("more than can be counted in {currency}"),
    }
}

/// The first few of those that were noted.
pub(super) fn examples(noted: &Noted) -> String {
    let more = if noted.count > noted.examples.len() as u64 { ", …" } else { "" };
    format!("{}{more}", noted.examples.join("; "))
}
