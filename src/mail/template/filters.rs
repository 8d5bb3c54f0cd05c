//! Template filters that write numbers, money, days and times in the mail's language.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate};
use chrono_tz::Tz;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State};
use unicode_width::UnicodeWidthStr;

use crate::locale::{Locale, day_in_words, group_digits, time_in_words, weekday_in_words};
use crate::money::minor_in_words;

/// Adds all filters.
pub(super) fn add(environment: &mut Environment<'static>, time_zone: Tz) {
    environment.set_formatter(write);
    environment.add_filter("money", money);
    environment.add_filter("number", number);
    environment.add_filter("count_or_dash", count_or_dash);
    environment.add_filter("percent", percent);
    environment.add_filter("change", change);
    environment.add_filter("date", date);
    environment.add_filter("datetime", move |state: &State, text: &str| datetime(state, text, time_zone));
    environment.add_filter("figure", figure);
    environment.add_filter("wrap", wrap);
}

/// Writes a value: escaped in HTML, and never a null, which a customer would read as the word "none".
pub(super) fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, "the value is null: test it with `if`"));
    }
    match value.as_str() {
        // The engine's own escaping writes every `/` of a link as `&#x2f;`.
        Some(text) if *state.auto_escape() == AutoEscape::Html && !value.is_safe() => {
            Ok(out.write_str(&escaped(text))?)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// A text escaped for HTML, including attributes.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut html = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(character),
        }
    }
    Cow::Owned(html)
}

/// `1200 | money("JPY")`: minor units and their currency, `1,200円`.
fn money(state: &State, amount: &Value, currency: &str) -> Result<String, Error> {
    let amount =
        i64::try_from(amount.clone()).map_err(|_| wrong("money", "a whole number of minor units", amount))?;
    Ok(minor_in_words(amount, currency, locale(state)?))
}

/// `1234567 | number`: `1,234,567`.
fn number(number: &Value) -> Result<String, Error> {
    match number.kind() {
        ValueKind::Number => Ok(group_digits(&number.to_string())),
        _ => Err(wrong("number", "a number", number)),
    }
}

/// `active | count_or_dash("名")`: as `number`, with its unit if there is one, and a bare dash for a withheld count.
fn count_or_dash(count: &Value, unit: Option<&str>) -> Result<String, Error> {
    if count.is_none() {
        return Ok("–".to_owned());
    }
    Ok(format!("{}{}", number(count)?, unit.unwrap_or_default()))
}

/// `12.34 | percent`: `12.3%`.
fn percent(value: &Value) -> Result<String, Error> {
    Ok(format!("{}%", group_digits(&one_decimal("percent", value)?)))
}

/// `12.34 | change`: `+12.3%`, with its sign, and `±0%` for no change. `points=true` for the difference of two percentages:
/// `+12.3 points`, `+12.3ポイント`.
#[expect(clippy::needless_pass_by_value, reason = "a filter takes its options by value")]
fn change(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let are_points = options.get::<Option<bool>>("points")?.unwrap_or(false);
    options.assert_all_used()?;
    let unit = if are_points { locale(state)?.pick(" points", "ポイント", "%p") } else { "%" };
    let text = one_decimal("change", value)?;
    Ok(match text.strip_prefix('-') {
        Some(magnitude) => format!("-{}{unit}", group_digits(magnitude)),
        None if text == "0.0" => format!("±0{unit}"),
        None => format!("+{}{unit}", group_digits(&text)),
    })
}

/// `"2026-11-20" | date`: `2026年11月20日`; with `weekday=true` the day of the week too. A range,
/// `2026-11-01..2026-11-20`, is written as both days.
#[expect(clippy::needless_pass_by_value, reason = "a filter takes its options by value")]
fn date(state: &State, text: &str, options: Kwargs) -> Result<String, Error> {
    let parse = |text: &str| {
        text.parse::<NaiveDate>().map_err(|_| wrong("date", "a day such as 2026-11-20", &Value::from(text)))
    };
    if let Some((first, last)) = text.split_once("..") {
        let _: Option<bool> = options.get("weekday")?;
        options.assert_all_used()?;
        let locale = locale(state)?;
        let (first, last) = (day_in_words(parse(first)?, locale), day_in_words(parse(last)?, locale));
        return Ok(locale.pick(
            format!("{first} to {last}"),
            format!("{first}～{last}"),
            format!("{first}~{last}"),
        ));
    }
    let day = parse(text)?;
    let with_weekday = options.get::<Option<bool>>("weekday")?.unwrap_or(false);
    options.assert_all_used()?;
    let locale = locale(state)?;
    let words = day_in_words(day, locale);
    if !with_weekday {
        return Ok(words);
    }
    let weekday = weekday_in_words(day, locale);
    Ok(locale.pick(
        format!("{weekday} {words}"),
        format!("{words}（{weekday}）"),
        format!("{words}({weekday})"),
    ))
}

