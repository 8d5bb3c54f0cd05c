//! What the reports of a file have to show, added up order by order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::Export;
use super::model::{FIRST_DAY, LAST_DAY};

/// What a platform tells of an order, as docs/import.md says that it is understood: days by the mall's clock.
#[derive(Default)]
pub(crate) struct Told {
    /// Who bought.
    pub(crate) member: Option<String>,
    /// The payment method; empty if the platform does not tell it.
    pub(crate) payment: String,
    /// What the buyer pays.
    pub(crate) total: i64,
    /// What was deducted from the whole order.
    pub(crate) discount: i64,
    /// The shipping in it.
    pub(crate) shipping: i64,
    /// The tax in it.
    pub(crate) tax: i64,
    /// The day on which it counts as a sale.
    pub(crate) paid: Option<NaiveDate>,
    /// The day on which it counts as cancelled.
    pub(crate) cancelled: Option<NaiveDate>,
    /// What was paid back, and the day on which that counts.
    pub(crate) refund: Option<(NaiveDate, i64)>,
    /// Its lines.
    pub(crate) lines: Vec<ToldLine>,
}

/// What a platform tells of an order's line.
pub(crate) struct ToldLine {
    /// The product's code.
    pub(crate) code: String,
    /// The product's name.
    pub(crate) name: String,
    /// How many.
    pub(crate) quantity: i64,
    /// What the buyer pays for it.
    pub(crate) amount: i64,
    /// The discount in it.
    pub(crate) discount: i64,
    /// The tax in it.
    pub(crate) tax: i64,
}

/// The rows of the reports' tables, as text, in byte order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// day, mall, currency, orders, items, gross, discount, shipping, tax, cancelled, refunds, refunded, net, average, new and
    /// returning customers.
    pub(crate) days: Vec<String>,
    /// day, mall, currency, breakdown, key, name, orders, items, gross, discount, shipping, tax, cancelled, refunded, net, new
    /// and returning customers.
    pub(crate) breakdowns: Vec<String>,
    /// day, mall, currency, orders, amount.
    pub(crate) cancellations: Vec<String>,
    /// day, mall, currency, reason, orders, amount.
    pub(crate) reasons: Vec<String>,
}

/// The sums of a day, or of a product or payment method on a day.
#[derive(Default)]
struct Sum {
    name: String,
    orders: i64,
    items: i64,
    gross: i64,
    discount: i64,
    shipping: i64,
    tax: i64,
    cancelled: i64,
    cancelled_amount: i64,
    refunds: i64,
    refunded: i64,
    new: BTreeSet<String>,
    returning: BTreeSet<String>,
}

impl Sum {
    fn sell(&mut self, order: &Told) {
        self.orders += 1;
        self.items += order.lines.iter().map(|line| line.quantity).sum::<i64>();
        self.gross += order.total;
        self.discount += order.discount;
        self.shipping += order.shipping;
        self.tax += order.tax;
    }

    fn greet(&mut self, member: Option<&String>, is_new: bool) {
        let customers = if is_new { &mut self.new } else { &mut self.returning };
        customers.extend(member.cloned());
    }

    fn cancel(&mut self, order: &Told) {
        self.cancelled += 1;
        self.cancelled_amount += order.total;
    }

    fn pay_back(&mut self, amount: i64) {
        self.refunds += 1;
        self.refunded += amount;
    }

    fn figures(&self) -> String {
        let Self { orders, items, gross, discount, shipping, tax, cancelled, .. } = self;
        format!("{orders} {items} {gross} {discount} {shipping} {tax} {cancelled}")
    }

    fn customers(&self) -> String {
        format!("{} {}", self.new.len(), self.returning.len())
    }
}

/// The sums of a mall by day, product and payment method.
#[derive(Default)]
struct Sums {
    days: BTreeMap<NaiveDate, Sum>,
    products: BTreeMap<(NaiveDate, String), Sum>,
    payments: BTreeMap<(NaiveDate, String), Sum>,
}

impl Sums {
    fn of(orders: &[Told]) -> Self {
        let mut first_paid: BTreeMap<&String, NaiveDate> = BTreeMap::new();
        for order in orders {
            if let (Some(member), Some(day)) = (&order.member, order.paid) {
                let first = first_paid.entry(member).or_insert(day);
                *first = day.min(*first);
            }
        }
        let mut sums = Self::default();
        for order in orders {
            if let Some(day) = order.paid {
                let is_new = order.member.as_ref().is_some_and(|member| first_paid[member] == day);
                sums.sell(order, day, is_new);
            }
            if let Some(day) = order.cancelled {
                sums.cancel(order, day);
            }
            if let Some((day, amount)) = order.refund {
                sums.days.entry(day).or_default().pay_back(amount);
                sums.payments.entry((day, order.payment.clone())).or_default().pay_back(amount);
                sums.products.entry((day, String::new())).or_default().pay_back(amount);
            }
        }
        sums
    }

