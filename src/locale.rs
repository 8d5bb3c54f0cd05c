//! The three languages we write documents in, and how each formats dates and numbers.
//!
//! Not a translation catalogue: each job has its own wording; this module only names the language.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, NaiveDateTime};
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

/// A language tag that is not one of ours.
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

/// The locale of a language tag or of an operating system's locale name (`ja`, `ja-JP`, `ja_JP.UTF-8`, `KO`): only
/// the language counts. `None` for a language we do not write.
pub fn locale_of(text: &str) -> Option<Locale> {
    let language = text.trim().split(['-', '_', '.', '@']).next().unwrap_or_default().to_ascii_lowercase();
    Locale::ALL.into_iter().find(|locale| locale.tag() == language)
}

/// Writes a day as in a letter: `20 November 2026`, `2026年11月20日`, `2026년 11월 20일`.
pub fn day_in_words(day: NaiveDate, locale: Locale) -> String {
    day.format(locale.pick("%-d %B %Y", "%Y年%-m月%-d日", "%Y년 %-m월 %-d일")).to_string()
}

/// The abbreviated day of the week: `Fri`, `金`, `금`.
pub fn weekday_in_words(day: NaiveDate, locale: Locale) -> &'static str {
    let names = locale.pick(
        ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        ["月", "火", "水", "木", "金", "土", "日"],
        ["월", "화", "수", "목", "금", "토", "일"],
    );
    names[day.weekday().num_days_from_monday() as usize]
}

/// Writes a time that is already in the reader's time zone: `20 November 2026, 09:05`, `2026年11月20日 9:05`,
/// `2026년 11월 20일 09:05`.
pub fn time_in_words(time: NaiveDateTime, locale: Locale) -> String {
    let clock = time.format(locale.pick(", %H:%M", " %-H:%M", " %H:%M"));
    format!("{}{clock}", day_in_words(time.date(), locale))
}

/// Writes a plain decimal number (`-1234.50`) with a comma between thousands, as all three locales do.
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
    fn the_language_of_a_tag_is_what_counts() {
        let cases = [
            ("ja", Some(Locale::Ja)),
            ("ja_JP", Some(Locale::Ja)),
            ("ja-JP", Some(Locale::Ja)),
            ("ja_JP.UTF-8", Some(Locale::Ja)),
            (" KO-kr ", Some(Locale::Ko)),
            ("en@euro", Some(Locale::En)),
            ("fr", None),
            ("jav", None),
            ("j", None),
            ("", None),
            ("-ja", None),
        ];
        for (text, locale) in cases {
            assert_eq!(locale_of(text), locale, "{text}");
        }
    }

    #[test]
    fn a_day_and_a_time_are_written_as_in_a_letter() {
        let day = NaiveDate::from_ymd_opt(2026, 1, 5).unwrap();
        let time = day.and_hms_opt(9, 5, 59).unwrap();
        for (locale, words, weekday, moment) in [
            (Locale::En, "5 January 2026", "Mon", "5 January 2026, 09:05"),
            (Locale::Ja, "2026年1月5日", "月", "2026年1月5日 9:05"),
            (Locale::Ko, "2026년 1월 5일", "월", "2026년 1월 5일 09:05"),
        ] {
            assert_eq!(day_in_words(day, locale), words);
            assert_eq!(weekday_in_words(day, locale), weekday);
            assert_eq!(time_in_words(time, locale), moment);
        }
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
