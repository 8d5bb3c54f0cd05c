//! How a file writes amounts: what separates groups of three digits, what the decimal sign is, and which signs of money stand
//! beside them.

use std::collections::BTreeSet;

use crate::money::{AmountStyle, CURRENCY_SIGNS, parse_major};

/// What separates groups of three digits beside points and commas.
const OTHER_SEPARATORS: [char; 4] = ['\'', ' ', '\u{a0}', '\u{202f}'];
/// A currency with as many decimals as any has, so that amounts of all currencies can be compared.
const FINEST_CURRENCY: &str = "CLF";

/// What the amounts of some columns show about how they are written.
#[derive(Debug, Default, Clone)]
pub(super) struct Numbers {
    /// Whether any is below zero.
    pub(super) is_negative: bool,
    signs: BTreeSet<&'static str>,
    /// An amount that can only be read with a decimal comma.
    decimal_comma: Option<String>,
    /// An amount that can only be read with a decimal point.
    decimal_point: Option<String>,
    /// An amount in which three digits follow the only point: a group, or decimals.
    open_point: Option<String>,
    /// Likewise the only comma.
    open_comma: Option<String>,
    has_points: bool,
    has_commas: bool,
    other_separator: Option<char>,
}

impl Numbers {
    /// Adds those of another column.
    pub(super) fn join(&mut self, other: &Self) {
        self.is_negative |= other.is_negative;
        self.signs.extend(&other.signs);
        self.has_points |= other.has_points;
        self.has_commas |= other.has_commas;
        self.other_separator = self.other_separator.or(other.other_separator);
        for (own, others) in [
            (&mut self.decimal_comma, &other.decimal_comma),
            (&mut self.decimal_point, &other.decimal_point),
            (&mut self.open_point, &other.open_point),
            (&mut self.open_comma, &other.open_comma),
        ] {
            if own.is_none() {
                own.clone_from(others);
            }
        }
    }

    /// Looks at a field.
    pub(super) fn see(&mut self, text: &str) {
        let (mut rest, mut signs) = (text.trim(), Vec::new());
        for sign in CURRENCY_SIGNS {
            let bare = rest.trim_start_matches('-');
            if let Some(without) = bare.strip_prefix(sign).or_else(|| bare.strip_suffix(sign)) {
                signs.push(sign);
                rest = without.trim();
            }
        }
        let digits = rest.trim_start_matches(['-', '+']);
        let is_part = |character: char| {
            character.is_ascii_digit()
                || matches!(character, ',' | '.')
                || OTHER_SEPARATORS.contains(&character)
        };
        if !digits.starts_with(|character: char| character.is_ascii_digit()) || !digits.chars().all(is_part) {
            return;
        }
        self.signs.extend(signs);
        self.is_negative |= rest.starts_with('-') || text.trim().starts_with('-');
        if let Some(separator) = OTHER_SEPARATORS.into_iter().find(|separator| digits.contains(*separator)) {
            self.other_separator = Some(separator);
        }
        let digits: String =
            digits.chars().filter(|character| !OTHER_SEPARATORS.contains(character)).collect();
        self.see_separators(&digits, text.trim());
    }

    fn see_separators(&mut self, digits: &str, shown: &str) {
        let count = |separator: char| digits.matches(separator).count();
        let (points, commas) = (count('.'), count(','));
        self.has_points |= points > 0;
        self.has_commas |= commas > 0;
        let Some(last) = digits.rfind(['.', ',']) else { return };
        let (head, tail) = (&digits[..last], &digits[last + 1..]);
        let ends_with_comma = digits[last..].starts_with(',');
        let is_group = tail.len() == 3 && !head.is_empty() && head.len() <= 3 && head != "0";
        let told = match (points, commas) {
            // Several of a kind separate groups, so that the other is the decimal sign.
            (0, 2..) => &mut self.decimal_point,
            (2.., 0) => &mut self.decimal_comma,
            (0, 1) if is_group => &mut self.open_comma,
            (1, 0) if is_group => &mut self.open_point,
            _ if ends_with_comma => &mut self.decimal_comma,
            _ => &mut self.decimal_point,
        };
        told.get_or_insert_with(|| shown.to_owned());
    }

