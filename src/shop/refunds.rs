//! Refunds that follow from an order's own file, beside those that were imported or read for themselves.

/// What the file says was paid back of an order.
pub const STATED: &str = "(total)";
/// What was cancelled of an order that was paid and stands.
pub const CANCELLED_PART: &str = "(cancelled)";
/// All of an order whose money went back, for want of an amount.
pub const ASSUMED: &str = "(assumed)";

/// The SQL condition on a refund's number that it is the first of these or a later one (`(total) 2`).
pub fn is_of_family(refund_key: &str, first: &str) -> String {
    format!("({refund_key} = '{first}' OR {refund_key} LIKE '{first} %')")
}

/// The SQL condition on a refund's number that it follows from an order's own file. A refund of its own has the shop's number.
pub fn is_derived(refund_key: &str) -> String {
    let families = [STATED, CANCELLED_PART, ASSUMED].map(|first| is_of_family(refund_key, first));
    format!("({})", families.join(" OR "))
}

/// The statement by which what the orders' own file said, or made assume, gives way to the staged refunds themselves: both
/// would count.
pub fn give_way(staging: &str) -> String {
    format!(
        "DELETE FROM refunds WHERE {derived}
             AND order_id IN (SELECT order_id FROM {staging} WHERE order_id IS NOT NULL AND NOT {derived})",
        derived = is_derived("refund_key")
    )
}
