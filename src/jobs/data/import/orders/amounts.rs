//! What an order costs: the amounts of its lines, its total, and whether they agree.

use crate::money::{MAX_AMOUNT, average_half_up, minor_to_display};
use crate::shop::orders::{StagedLine, StagedOrder};

use super::super::field::{Fields, Parsed, Problems, line_amount};
use super::super::kind::Notes;
use super::super::layout::{Layout, Role};
use super::super::with_lines::Lines;
use super::{
    DISCOUNT_AMOUNT, FEE_AMOUNT, IF_NEGATIVE, IF_NEGATIVE_DISCOUNT, LINE_AMOUNT, LINE_DISCOUNT_AMOUNT,
    SHIPPING_AMOUNT, TAX_AMOUNT, TOTAL_AMOUNT, UNIT_PRICE_AMOUNT, example,
};

/// Whether an order's total is made of its parts: a rule may say what it is instead.
pub(super) fn is_total_computed(fields: &Fields<'_>) -> bool {
    fields.layout().is_computed(TOTAL_AMOUNT) && !fields.is_ruled(TOTAL_AMOUNT)
}

/// An amount of a whole order.
pub(super) fn order_money(
    fields: &Fields<'_>,
    lines: &Lines<'_>,
    column: usize,
    currency: &str,
    if_negative: &str,
) -> Parsed<Option<i64>> {
    match lines.added_up(column, currency).unwrap_or_else(|| fields.optional_money(column, currency))? {
        Some(amount) if amount < 0 => Err(fields.negative(column, if_negative)),
        Some(amount) if amount > MAX_AMOUNT => Err(fields.wrong(column, "is too large an amount")),
        amount => Ok(amount),
    }
}

/// What a line costs.
pub(super) struct LineAmounts {
    pub(super) unit_price: i64,
    pub(super) discount: i64,
    pub(super) line: i64,
}

impl LineAmounts {
    pub(super) fn read(
        fields: &Fields<'_>,
        quantity: i64,
        is_gift: bool,
        currency: &str,
        problems: &mut Problems,
    ) -> Self {
        let discount = fields.positive_money(LINE_DISCOUNT_AMOUNT, currency, IF_NEGATIVE_DISCOUNT);
        let discount = problems.take(discount).unwrap_or(0);
        let unit_price = problems.take(fields.optional_money(UNIT_PRICE_AMOUNT, currency));
        let line = problems.take(fields.optional_money(LINE_AMOUNT, currency));
        match (unit_price, line) {
            (unit_price, Some(line)) => {
                // The line's amount is what counts; the price of one unit may have been rounded.
                let one = || average_half_up(line.saturating_add(discount), quantity);
                Self { unit_price: unit_price.unwrap_or_else(one), discount, line }
            }
            (None, None) if !is_gift => {
                let column = if fields.has(LINE_AMOUNT) { LINE_AMOUNT } else { UNIT_PRICE_AMOUNT };
                problems.add(fields.wrong(column, "is empty"));
                Self { unit_price: 0, discount, line: 0 }
            }
            (unit_price, None) => {
                let unit_price = unit_price.unwrap_or(0);
                let line = problems.take(line_amount(quantity, unit_price, discount));
                Self { unit_price, discount, line }
            }
        }
    }
}

/// The lines of a role may add up to what an order cannot have.
pub(super) fn refuse_negative_parts(order: &StagedOrder<'_>, fields: &Fields<'_>, problems: &mut Problems) {
    for (column, amount) in [
        (SHIPPING_AMOUNT, order.shipping_amount),
        (FEE_AMOUNT, order.fee_amount),
        (TAX_AMOUNT, order.tax_amount),
        (DISCOUNT_AMOUNT, order.discount_amount),
    ] {
        if amount < 0 {
            problems.add(fields.negative(column, IF_NEGATIVE));
        } else if amount > MAX_AMOUNT {
            problems.add(fields.wrong(column, "is too large an amount"));
        }
    }
}

/// What an order's total is made of.
pub(super) struct Parts {
    /// The lines, shipping and fees.
    charged: i128,
    /// The order's own discount.
    discount: i128,
    /// The discounts of its lines, which the order's own may or may not include.
    line_discounts: i128,
    tax: i128,
}

