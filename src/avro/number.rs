//! A number as its digits: nothing of it is lost before somebody says how much of it a type holds.

/// `digits * 10^exponent`, with no zero at either end of the digits; zero has no digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Number {
    /// A number in JSON's form (RFC 8259 section 6), and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty()
            || !are_digits(whole)
            || !are_digits(fraction)
            || (whole.len() > 1 && whole.starts_with('0'))
        {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let exponent = exponent
            .saturating_sub(i64::try_from(fraction.len()).ok()?)
            .saturating_add(i64::try_from(all.len() - digits.len()).ok()?);
        let digits = digits.trim_start_matches('0').to_owned();
        Some(if digits.is_empty() {
            Self { is_negative: false, digits, exponent: 0 }
        } else {
            Self { is_negative, digits, exponent }
        })
    }

    /// The digits of the number times `10^scale`, with its sign; `None` if that is not whole, or has more than `most` digits.
    pub(super) fn whole(&self, scale: usize, most: usize) -> Option<String> {
        if self.digits.is_empty() {
            return Some("0".to_owned());
        }
        let zeros = self.exponent.saturating_add(i64::try_from(scale).ok()?);
        let zeros = usize::try_from(zeros).ok()?;
        if self.digits.len().saturating_add(zeros) > most {
            return None;
        }
        let sign = if self.is_negative { "-" } else { "" };
        Some(format!("{sign}{}{}", self.digits, "0".repeat(zeros)))
    }

    /// Whether it has no fraction.
    pub(super) fn is_whole(&self) -> bool {
        self.exponent >= 0
    }
}

/// The digits behind `e`. One that no number has counts as the largest.
fn read_exponent(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse::<i64>().unwrap_or(i64::MAX);
    Some(if is_negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_digits_and_is_the_same_however_it_is_written() {
        let number = |text: &str| Number::parse(text).unwrap_or_else(|| panic!("{text}"));
        for (one, other) in
            [("1", "1.000"), ("1e3", "1000"), ("0", "-0.0e99"), ("-12.50", "-125e-1"), ("1E+2", "100")]
        {
            assert_eq!(number(one), number(other), "{one}");
        }
        assert_ne!(number("9007199254740993"), number("9007199254740992"));
        assert_eq!(number("12.50").whole(2, 4).as_deref(), Some("1250"));
        assert_eq!(number("-12.5").whole(2, 4).as_deref(), Some("-1250"));
        assert_eq!(number("12.505").whole(2, 9), None, "what is behind the scale is not cut off");
        assert_eq!(number("12.50").whole(2, 3), None);
        // No memory for zeros that do not fit.
        assert_eq!(number("1e999999999999999999999").whole(0, 19), None);
        assert_eq!(number("1e-999999999999999999999").whole(0, 19), None);
        assert_eq!(number("0e999999999999999999999").whole(0, 19).as_deref(), Some("0"));
    }

    #[test]
    fn what_json_does_not_call_a_number_is_none() {
        for text in
            ["", "-", "+1", "01", ".5", "1.", "1e", "1e+", "0x1", "NaN", "Infinity", " 1", "1 ", "1_0", "１"]
        {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }
}
