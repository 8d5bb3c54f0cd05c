//! Money as we store it: a whole number of minor units and an ISO 4217 code.
//!
//! Knows how many decimals a currency has, and how amounts are written, read and averaged.
//! Never a floating-point number, never an exchange rate.

use std::borrow::Cow;

use crate::locale::{Locale, group_digits};

/// The codes of ISO 4217 in alphabetical order, without withdrawn ones.
const CODES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN \
    BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS \
    GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK \
    LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB \
    PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS \
    TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XCD XCG XOF XPF YER ZAR \
    ZMW ZWG";

/// Why a text is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// There is no amount.
    #[error("the amount is empty")]
    Empty,
    /// `1,200` or `１２００`: what it most likely means is said, not assumed.
    #[error("`{text}` is not a number: write `{instead}`")]
    WrittenOtherwise {
        /// The text as it was read.
        text: String,
        /// The same amount as it is read.
        instead: String,
    },
    /// `1e5`, `+5`, `¥100`, ` 5`.
    #[error("`{0}` is not a number: use only digits, one `.` and a leading `-`")]
    NotANumber(String),
    /// More decimals than the currency has, and they are not zeros.
    #[error("`{text}` has too many decimals: {currency} has {exponent}")]
    TooManyDecimals {
        /// The text as it was read.
        text: String,
        /// The ISO 4217 code.
        currency: String,
        /// The decimals of that currency.
        exponent: u32,
    },
    /// Not as the file writes amounts.
    #[error("`{text}` is not a number: write it like `{like}`")]
    NotInStyle {
        /// The text as it was read.
        text: String,
        /// An amount as it is written there.
        like: String,
    },
    /// Beyond [`MAX_AMOUNT`].
    #[error("`{0}` is too large an amount")]
    TooLarge(String),
}

/// The largest amount that is taken from outside, in minor units: of larger ones a few would be more than the sums of a
/// day can hold, which are 64 bits.
pub const MAX_AMOUNT: i64 = 1_000_000_000_000_000;

/// Signs of money that files write; a longer one before those that it contains. A backslash is how the sign of the yen of
/// code page 932 reads.
pub const CURRENCY_SIGNS: [&str; 11] = ["US$", "¥", "￥", "\\", "円", "₩", "￦", "원", "$", "€", "£"];

/// The number of decimals of a currency (ISO 4217): 0 for JPY and KRW, 2 for most and for unknown ones.
pub fn currency_exponent(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

/// Whether the text is a currency code of ISO 4217, in capitals as the standard writes it.
pub fn is_known_currency(currency: &str) -> bool {
    currency.len() == 3 && CODES.split(' ').any(|code| code == currency)
}

/// Writes minor units as a plain decimal in major units: `1234.50`, `-12.05`, `1200`.
pub fn minor_to_plain(amount: i64, currency: &str) -> String {
    let exponent = currency_exponent(currency);
    if exponent == 0 {
        return amount.to_string();
    }
    let unit = 10_u64.pow(exponent);
    let magnitude = amount.unsigned_abs();
    let sign = if amount < 0 { "-" } else { "" };
    let width = exponent as usize;
    format!("{sign}{}.{:0width$}", magnitude / unit, magnitude % unit)
}

/// Writes minor units for a reader, thousands grouped: `1,234.50`.
pub fn minor_to_display(amount: i64, currency: &str) -> String {
    group_digits(&minor_to_plain(amount, currency))
}

/// Writes minor units with their currency as people of a language write it: `¥1,200`, `1,200円`, `1,200엔`.
///
/// A currency without a common word is written as its code after the amount. In English a dollar other than the US
/// one names its country.
pub fn minor_in_words(amount: i64, currency: &str, locale: Locale) -> String {
    let display = minor_to_display(amount, currency);
    let (before, japanese, korean) = match currency {
        "JPY" => ("¥", "円", "엔"),
        "KRW" => ("₩", "ウォン", "원"),
        "USD" => ("$", "米ドル", "달러"),
        "EUR" => ("€", "ユーロ", "유로"),
        "GBP" => ("£", "ポンド", "파운드"),
        "CNY" => ("CN¥", "人民元", "위안"),
        "TWD" => ("NT$", "台湾ドル", " 대만 달러"),
        "HKD" => ("HK$", "香港ドル", " 홍콩 달러"),
        _ => return format!("{display} {currency}"),
    };
    if locale != Locale::En {
        return format!("{display}{}", locale.pick("", japanese, korean));
    }
    match display.strip_prefix('-') {
        Some(magnitude) => format!("-{before}{magnitude}"),
        None => format!("{before}{display}"),
    }
}

/// Reads a plain decimal in major units (`12.5`, `-1200`) into minor units; decimals beyond the currency's
/// must be zeros.
pub fn parse_major(text: &str, currency: &str) -> Result<i64, MoneyError> {
    let not_a_number = || match otherwise(text, currency_exponent(currency)) {
        Some(instead) => MoneyError::WrittenOtherwise { text: text.to_owned(), instead },
        None => MoneyError::NotANumber(text.to_owned()),
    };
    if text.is_empty() {
        return Err(MoneyError::Empty);
    }
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if !unsigned.chars().all(|character| matches!(character, '0'..='9' | '.')) {
        return Err(not_a_number());
    }
    let (whole, fraction) = match unsigned.split_once('.') {
        None => (unsigned, ""),
        // `5.` may be a truncated line and `.5` a lost digit: we do not guess at either.
        Some((_, "")) => return Err(not_a_number()),
        Some((_, fraction)) if fraction.contains('.') => return Err(not_a_number()),
        Some(parts) => parts,
    };
    if whole.is_empty() {
        return Err(not_a_number());
    }
    let exponent = currency_exponent(currency);
    let kept = fraction.len().min(exponent as usize);
    let (decimals, beyond) = fraction.split_at(kept);
    if beyond.bytes().any(|digit| digit != b'0') {
        return Err(MoneyError::TooManyDecimals {
            text: text.to_owned(),
            currency: currency.to_owned(),
            exponent,
        });
    }
    let padding = std::iter::repeat_n(b'0', exponent as usize - kept);
    // Counted downwards, because the negative range reaches one further.
    let mut amount: i64 = 0;
    for digit in whole.bytes().chain(decimals.bytes()).chain(padding) {
        amount = amount
            .checked_mul(10)
            .and_then(|tenfold| tenfold.checked_sub(i64::from(digit - b'0')))
            .ok_or_else(|| MoneyError::TooLarge(text.to_owned()))?;
    }
    if amount < -MAX_AMOUNT {
        return Err(MoneyError::TooLarge(text.to_owned()));
    }
    Ok(if negative { amount } else { -amount })
}

/// How a file writes amounts, if not plainly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmountStyle {
    /// What separates groups of three digits, if anything may.
    pub thousands: Option<char>,
    /// The decimal point.
    pub decimal: char,
    /// What may stand before or after the digits.
    pub signs: Vec<String>,
}

