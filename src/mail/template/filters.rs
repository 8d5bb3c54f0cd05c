//! What templates write numbers, money, days and times with, each in the mail's own language.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate};
use chrono_tz::Tz;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State};
use unicode_width::UnicodeWidthStr;

use crate::locale::{Locale, day_in_words, group_digits, time_in_words, weekday_in_words};
use crate::money::minor_in_words;

/// Adds all of them.
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

/// Writes a value: escaped in HTML, and never a null, which would be read as a word by a customer.
pub(super) fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, "the value is null: ask for it with `if`"));
    }
    match value.as_str() {
        // The engine's own way writes every `/` of a link as `&#x2f;`.
        Some(text) if *state.auto_escape() == AutoEscape::Html && !value.is_safe() => {
            Ok(out.write_str(&escaped(text))?)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// A text as it stands in HTML, in an attribute too.
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

/// `active | count_or_dash`: as `number`, and a dash for a count that is withheld.
fn count_or_dash(count: &Value) -> Result<String, Error> {
    if count.is_none() { Ok("–".to_owned()) } else { number(count) }
}

/// `12.34 | percent`: `12.3%`.
fn percent(value: &Value) -> Result<String, Error> {
    Ok(format!("{}%", group_digits(&one_decimal("percent", value)?)))
}

/// `12.34 | change`: `+12.3%`, with its sign, and `±0%` for none.
fn change(value: &Value) -> Result<String, Error> {
    let text = one_decimal("change", value)?;
    Ok(match text.strip_prefix('-') {
        Some(magnitude) => format!("−{}%", group_digits(magnitude)),
        None if text == "0.0" => "±0%".to_owned(),
        None => format!("+{}%", group_digits(&text)),
    })
}

/// `"2026-11-20" | date`: `2026年11月20日`; with `weekday=true` the day of the week behind it. Days from one to
/// another, `2026-11-01..2026-11-20`, are written as both.
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

/// `value | figure(kind, currency)`: a value by its kind, `money`, `percent` or `count`.
fn figure(state: &State, value: &Value, kind: &str, currency: Option<&str>) -> Result<String, Error> {
    match (kind, currency) {
        ("money", Some(currency)) => money(state, value, currency),
        // An amount of several currencies, or of none.
        ("money", None) => number(value),
        ("percent", _) => percent(value),
        ("count", _) => number(value),
        _ => Err(wrong("figure", "a kind: money, percent or count", &Value::from(kind))),
    }
}

/// `text | wrap`: lines of at most 72 columns (`width`), each indented (`indent`), broken at spaces alone; a text without
/// spaces, as Japanese is, stays as it is.
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

/// Rounded half away from zero to one decimal; what rounds to nothing has no sign.
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
    known.ok_or_else(|| {
        Error::new(ErrorKind::InvalidOperation, "`locale` is not the mail's language any more")
    })
}

fn wrong(filter: &str, expected: &str, value: &Value) -> Error {
    let shown = if value.is_undefined() { "undefined".to_owned() } else { format!("`{value}`") };
    Error::new(ErrorKind::InvalidOperation, format!("{filter}: {shown} is not {expected}"))
}
