//! The stored figures of daily sales as the variables of their mail.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::breakdowns::Breakdown;
use super::columns::measure_columns;
use super::comparisons::ComparedWith;
use super::figures::{Figures, MallCurrency, Measures, NamedSums};
use crate::jobs::report::change::percent;
use crate::jobs::report::outdated;
use crate::jobs::report::told::Headline;
use crate::locale::{Locale, group_digits};
use crate::money::{average_half_up, minor_in_words};

/// The variables of the template `daily-sales`, except `attachments`. `missing` names the malls that have no figures.
pub(super) fn variables(figures: &Figures, missing: &[String]) -> Value {
    let mut totals: BTreeMap<&str, (Measures, NetBefore)> = BTreeMap::new();
    let mut malls = Vec::new();
    for ((mall, currency), (name, measures)) in figures.sums() {
        let before =
            [ComparedWith::Day, ComparedWith::Week].map(|with| figures.net_before(mall, currency, with));
        let total = totals.entry(currency).or_insert_with(|| (Measures::default(), [Some(0); 2]));
        total.0.add(&measures);
        for (sum, net) in total.1.iter_mut().zip(before) {
            // A sum without all malls is not comparable.
            *sum = sum.zip(net).and_then(|(sum, net)| sum.checked_add(net));
        }
        let mut mall = describe(&measures, currency, before);
        mall["name"] = json!(name);
        malls.push(mall);
    }
    let totals: Vec<Value> = totals
        .into_iter()
        .map(|(currency, (measures, before))| describe(&measures, currency, before))
        .collect();
    json!({
        "day": figures.period(),
        "malls": malls,
        "totals": totals,
        "provisional": figures.is_unfinished(),
        "missing_malls": missing,
        "outdated_malls": outdated::names(&figures.outdated()),
    })
}

/// The figures of which readers are told when they change, those that they look for first.
pub(super) fn headlines(figures: &Figures, locale: Locale) -> Vec<Headline> {
    let columns = measure_columns(locale);
    let label = |key: &str| {
        columns.iter().find(|column| column.key == key).map_or("", |column| column.label.as_str())
    };
    let of_mall = |((mall, currency), (name, measures)): (MallCurrency<'_>, NamedSums<'_>)| {
        let money = |amount| minor_in_words(amount, currency, locale);
        let count = |count: i64| group_digits(&count.to_string());
        let customers = |number| if figures.has_customers(mall) { count(number) } else { NOTHING.to_owned() };
        let tax = if figures.has_tax(mall) { money(measures.tax_amount) } else { NOTHING.to_owned() };
        let average = average_half_up(measures.gross_amount, measures.orders);
        let values = [
            ("net_amount", money(measures.net_amount)),
            ("orders", count(measures.orders)),
            ("gross_amount", money(measures.gross_amount)),
            ("refunded_amount", money(measures.refunded_amount)),
            ("cancelled_orders", count(measures.cancelled_orders)),
            ("items", count(measures.items)),
            ("discount_amount", money(measures.discount_amount)),
            ("shipping_amount", money(measures.shipping_amount)),
            ("tax_amount", tax),
            ("average_order_amount", money(average)),
            ("new_customers", customers(measures.new_customers)),
            ("returning_customers", customers(measures.returning_customers)),
        ]
        .map(|(key, shown)| Headline::new((mall, name), key, Some(currency), label(key), shown));
        let parts = [Breakdown::Product, Breakdown::PaymentMethod].map(|kind| {
            let mark = figures.mark_of(kind, (mall, currency));
            Headline::of_parts((mall, name), kind.table_key(), currency, kind.title(locale), locale, mark)
        });
        let headlines: Vec<Headline> = values.into_iter().chain(parts).collect();
        headlines.into_iter().map(move |headline| headline.awaiting(figures.is_awaiting(mall)))
    };
    figures.sums().into_iter().flat_map(of_mall).collect()
}

/// What stands for a figure that nothing is known of.
const NOTHING: &str = "–";

/// The net amounts of the day and of the week before.
type NetBefore = [Option<i64>; 2];

fn describe(measures: &Measures, currency: &str, before: NetBefore) -> Value {
    let [day, week] = before.map(|before| before.and_then(|before| percent(before, measures.net_amount)));
    json!({
        "currency": currency,
        "orders": measures.orders,
        "gross_amount": measures.gross_amount,
        "refunded_amount": measures.refunded_amount,
        "net_amount": measures.net_amount,
        "average_order_amount": average_half_up(measures.gross_amount, measures.orders),
        "change_percent": day,
        "week_change_percent": week,
    })
}