impl AmountStyle {
    /// The same amount as [`parse_major`] reads it.
    pub fn plain<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, MoneyError> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Cow::Borrowed(text));
        }
        self.digits(text)
            .map(Cow::Owned)
            .ok_or_else(|| MoneyError::NotInStyle { text: text.to_owned(), like: self.example() })
    }

    fn digits(&self, text: &str) -> Option<String> {
        let (is_negative, rest) = without_minus(text);
        let rest = self.without_sign(rest);
        // Some write `¥-100`, others `-¥100`.
        let (is_negative, rest) = if is_negative { (true, rest) } else { without_minus(rest) };
        let (whole, fraction) = match rest.split_once(self.decimal) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (rest, None),
        };
        let groups: Vec<&str> = match self.thousands {
            Some(separator) => whole.split(separator).collect(),
            None => vec![whole],
        };
        let is_grouped =
            groups.len() == 1 || groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3);
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_grouped || !groups.iter().copied().all(is_digits) || !fraction.is_none_or(is_digits) {
            return None;
        }
        let sign = if is_negative { "-" } else { "" };
        let fraction = fraction.map(|fraction| format!(".{fraction}")).unwrap_or_default();
        Some(format!("{sign}{}{fraction}", groups.concat()))
    }

    fn without_sign<'t>(&self, text: &'t str) -> &'t str {
        for sign in &self.signs {
            if let Some(rest) = text.strip_prefix(sign.as_str()) {
                return rest.trim_start();
            }
            if let Some(rest) = text.strip_suffix(sign.as_str()) {
                return rest.trim_end();
            }
        }
        text
    }

    fn example(&self) -> String {
        let thousands = self.thousands.map(String::from).unwrap_or_default();
        format!("1{thousands}234{}50", self.decimal)
    }
}

fn without_minus(text: &str) -> (bool, &str) {
    text.strip_prefix('-').map_or((false, text), |rest| (true, rest.trim_start()))
}