/// `"2026-11-20T00:05:00Z" | datetime`: `2026年11月20日 9:05` in the business time zone.
fn datetime(state: &State, text: &str, time_zone: Tz) -> Result<String, Error> {
    let instant = DateTime::parse_from_rfc3339(text)
        .map_err(|_| wrong("datetime", "an instant such as 2026-11-20T09:05:00+09:00", &Value::from(text)))?;
    Ok(time_in_words(instant.with_timezone(&time_zone).naive_local(), locale(state)?))
}

/// `value | figure(kind, currency)`: a value by its kind, `money`, `percent` or what is counted, which in Japanese and
/// Korean decides on the unit: `orders`, `people`, `carts`, `products`, or `count` for no unit.
fn figure(state: &State, value: &Value, kind: &str, currency: Option<&str>) -> Result<String, Error> {
    match (kind, currency) {
        ("money", Some(currency)) => money(state, value, currency),
        ("percent", _) => percent(value),
        // Money without a currency is a total over several currencies.
        ("money" | "count", _) => number(value),
        _ => {
            let (japanese, korean) = match kind {
                "orders" | "carts" => ("件", "건"),
                "people" => ("名", "명"),
                "products" => ("点", "개"),
                _ => return Err(wrong("figure", FIGURE_KINDS, &Value::from(kind))),
            };
            Ok(format!("{}{}", number(value)?, locale(state)?.pick("", japanese, korean)))
        }
    }
}

const FIGURE_KINDS: &str = "a kind: money, percent, orders, people, carts, products or count";

/// `text | wrap`: lines of at most 72 columns (`width`), each indented (`indent`), broken only at spaces; a text
/// without spaces, such as Japanese, is not wrapped.
#[expect(clippy::needless_pass_by_value, reason = "a filter takes its options by value")]
fn wrap(text: &str, options: Kwargs) -> Result<String, Error> {
    let width = options.get::<Option<usize>>("width")?.unwrap_or(72);
    let indent = " ".repeat(options.get::<Option<usize>>("indent")?.unwrap_or(0).min(width));
    options.assert_all_used()?;
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = indent.clone();
        for word in paragraph.split_whitespace() {
            let is_started = line.len() > indent.len();
            if is_started && line.width() + 1 + word.width() > width {
                lines.push(std::mem::replace(&mut line, indent.clone()));
            } else if is_started {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line.trim_end().to_owned());
    }
    Ok(lines.join("\n"))
}

/// Rounded half away from zero to one decimal; what rounds to zero has no sign.
fn one_decimal(filter: &str, value: &Value) -> Result<String, Error> {
    let number = f64::try_from(value.clone()).ok().filter(|number| number.is_finite());
    let Some(number) = number else { return Err(wrong(filter, "a number", value)) };
    let rounded = (number * 10.0).round() / 10.0;
    Ok(format!("{:.1}", if rounded == 0.0 { 0.0 } else { rounded }))
}

/// The language of the mail that is being rendered.
fn locale(state: &State) -> Result<Locale, Error> {
    let tag = state.lookup("locale");
    let known = tag.as_ref().and_then(Value::as_str).and_then(|tag| tag.parse().ok());
    known.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "`locale` is no longer the mail's language"))
}