impl Parts {
    pub(super) fn of(order: &StagedOrder<'_>, lines: &[(&str, StagedLine<'_>)]) -> Self {
        let mut parts = Self {
            charged: i128::from(order.shipping_amount) + i128::from(order.fee_amount),
            discount: i128::from(order.discount_amount),
            line_discounts: 0,
            tax: i128::from(order.tax_amount),
        };
        for (_, line) in lines {
            parts.charged += i128::from(line.line_amount);
            parts.line_discounts += i128::from(line.discount_amount);
        }
        parts
    }

    /// The same with what comes on top of them, or is deducted.
    pub(super) fn charging(self, amount: i64) -> Self {
        Self { charged: self.charged + i128::from(amount), ..self }
    }

    /// What the parts add up to, with the tax if prices are without it.
    fn sum(&self, adds_tax: bool) -> i128 {
        self.charged - self.discount + if adds_tax { self.tax } else { 0 }
    }

    /// The total of an order whose file has none.
    pub(super) fn total(&self, tax_included: Option<bool>, fields: &Fields<'_>) -> Parsed<i64> {
        let total = i64::try_from(self.sum(tax_included == Some(false))).ok();
        match total.filter(|total| *total <= MAX_AMOUNT) {
            Some(total) if total < 0 => {
                Err(fields.wrong(TOTAL_AMOUNT, "the order's lines and discounts add up to less than nothing"))
            }
            Some(total) => Ok(total),
            None => Err(fields.wrong(TOTAL_AMOUNT, "is too large an amount")),
        }
    }

    /// Whether the total is another than all that its parts may add up to, and no part that the file lacks can be why.
    pub(super) fn are_unbalanced(&self, order: &StagedOrder<'_>, layout: &Layout) -> bool {
        let total = i128::from(order.total_amount);
        let included = layout.mapping.keys.tax_included;
        let with_tax: &[bool] = match included {
            Some(true) => &[false],
            Some(false) => &[true],
            None => &[false, true],
        };
        let is_sum = |adds_tax: &bool| {
            let sum = self.sum(*adds_tax);
            total == sum || total == sum + self.discount.min(self.line_discounts)
        };
        if with_tax.iter().any(is_sum) {
            return false;
        }
        let has = |column: usize, role: Role| {
            layout.has(column) || layout.roles.as_ref().is_some_and(|(_, words)| words.has(&role))
        };
        if total < self.sum(with_tax[0]) {
            return has(DISCOUNT_AMOUNT, Role::Discount);
        }
        if total > 2 * self.charged + self.tax {
            // No fee is more than all the rest.
            return true;
        }
        has(SHIPPING_AMOUNT, Role::Shipping)
            && has(FEE_AMOUNT, Role::Fee)
            && (included == Some(true) || has(TAX_AMOUNT, Role::Tax))
    }
}

pub(super) fn note_unbalanced(
    order: &StagedOrder<'_>,
    parts: &Parts,
    fields: &Fields<'_>,
    notes: &mut Notes,
) {
    let adds_tax = fields.layout().mapping.keys.tax_included == Some(false);
    let sum = i64::try_from(parts.sum(adds_tax)).unwrap_or(i64::MAX);
    let currency = order.currency;
    notes.unbalanced.add(currency, order.total_amount - sum, || {
        format!(
            "line {}, order {}: {} instead of {} {currency}",
            fields.record().line(),
            order.order_no,
            minor_to_display(order.total_amount, currency),
            minor_to_display(sum, currency)
        )
    });
}

/// Notes an order with a line whose amount is not its quantity times its price, if the file has both.
pub(super) fn note_unequal_line(
    order: &StagedOrder<'_>,
    lines: &[(&str, StagedLine<'_>)],
    fields: &Fields<'_>,
    notes: &mut Notes,
) {
    if !fields.has(UNIT_PRICE_AMOUNT) || !fields.has(LINE_AMOUNT) {
        return;
    }
    let product = |line: &StagedLine<'_>| {
        i128::from(line.quantity) * i128::from(line.unit_price_amount) - i128::from(line.discount_amount)
    };
    let is_unequal = |line: &&StagedLine<'_>| {
        let difference = i128::from(line.line_amount) - product(line);
        // Prices are rounded, with the tax or without it, and the amount may be that before the discount. A gift has none.
        let rounding = i128::from(line.quantity).max(1);
        let explained = [0, line.tax_amount, line.discount_amount];
        line.line_amount != 0
            && explained.into_iter().all(|part| (difference.abs() - i128::from(part)).abs() >= rounding)
    };
    let Some(line) = lines.iter().map(|(_, line)| line).find(is_unequal) else { return };
    let currency = order.currency;
    let instead = i64::try_from(product(line)).unwrap_or(i64::MAX);
    notes.unequal_lines.add(currency, line.line_amount - instead, || {
        format!(
            "{}: {} instead of {} {currency}",
            example(order, fields),
            minor_to_display(line.line_amount, currency),
            minor_to_display(instead, currency)
        )
    });
}