/// The amount that a text means which is written with full-width characters, or in groups of three digits. A comma alone
/// may be somebody's decimal point.
fn otherwise(text: &str, decimals: u32) -> Option<String> {
    let narrow: String =
        text.chars()
            .map(|character| match character {
                '０'..='９' => char::from_u32(u32::from(character) - u32::from('０') + u32::from('0'))
                    .unwrap_or(character),
                '．' => '.',
                '－' => '-',
                '，' => ',',
                character => character,
            })
            .collect();
    let (sign, unsigned) = narrow.strip_prefix('-').map_or(("", narrow.as_str()), |rest| ("-", rest));
    let (whole, fraction) =
        unsigned.split_once('.').map_or((unsigned, None), |(whole, rest)| (whole, Some(rest)));
    let groups: Vec<&str> = whole.split([',', '\'', '_', '\u{a0}', '\u{202f}']).collect();
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_grouped =
        groups.len() == 1 || groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3);
    // `1,234` of a currency with three decimals may be either.
    let is_ambiguous = groups.len() == 2 && fraction.is_none() && decimals == 3;
    if is_ambiguous
        || !is_grouped
        || !groups.iter().copied().all(is_digits)
        || !fraction.is_none_or(is_digits)
    {
        return None;
    }
    let fraction = fraction.map(|fraction| format!(".{fraction}")).unwrap_or_default();
    Some(format!("{sign}{}{fraction}", groups.concat())).filter(|instead| instead != text)
}