fn wrong(filter: &str, expected: &str, value: &Value) -> Error {
    let shown = match value.kind() {
        ValueKind::Undefined => "an undefined value".to_owned(),
        ValueKind::None => "null".to_owned(),
        _ => format!("`{value}`"),
    };
    Error::new(ErrorKind::InvalidOperation, format!("{filter}: {shown} is not {expected}"))
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    fn render(expression: &str, locale: Locale) -> Result<String, String> {
        let environment = super::super::environment(None, chrono_tz::Asia::Tokyo);
        environment
            .render_str(&format!("{{{{ {expression} }}}}"), context! { locale => locale.tag() })
            .map_err(|error| error.detail().unwrap_or_default().to_owned())
    }

    #[test]
    fn a_value_is_written_in_the_mails_language() {
        let cases = [
            ("1200 | money('JPY')", ["¥1,200", "1,200円", "1,200엔"]),
            ("-12000 | money('KRW')", ["-₩12,000", "-12,000ウォン", "-12,000원"]),
            ("'2026-11-05' | date", ["5 November 2026", "2026年11月5日", "2026년 11월 5일"]),
            (
                "'2026-11-05' | date(weekday=true)",
                ["Thu 5 November 2026", "2026年11月5日（木）", "2026년 11월 5일(목)"],
            ),
            (
                "'2026-11-19T15:05:00Z' | datetime",
                ["20 November 2026, 00:05", "2026年11月20日 0:05", "2026년 11월 20일 00:05"],
            ),
            ("1234567 | number", ["1,234,567"; 3]),
            ("-1234.5 | number", ["-1,234.5"; 3]),
            ("1234.56 | percent", ["1,234.6%"; 3]),
            ("7 | count_or_dash", ["7"; 3]),
            ("1234 | count_or_dash('名')", ["1,234名"; 3]),
            ("none | count_or_dash('名')", ["–"; 3]),
            ("3.25 | change", ["+3.3%"; 3]),
            ("-0.26 | change", ["-0.3%"; 3]),
            ("-0.04 | change", ["±0%"; 3]),
            ("0 | change", ["±0%"; 3]),
            ("-0.4 | change(points=true)", ["-0.4 points", "-0.4ポイント", "-0.4%p"]),
            ("0 | change(points=false)", ["±0%"; 3]),
            ("7 | figure('count', none)", ["7"; 3]),
            ("1280 | figure('orders', none)", ["1,280", "1,280件", "1,280건"]),
            ("41 | figure('people', none)", ["41", "41名", "41명"]),
            ("7 | figure('products', none)", ["7", "7点", "7개"]),
            ("7 | figure('money', 'JPY')", ["¥7", "7円", "7엔"]),
            ("7 | figure('percent', none)", ["7.0%"; 3]),
        ];
        for (expression, [english, japanese, korean]) in cases {
            assert_eq!(render(expression, Locale::En).as_deref(), Ok(english), "{expression}");
            assert_eq!(render(expression, Locale::Ja).as_deref(), Ok(japanese), "{expression}");
            assert_eq!(render(expression, Locale::Ko).as_deref(), Ok(korean), "{expression}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_an_error_that_shows_it() {
        let cases = [
            ("'12' | money('JPY')", "money: `12` is not a whole number of minor units"),
            ("1.5 | money('JPY')", "money: `1.5` is not a whole number of minor units"),
            ("'many' | number", "number: `many` is not a number"),
            ("'20.11.2026' | date", "date: `20.11.2026` is not a day such as 2026-11-20"),
            ("'2026-02-30' | date", "date: `2026-02-30` is not a day such as 2026-11-20"),
            (
                "'2026-11-20' | datetime",
                "datetime: `2026-11-20` is not an instant such as 2026-11-20T09:05:00+09:00",
            ),
            ("'x' | percent", "percent: `x` is not a number"),
            (
                "7 | figure('weight', none)",
                "figure: `weight` is not a kind: money, percent, orders, people, carts, products or count",
            ),
        ];
        for (expression, message) in cases {
            assert_eq!(render(expression, Locale::En), Err(message.to_owned()), "{expression}");
        }
    }

    #[test]
    fn a_text_is_wrapped_only_at_spaces() {
        let cases = [
            ("'one two three' | wrap(width=8)", "one two\nthree"),
            ("'one two three' | wrap(width=9, indent=2)", "  one two\n  three"),
            ("'하나 둘 셋' | wrap(width=7)", "하나 둘\n셋"),
            ("'長い文章' | wrap(width=2)", "長い文章"),
            ("'a\\n\\nb' | wrap", "a\n\nb"),
            ("'' | wrap", ""),
        ];
        for (expression, wrapped) in cases {
            assert_eq!(render(expression, Locale::En).as_deref(), Ok(wrapped), "{expression}");
        }
    }
}
