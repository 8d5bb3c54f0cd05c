//! The three languages we write documents in, and how each writes a number.
//!
//! Not a translation catalogue: a job brings its own wording, this only names the language.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A language a document can be written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    /// English
    #[default]
    En,
    /// Japanese
    Ja,
    /// Korean
    Ko,
}

impl Locale {
    /// Every locale, in the order in which help texts list them.
    pub const ALL: [Self; 3] = [Self::En, Self::Ja, Self::Ko];

    /// The language tag (BCP 47): `en`, `ja` or `ko`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ja => "ja",
            Self::Ko => "ko",
        }
    }

    /// Picks the wording of this locale; a missing translation does not compile.
    pub fn pick<T>(self, english: T, japanese: T, korean: T) -> T {
        match self {
            Self::En => english,
            Self::Ja => japanese,
            Self::Ko => korean,
        }
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.tag())
    }
}

/// A language tag that is none of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown locale `{0}`: use en, ja or ko")]
pub struct UnknownLocale(String);

impl FromStr for Locale {
    type Err = UnknownLocale;

    fn from_str(text: &str) -> Result<Self, UnknownLocale> {
        Self::ALL
            .into_iter()
            .find(|locale| locale.tag() == text)
            .ok_or_else(|| UnknownLocale(text.to_owned()))
    }
}

/// Writes a plain decimal number (`-1234.50`) with a comma at each thousand: all three locales do it so.
pub fn group_digits(plain: &str) -> String {
    let (sign, unsigned) = plain.strip_prefix('-').map_or(("", plain), |rest| ("-", rest));
    let (whole, fraction) = unsigned.split_once('.').map_or((unsigned, None), |(w, f)| (w, Some(f)));
    let mut grouped = String::with_capacity(plain.len() + whole.len() / 3 + 1);
    grouped.push_str(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_reads_back_as_its_locale() {
        for locale in Locale::ALL {
            assert_eq!(locale.tag().parse(), Ok(locale));
            assert_eq!(serde_json::to_string(&locale).unwrap(), format!("\"{locale}\""));
        }
        assert_eq!("jp".parse::<Locale>().unwrap_err().to_string(), "unknown locale `jp`: use en, ja or ko");
    }

    #[test]
    fn thousands_are_grouped_and_the_fraction_is_not() {
        let cases = [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-999", "-999"),
            ("-1000", "-1,000"),
            ("1234567", "1,234,567"),
            ("1234.50", "1,234.50"),
            ("-100.1234", "-100.1234"),
            ("-9223372036854775808", "-9,223,372,036,854,775,808"),
        ];
        for (plain, grouped) in cases {
            assert_eq!(group_digits(plain), grouped);
        }
    }
}