/// The average in minor units, halves rounded away from zero so that a refund rounds as its sale did; 0 for nothing.
pub fn average_half_up(total: i64, count: i64) -> i64 {
    if count <= 0 {
        return 0;
    }
    let (total, count) = (i128::from(total), i128::from(count));
    let magnitude = (2 * total.abs() + count) / (2 * count);
    // Never larger than the total itself, which fits.
    i64::try_from(magnitude * total.signum()).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_in_the_style_that_was_declared_and_in_no_other() {
        let signs = ["US$", "$", "¥", "円"].map(str::to_owned).to_vec();
        let style = AmountStyle { thousands: Some(','), decimal: '.', signs };
        let read = |text: &str| style.plain(text).map(Cow::into_owned).ok();
        for (text, plain) in [
            ("1200", "1200"),
            ("1,234,567", "1234567"),
            ("¥1,200", "1200"),
            ("-¥1,200", "-1200"),
            ("¥-1,200", "-1200"),
            ("1,200円", "1200"),
            ("US$ 12.50", "12.50"),
        ] {
            assert_eq!(read(text).as_deref(), Some(plain), "{text}");
        }
        for text in
            ["1,20", "1,2345", "12,34,567", ",100", "€5", "--5", "1.2.3", "¥", "1e5", "5.", "¥¥5", "１００"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        let error = style.plain("1,20").unwrap_err();
        assert_eq!(error.to_string(), "`1,20` is not a number: write it like `1,234.50`");
        let european = AmountStyle { thousands: Some('.'), decimal: ',', signs: Vec::new() };
        assert_eq!(european.plain("1.234,50").unwrap(), "1234.50");
        assert!(european.plain("1,234.50").is_err());
    }

    #[test]
    fn a_currency_has_its_own_number_of_decimals() {
        for (currency, exponent) in
            [("JPY", 0), ("KRW", 0), ("USD", 2), ("TWD", 2), ("KWD", 3), ("CLF", 4), ("???", 2)]
        {
            assert_eq!(currency_exponent(currency), exponent, "{currency}");
        }
    }

    #[test]
    fn a_known_currency_is_a_code_of_the_standard_in_capitals() {
        let codes: Vec<_> = CODES.split(' ').collect();
        assert!(codes.is_sorted() && codes.iter().all(|code| code.len() == 3));
        for known in ["JPY", "KRW", "USD", "EUR", "CNY", "ZWG"] {
            assert!(is_known_currency(known), "{known}");
        }
        for unknown in ["", "jpy", "YEN", "JP", "JPYX", "ＪＰＹ", "US ", "US$", "Y E"] {
            assert!(!is_known_currency(unknown), "{unknown}");
        }
    }

    #[test]
    fn an_amount_is_written_in_major_units() {
        let cases = [
            (123_450, "USD", "1234.50", "1,234.50"),
            (-1_205, "USD", "-12.05", "-12.05"),
            (-5, "USD", "-0.05", "-0.05"),
            (0, "EUR", "0.00", "0.00"),
            (1_200, "JPY", "1200", "1,200"),
            (-1_234_567, "KRW", "-1234567", "-1,234,567"),
            (1_234_567, "BHD", "1234.567", "1,234.567"),
            (MAX_AMOUNT, "JPY", "1000000000000000", "1,000,000,000,000,000"),
            (-MAX_AMOUNT, "USD", "-10000000000000.00", "-10,000,000,000,000.00"),
        ];
        for (amount, currency, plain, display) in cases {
            assert_eq!(minor_to_plain(amount, currency), plain);
            assert_eq!(minor_to_display(amount, currency), display);
            assert_eq!(parse_major(plain, currency), Ok(amount), "reads back");
        }
        // Sums may be larger.
        assert_eq!(minor_to_display(i64::MAX, "JPY"), "9,223,372,036,854,775,807");
        assert_eq!(minor_to_plain(i64::MIN, "USD"), "-92233720368547758.08");
    }

    #[test]
    fn an_amount_is_written_as_people_of_the_language_write_it() {
        let cases = [
            (1_200, "JPY", "¥1,200", "1,200円", "1,200엔"),
            (12_000, "KRW", "₩12,000", "12,000ウォン", "12,000원"),
            (-980, "JPY", "-¥980", "-980円", "-980엔"),
            (1_250, "USD", "$12.50", "12.50米ドル", "12.50달러"),
            (0, "EUR", "€0.00", "0.00ユーロ", "0.00유로"),
            (123_456, "TWD", "NT$1,234.56", "1,234.56台湾ドル", "1,234.56 대만 달러"),
            (1_500, "KWD", "1.500 KWD", "1.500 KWD", "1.500 KWD"),
        ];
        for (amount, currency, english, japanese, korean) in cases {
            assert_eq!(minor_in_words(amount, currency, Locale::En), english);
            assert_eq!(minor_in_words(amount, currency, Locale::Ja), japanese);
            assert_eq!(minor_in_words(amount, currency, Locale::Ko), korean);
        }
    }

    #[test]
    fn an_amount_is_read_in_major_units() {
        let cases = [
            ("12.5", "USD", 1_250),
            ("12.50", "USD", 1_250),
            ("12", "USD", 1_200),
            ("-12.05", "USD", -1_205),
            ("-0", "USD", 0),
            ("-0.01", "USD", -1),
            ("007", "USD", 700),
            ("12.5000", "USD", 1_250),
            ("1200", "JPY", 1_200),
            ("1200.00", "JPY", 1_200),
            ("1.5", "KWD", 1_500),
        ];
        for (text, currency, amount) in cases {
            assert_eq!(parse_major(text, currency), Ok(amount), "{text} {currency}");
        }
    }

    #[test]
    fn an_invalid_amount_is_refused_with_what_to_do() {
        let shape = "use only digits, one `.` and a leading `-`";
        let cases = [
            ("", "USD", "the amount is empty".to_owned()),
            ("1,200", "USD", "`1,200` is not a number: write `1200`".to_owned()),
            ("-1,200.50", "USD", "`-1,200.50` is not a number: write `-1200.50`".to_owned()),
            ("－１，２００．５", "USD", "`－１，２００．５` is not a number: write `-1200.5`".to_owned()),
            ("１２００", "JPY", "`１２００` is not a number: write `1200`".to_owned()),
            ("－5", "JPY", "`－5` is not a number: write `-5`".to_owned()),
            ("12,3x0", "USD", format!("`12,3x0` is not a number: {shape}")),
            ("1,5", "EUR", format!("`1,5` is not a number: {shape}")),
            ("12,34,567", "INR", format!("`12,34,567` is not a number: {shape}")),
            ("1e5", "USD", format!("`1e5` is not a number: {shape}")),
            ("+5", "USD", format!("`+5` is not a number: {shape}")),
            ("--5", "USD", format!("`--5` is not a number: {shape}")),
            ("-", "USD", format!("`-` is not a number: {shape}")),
            (".", "USD", format!("`.` is not a number: {shape}")),
            (".5", "USD", format!("`.5` is not a number: {shape}")),
            ("5.", "USD", format!("`5.` is not a number: {shape}")),
            ("1.2.3", "USD", format!("`1.2.3` is not a number: {shape}")),
            (" 5", "USD", format!("` 5` is not a number: {shape}")),
            ("¥500", "JPY", format!("`¥500` is not a number: {shape}")),
            ("NaN", "USD", format!("`NaN` is not a number: {shape}")),
            ("12.345", "USD", "`12.345` has too many decimals: USD has 2".to_owned()),
            ("12.5", "JPY", "`12.5` has too many decimals: JPY has 0".to_owned()),
            ("9223372036854775808", "JPY", "`9223372036854775808` is too large an amount".to_owned()),
            ("1000000000000001", "JPY", "`1000000000000001` is too large an amount".to_owned()),
            ("-10000000000000.01", "USD", "`-10000000000000.01` is too large an amount".to_owned()),
        ];
        for (text, currency, message) in cases {
            assert_eq!(parse_major(text, currency).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn an_average_rounds_halves_away_from_zero() {
        let cases = [
            (10, 4, 3),
            (-10, 4, -3),
            (9, 4, 2),
            (-9, 4, -2),
            (11, 4, 3),
            (1, 3, 0),
            (2, 3, 1),
            (0, 5, 0),
            (5, 0, 0),
            (5, -1, 0),
            (i64::MAX, 1, i64::MAX),
            (i64::MIN, 1, i64::MIN),
        ];
        for (total, count, average) in cases {
            assert_eq!(average_half_up(total, count), average, "{total} / {count}");
        }
    }
}