    fn sell(&mut self, order: &Told, day: NaiveDate, is_new: bool) {
        let payment = self.payments.entry((day, order.payment.clone())).or_default();
        for sum in [self.days.entry(day).or_default(), payment] {
            sum.sell(order);
            sum.greet(order.member.as_ref(), is_new);
        }
        let mut products = BTreeSet::new();
        for line in &order.lines {
            let sum = self.products.entry((day, line.code.clone())).or_default();
            sum.name.clone_from(&line.name);
            sum.orders += i64::from(products.insert(&line.code));
            sum.items += line.quantity;
            sum.gross += line.amount;
            sum.discount += line.discount;
            sum.tax += line.tax;
            sum.greet(order.member.as_ref(), is_new);
        }
        // What is left belongs to the order as a whole.
        let of_lines = |amount: fn(&ToldLine) -> i64| order.lines.iter().map(amount).sum::<i64>();
        let rest = self.products.entry((day, String::new())).or_default();
        rest.gross += order.total - of_lines(|line| line.amount);
        rest.discount += order.discount - of_lines(|line| line.discount);
        rest.tax += order.tax - of_lines(|line| line.tax);
        rest.shipping += order.shipping;
    }

    fn cancel(&mut self, order: &Told, day: NaiveDate) {
        self.days.entry(day).or_default().cancel(order);
        self.payments.entry((day, order.payment.clone())).or_default().cancel(order);
        let products: BTreeMap<&String, &String> =
            order.lines.iter().map(|line| (&line.code, &line.name)).collect();
        for (code, name) in products {
            let sum = self.products.entry((day, code.clone())).or_default();
            sum.name.clone_from(name);
            sum.cancel(order);
        }
    }
}

impl Figures {
    /// Those of the files' malls, for all days.
    pub(crate) fn of(exports: &[Export]) -> Self {
        let mut figures =
            Self { days: Vec::new(), breakdowns: Vec::new(), cancellations: Vec::new(), reasons: Vec::new() };
        for export in exports {
            figures.add(export);
        }
        let Self { days, breakdowns, cancellations, reasons } = &mut figures;
        for rows in [days, breakdowns, cancellations, reasons] {
            rows.sort();
        }
        figures
    }

    fn add(&mut self, export: &Export) {
        let Export { mall, currency, .. } = export;
        let mut sums = Sums::of(&export.told);
        for day in FIRST_DAY.iter_days().take_while(|day| *day <= LAST_DAY) {
            // A day without anything is a row of zeros.
            let sum = sums.days.entry(day).or_default();
            let average = if sum.orders == 0 { 0 } else { (2 * sum.gross + sum.orders) / (2 * sum.orders) };
            self.days.push(format!(
                "{day} {mall} {currency} {} {} {} {} {average} {}",
                sum.figures(),
                sum.refunds,
                sum.refunded,
                sum.gross - sum.refunded,
                sum.customers()
            ));
            let Sum { cancelled, cancelled_amount, .. } = sum;
            self.cancellations.push(format!("{day} {mall} {currency} {cancelled} {cancelled_amount}"));
            if *cancelled > 0 {
                self.reasons
                    .push(format!("{day} {mall} {currency} unspecified {cancelled} {cancelled_amount}"));
            }
        }
        let breakdowns = [("PRODUCT", &sums.products), ("PAYMENT_METHOD", &sums.payments)];
        for (breakdown, rows) in breakdowns {
            for ((day, key), sum) in rows {
                let is_payment = breakdown == "PAYMENT_METHOD";
                let is_zero = [sum.gross, sum.discount, sum.shipping, sum.tax, sum.refunded] == [0; 5];
                if key.is_empty() && is_zero && !is_payment {
                    continue;
                }
                self.breakdowns.push(format!(
                    "{day} {mall} {currency} {breakdown} {key} {} {} {} {} {}",
                    if is_payment { key } else { &sum.name },
                    sum.figures(),
                    sum.refunded,
                    sum.gross - sum.refunded,
                    sum.customers()
                ));
            }
        }
    }
}