    /// The style in which all of them are written, with what is doubtful about it.
    pub(super) fn style(&self, delimiter: char, doubts: &mut Vec<String>) -> AmountStyle {
        let by_comma = |has_points: bool| (if has_points { Some('.') } else { None }, ',');
        let by_point = |has_commas: bool| (if has_commas { Some(',') } else { None }, '.');
        let either = |example: &str, assumed: &str| {
            format!("`{example}` may be a number of thousands, or have three decimals: {assumed} is assumed")
        };
        let (thousands, decimal) = match (&self.decimal_comma, &self.decimal_point) {
            (Some(comma), Some(point)) => {
                doubts.push(format!(
                    "what the decimal sign is: `{comma}` has a comma and `{point}` a point for it; one column must be \
                     exported in another form"
                ));
                by_point(false)
            }
            (Some(_), None) => by_comma(self.has_points),
            (None, Some(_)) => by_point(self.has_commas),
            (None, None) => match (&self.open_point, &self.open_comma) {
                (Some(point), Some(comma)) => {
                    doubts.push(format!(
                        "whether a point or a comma separates thousands: there are `{point}` and `{comma}`"
                    ));
                    by_point(true)
                }
                (Some(point), None) => {
                    doubts.push(either(point, "a number of thousands"));
                    by_comma(true)
                }
                (None, Some(comma)) => {
                    // Where the comma is the decimal sign, it is rarely the delimiter.
                    if delimiter == ';' {
                        doubts.push(either(comma, "a number of thousands"));
                    }
                    by_point(true)
                }
                (None, None) => by_point(false),
            },
        };
        AmountStyle {
            thousands: thousands.or(self.other_separator),
            decimal,
            signs: self.signs.iter().map(|sign| (*sign).to_owned()).collect(),
        }
    }
}

/// The number that a field means, in the smallest unit that any currency has.
pub(super) fn number(text: &str, style: &AmountStyle) -> Option<i64> {
    parse_major(&style.plain(text).ok()?, FINEST_CURRENCY).ok()
}

/// The number that a field means which may have signs and separators that the columns of the style do not have.
pub(super) fn loose_number(text: &str, style: &AmountStyle) -> Option<i64> {
    if let Some(number) = number(text, style) {
        return Some(number);
    }
    let thousands = style.thousands.or(Some(if style.decimal == ',' { '.' } else { ',' }));
    let signs = CURRENCY_SIGNS.map(str::to_owned).to_vec();
    let loose = AmountStyle { thousands, decimal: style.decimal, signs };
    // Bookkeepers write what is deducted as `(200)` or `△200`.
    let bare = text.trim_start_matches(['(', '△', '▲', '+']).trim_end_matches(')');
    let number = number(bare, &loose)?;
    Some(if bare.len() == text.trim_start_matches('+').len() { number } else { -number })
}

/// The units that make one of [`number`].
pub(super) const UNITS: i128 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// The separators that some amounts are read with, and whether that is doubtful.
    fn style(values: &[&str]) -> (Option<char>, char, bool) {
        let mut numbers = Numbers::default();
        for value in values {
            numbers.see(value);
        }
        let mut doubts = Vec::new();
        let style = numbers.style(',', &mut doubts);
        (style.thousands, style.decimal, !doubts.is_empty())
    }

    #[test]
    fn separators_are_told_by_the_amounts_that_can_be_read_in_one_way_only() {
        for (values, told) in [
            (&["1200", "3"][..], (None, '.', false)),
            (&["1,200", "3"], (Some(','), '.', false)),
            (&["1,234.50", "12"], (Some(','), '.', false)),
            (&["12.50", "3"], (None, '.', false)),
            (&["1.000,00", "12,50"], (Some('.'), ',', false)),
            (&["12,50", "1000"], (None, ',', false)),
            (&["1.234.567", "1.000"], (Some('.'), ',', false)),
            (&["0.500", "1.000"], (None, '.', false)),
            (&["1'234.50"], (Some('\''), '.', false)),
            (&["1 234,50"], (Some(' '), ',', false)),
            (&["3.000", "12.000"], (Some('.'), ',', true)),
            (&["3.000", "12,000"], (Some(','), '.', true)),
            (&["3.00", "12,00"], (None, '.', true)),
            (&["A-1,2", "2026-07-01", ""], (None, '.', false)),
        ] {
            assert_eq!(style(values), told, "{values:?}");
        }
    }

    #[test]
    fn an_amount_of_another_column_may_be_written_in_another_style() {
        let style = AmountStyle { thousands: None, decimal: '.', signs: Vec::new() };
        let read = |text| loose_number(text, &style).map(|number| i128::from(number) / UNITS);
        for (text, amount) in [
            ("1200", Some(1200)),
            ("¥1,200", Some(1200)),
            ("\\1,200", Some(1200)),
            ("(200)", Some(-200)),
            ("△200", Some(-200)),
            ("-200円", Some(-200)),
            ("2026/11/03", None),
            ("なし", None),
        ] {
            assert_eq!(read(text), amount, "{text}");
        }
    }

    #[test]
    fn amounts_show_their_signs() {
        let mut numbers = Numbers::default();
        for value in ["¥1,200", "-300円", "-¥5", "12", "¥ each"] {
            numbers.see(value);
        }
        let mut of_code_page_932 = Numbers::default();
        of_code_page_932.see("\\1,200");
        let style = of_code_page_932.style(',', &mut Vec::new());
        assert_eq!((style.thousands, style.signs), (Some(','), vec!["\\".to_owned()]));
        let style = numbers.style(',', &mut Vec::new());
        assert!(numbers.is_negative);
        assert_eq!(style.signs, ["¥", "円"]);
        assert_eq!(
            ["¥1,200", "-300円", "12.5", "1,20"].map(|text| number(text, &style)),
            [Some(12_000_000), Some(-3_000_000), Some(125_000), None]
        );
    }
}
