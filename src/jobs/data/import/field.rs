//! Turns a record's text into typed values: where each column is, and what a field means.
//!
//! A problem with a field is a sentence that begins with our name of the column.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, Utc};
use chrono_tz::Tz;

use crate::config::ImportFile;
use crate::failure::{Failure, one_line};
use crate::money::{MAX_AMOUNT, is_known_currency, parse_major};
use crate::period::local_to_utc;
use crate::shop::malls::Mall;

use super::reader::Record;

/// No real field is longer; an unclosed quote or a wrong delimiter produces longer ones.
const MAX_FIELD_CHARACTERS: usize = 10_000;
/// Decimals of a second that both databases store.
const SUBSECOND_DIGITS: u16 = 6;
/// Earlier years are placeholders of systems without NULL, or two-digit years.
const FIRST_YEAR: i32 = 1900;
/// Both databases sort years of four digits in the same way.
const LAST_YEAR: i32 = 9999;

/// A typed field, or what is wrong with it.
pub(super) type Parsed<T> = Result<T, String>;

/// A column of a kind of file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Our name for it.
    pub(super) name: &'static str,
    /// Whether a file without it is refused.
    pub(super) is_required: bool,
    /// The only values that it may have; none if it holds something else.
    pub(super) words: &'static [&'static str],
}

impl Column {
    /// Restricts it to one of these values.
    pub(super) const fn one_of(self, words: &'static [&'static str]) -> Self {
        Self { words, ..self }
    }
}

/// The values of a yes-or-no column.
pub(super) const YES_OR_NO: &[&str] = &["yes", "no"];

/// A required column.
pub(super) const fn required(name: &'static str) -> Column {
    Column { name, is_required: true, words: &[] }
}

/// An optional column.
pub(super) const fn optional(name: &'static str) -> Column {
    Column { name, is_required: false, words: &[] }
}

/// The mall's column: the first of every kind.
pub(super) const MALL: usize = 0;

/// What a row's values need to know about its mall.
#[derive(Debug, Clone)]
pub(super) struct Shop {
    /// Its id.
    pub(super) id: i64,
    /// Its currency.
    pub(super) currency: String,
    time_zone: Tz,
}

impl Shop {
    /// The values of a mall whose time zone exists.
    fn new(mall: &Mall) -> anyhow::Result<Self> {
        Ok(Self { id: mall.id, currency: mall.currency.clone(), time_zone: mall.time_zone()? })
    }
}

/// The names of a file's columns, and what their values mean.
#[derive(Debug)]
pub(super) struct Layout {
    /// The kind of file, as `[import.KIND]` names it.
    kind: &'static str,
    columns: Vec<Column>,
    /// Where each of our columns is in the file.
    places: Vec<Option<usize>>,
    /// The mapping of the file's values to ours, by our column.
    values: Vec<Option<BTreeMap<String, String>>>,
    time_format: Option<String>,
    shops: HashMap<String, Result<Shop, String>>,
    /// The mall of the whole file, from a flag or the configuration.
    mall: Option<String>,
}

impl Layout {
    /// Finds the columns in a header. `mall` is the one that the whole file belongs to, if specified.
    pub(super) fn new(
        kind: &'static str,
        file_name: &str,
        header: &[String],
        columns: Vec<Column>,
        config: &ImportFile,
        malls: &[Mall],
        mall: Option<String>,
    ) -> Result<Self, Failure> {
        refuse_duplicate_names(file_name, header)?;
        let mut places = Vec::with_capacity(columns.len());
        let mut missing = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            let wanted = config.columns.get(column.name).map_or(column.name, |name| name.trim());
            let place = header.iter().position(|name| name == wanted);
            let is_required = column.is_required || (index == MALL && mall.is_none());
            // Whoever maps a column expects it: reading it as empty would make wrong figures without a word.
            let is_mapped = config.columns.contains_key(column.name);
            if place.is_none() && (is_required || is_mapped) {
                missing.push((column.name, wanted));
            }
            places.push(place);
        }
        if !missing.is_empty() {
            let codes: Vec<&str> = malls.iter().map(|mall| mall.code.as_str()).collect();
            return Err(missing_columns(kind, file_name, header, &missing, mall.is_none().then_some(&codes)));
        }
        let values = columns.iter().map(|column| config.values.get(column.name).cloned()).collect();
        // A mall that cannot be used fails its own lines only.
        let shop = |mall: &Mall| Shop::new(mall).map_err(|error| one_line(&error));
        let shops = malls.iter().map(|mall| (mall.code.clone(), shop(mall))).collect();
        Ok(Self { kind, columns, places, values, time_format: config.time_format.clone(), shops, mall })
    }

    /// Whether the file has a column.
    pub(super) fn has(&self, column: usize) -> bool {
        self.places[column].is_some()
    }

    /// The fields of a record.
    pub(super) fn fields<'r>(&'r self, record: &'r Record) -> Fields<'r> {
        Fields { layout: self, record }
    }
}

fn refuse_duplicate_names(file_name: &str, header: &[String]) -> Result<(), Failure> {
    for (place, name) in header.iter().enumerate() {
        if !name.is_empty() && header[..place].contains(name) {
            return Err(Failure::bad_input(format!(
                "failed to read `{file_name}`: line 1: two columns are named `{name}`"
            )));
        }
    }
    Ok(())
}

/// `malls` are the codes of the malls that the file could belong to, if it has to say so itself.
fn missing_columns(
    kind: &str,
    file_name: &str,
    header: &[String],
    missing: &[(&str, &str)],
    malls: Option<&Vec<&str>>,
) -> Failure {
    let names: Vec<String> = missing
        .iter()
        .map(|(ours, wanted)| {
            if ours == wanted { format!("`{ours}`") } else { format!("`{ours}` (looked for as `{wanted}`)") }
        })
        .collect();
    let found: Vec<String> = header.iter().map(|name| format!("`{name}`")).collect();
    let failure = Failure::bad_input(format!(
        "failed to read `{file_name}`: line 1: missing column {}; the header has {}",
        names.join(", "),
        found.join(", ")
    ));
    if let [only] = header
        && let Some(delimiter) = ['\t', ';', ',', '|'].into_iter().find(|delimiter| only.contains(*delimiter))
    {
        let flag = match delimiter {
            '\t' => "--delimiter tab".to_owned(),
            delimiter => format!("--delimiter '{delimiter}'"),
        };
        let always = format!("`delimiter = \"{}\"`", delimiter.escape_default());
        return failure
            .hint(format!(
                "the fields seem to be separated by {delimiter:?}: add {flag}; if such files always are, set {always} in \
                 [import.{kind}] of batchctl.toml"
            ))
            .retry_with(flag);
    }
    match (missing, malls.map(Vec::as_slice)) {
        ([("mall", _)], Some([only])) => {
            let flag = format!("--mall {only}");
            failure.hint(format!("name the mall of the whole file: add {flag}")).retry_with(flag)
        }
        ([("mall", _)], Some(malls)) => failure
            .hint(format!("name the mall of the whole file with --mall CODE{}", known_malls(malls)))
            .retry_with("--mall CODE"),
        _ if missing.iter().any(|(ours, wanted)| ours != wanted) => failure.hint(format!(
            "correct the names in batchctl.toml, [import.{kind}.columns], or remove the columns that the file does not have"
        )),
        _ => failure.hint(format!(
            "map the file's column names in batchctl.toml: [import.{kind}.columns] ours = \"theirs\""
        )),
    }
}

/// The most malls that a message lists.
const MAX_LISTED_MALLS: usize = 5;

/// `; the malls are osaka, tokyo`, as long as that is a short list.
fn known_malls(codes: &[&str]) -> String {
    match codes.len() {
        0 => String::new(),
        1..=MAX_LISTED_MALLS => format!("; the malls are {}", codes.join(", ")),
        _ => "; `batchctl mall list` shows the malls".to_owned(),
    }
}

/// The fields of one record.
#[derive(Clone, Copy)]
pub(super) struct Fields<'r> {
    layout: &'r Layout,
    record: &'r Record,
}

impl<'r> Fields<'r> {
    /// Whether the file has a column.
    pub(super) fn has(&self, column: usize) -> bool {
        self.layout.has(column)
    }

    /// A field as it is in the file; empty for a column that the file does not have.
    pub(super) fn raw(&self, column: usize) -> &'r str {
        self.layout.places[column].map_or("", |place| self.record.field(place))
    }

    /// A field with its value mapped by the configuration.
    pub(super) fn meant(&self, column: usize) -> &'r str {
        let raw = self.raw(column);
        match &self.layout.values[column] {
            Some(values) => values.get(raw).map_or(raw, String::as_str),
            None => raw,
        }
    }

    /// Whether all of our columns mean the same in both records.
    pub(super) fn equal(&self, other: &Fields<'_>) -> bool {
        (0..self.layout.columns.len()).all(|column| self.meant(column) == other.meant(column))
    }

    /// A message about what is wrong with a column.
    pub(super) fn wrong(&self, column: usize, problem: &str) -> String {
        format!("`{}`: {problem}", self.layout.columns[column].name)
    }

    /// A text that may be empty.
    pub(super) fn optional_text(&self, column: usize) -> Parsed<Option<&'r str>> {
        let raw = self.raw(column);
        if raw.len() > MAX_FIELD_CHARACTERS && raw.chars().count() > MAX_FIELD_CHARACTERS {
            return Err(self.wrong(column, &format!("is longer than {MAX_FIELD_CHARACTERS} characters")));
        }
        let meant = self.meant(column);
        Ok((!meant.is_empty()).then_some(meant))
    }

    /// A text that must not be empty.
    pub(super) fn text(&self, column: usize) -> Parsed<&'r str> {
        self.optional_text(column)?.ok_or_else(|| self.wrong(column, "is empty"))
    }

    /// One of the column's values.
    pub(super) fn word(&self, column: usize) -> Parsed<&'static str> {
        self.optional_word(column)?.ok_or_else(|| self.wrong(column, "is empty"))
    }

    /// One of the column's values that may be missing.
    pub(super) fn optional_word(&self, column: usize) -> Parsed<Option<&'static str>> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        let words = self.layout.columns[column].words;
        words.iter().find(|word| **word == text).copied().map(Some).ok_or_else(|| {
            let problem = format!(
                "`{text}` is not one of {}: map it in batchctl.toml, [import.{}.values.{}]",
                words.join(", "),
                self.layout.kind,
                self.layout.columns[column].name
            );
            self.wrong(column, &problem)
        })
    }

    /// Yes or no; no if it is empty.
    pub(super) fn is_yes(&self, column: usize) -> Parsed<bool> {
        Ok(self.optional_word(column)? == Some("yes"))
    }

    /// A calendar day that may be empty: `YYYY-MM-DD`, or the day of a time in the configured format.
    pub(super) fn optional_day(&self, column: usize) -> Parsed<Option<NaiveDate>> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        let parsed = parse_day(text).or_else(|| {
            let format = self.layout.time_format.as_deref()?;
            NaiveDate::parse_from_str(text, format)
                .or_else(|_| NaiveDateTime::parse_from_str(text, format).map(|time| time.date()))
                .ok()
        });
        parsed.filter(|day| (FIRST_YEAR..=LAST_YEAR).contains(&day.year())).map(Some).ok_or_else(|| {
            self.wrong(column, &format!("`{text}` is not a day that exists: write YYYY-MM-DD"))
        })
    }

    /// The last four digits of a card, which may be empty. Nobody should store more of the number.
    pub(super) fn optional_last_four(&self, column: usize) -> Parsed<Option<&'r str>> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        if text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Some(text));
        }
        // The value stays out of the message: it may be the whole number.
        Err(self.wrong(column, "is not the last four digits of a card"))
    }

    /// A whole number that may be empty.
    pub(super) fn optional_integer(&self, column: usize) -> Parsed<Option<i64>> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        // JPY has no decimals: an amount in it is a whole number, with the same error messages.
        match parse_major(text, "JPY") {
            Ok(number) => Ok(Some(number)),
            Err(error) => {
                Err(self
                    .wrong(column, &error.to_string().replace("too many decimals: JPY has 0", "decimals")))
            }
        }
    }

    /// A whole number that must not be empty.
    pub(super) fn integer(&self, column: usize) -> Parsed<i64> {
        self.optional_integer(column)?.ok_or_else(|| self.wrong(column, "is empty"))
    }

    /// An amount in minor units that may be empty.
    pub(super) fn optional_money(&self, column: usize, currency: &str) -> Parsed<Option<i64>> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        parse_major(text, currency).map(Some).map_err(|error| self.wrong(column, &error.to_string()))
    }

    /// An amount in minor units that must not be empty.
    pub(super) fn money(&self, column: usize, currency: &str) -> Parsed<i64> {
        self.optional_money(column, currency)?.ok_or_else(|| self.wrong(column, "is empty"))
    }

    /// An amount that is not negative, even where it is deducted. `if_negative` is what to do about one that is.
    pub(super) fn positive_money(
        &self,
        column: usize,
        currency: &str,
        if_negative: &str,
    ) -> Parsed<Option<i64>> {
        match self.optional_money(column, currency)? {
            Some(amount) if amount < 0 => Err(self.negative(column, if_negative)),
            amount => Ok(amount),
        }
    }

    /// A message about a negative number, with what it most likely is. To drop its sign is never the advice: it would
    /// turn a refund into a sale.
    pub(super) fn negative(&self, column: usize, if_negative: &str) -> String {
        self.wrong(column, &format!("`{}` is negative: {if_negative}", self.raw(column)))
    }

    /// A currency that may be empty.
    pub(super) fn currency(&self, column: usize, default: &'r str) -> Parsed<&'r str> {
        match self.optional_text(column)? {
            None => Ok(default),
            Some(currency) if is_known_currency(currency) => Ok(currency),
            Some(other) => Err(self
                .wrong(column, &format!("`{other}` is not a currency: write an ISO 4217 code such as JPY"))),
        }
    }

    /// An instant that may be empty.
    pub(super) fn optional_time(&self, column: usize, shop: &Shop) -> Parsed<Option<DateTime<Utc>>> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        let parsed = match &self.layout.time_format {
            Some(format) => formatted_time(text, format, shop.time_zone),
            None => plain_time(text, shop.time_zone),
        };
        parsed.and_then(within_years(text)).map(Some).map_err(|problem| self.wrong(column, &problem))
    }

    /// An instant that must not be empty.
    pub(super) fn time(&self, column: usize, shop: &Shop) -> Parsed<DateTime<Utc>> {
        self.optional_time(column, shop)?.ok_or_else(|| self.wrong(column, "is empty"))
    }

    /// The code of the record's mall, whether it exists or not.
    pub(super) fn mall_code(&self) -> &'r str {
        match self.layout.values[MALL].as_ref().and_then(|values| values.get(self.raw(MALL))) {
            Some(translated) => translated,
            None if self.raw(MALL).is_empty() => self.layout.mall.as_deref().unwrap_or_default(),
            None => self.raw(MALL),
        }
    }

    /// The record's mall: from its column, otherwise that of the whole file; both must agree.
    pub(super) fn shop(&self) -> Parsed<&'r Shop> {
        let code = self.mall_code();
        if code.is_empty() {
            return Err(self.wrong(MALL, "is empty"));
        }
        if let Some(mall) = &self.layout.mall
            && mall != code
        {
            return Err(self.wrong(MALL, &format!("`{code}` is not the mall of this import, `{mall}`")));
        }
        match self.layout.shops.get(code) {
            Some(Ok(shop)) => Ok(shop),
            Some(Err(problem)) => Err(self.wrong(MALL, problem)),
            None => {
                let mut codes: Vec<&str> = self.layout.shops.keys().map(String::as_str).collect();
                codes.sort_unstable();
                Err(self
                    .wrong(MALL, &format!("unknown mall `{code}`: correct the code{}", known_malls(&codes))))
            }
        }
    }
}

/// What the buyer pays for a line, if that is an amount.
pub(super) fn line_amount(quantity: i64, unit_price: i64, discount: i64) -> Parsed<i64> {
    let amount = quantity.checked_mul(unit_price).and_then(|amount| amount.checked_sub(discount));
    amount.filter(|amount| amount.unsigned_abs() <= MAX_AMOUNT.unsigned_abs()).ok_or_else(|| {
        format!("`quantity` times `unit_price_amount` is too large an amount: {quantity} × {unit_price} minor units")
    })
}

/// `YYYY-MM-DD` and nothing else.
fn parse_day(text: &str) -> Option<NaiveDate> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    (day.to_string() == text).then_some(day)
}

fn within_years(text: &str) -> impl Fn(DateTime<Utc>) -> Parsed<DateTime<Utc>> {
    move |time| match time.year() {
        FIRST_YEAR..=LAST_YEAR => Ok(time.trunc_subsecs(SUBSECOND_DIGITS)),
        _ => Err(format!("`{text}` has an implausible year: write four digits")),
    }
}

/// A time in the configured format.
fn formatted_time(text: &str, format: &str, time_zone: Tz) -> Parsed<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_str(text, format) {
        return Ok(time.to_utc());
    }
    let local = NaiveDateTime::parse_from_str(text, format).or_else(|error| {
        // A format without a time of day: the day begins at midnight.
        NaiveDate::parse_from_str(text, format).map(|day| day.and_time(NaiveTime::MIN)).map_err(|_| error)
    });
    match local {
        Ok(local) => local_to_utc(local, time_zone).map_err(|error| error.to_string()),
        Err(error) if error.kind() == chrono::format::ParseErrorKind::OutOfRange => {
            Err(format!("`{text}` is not a time that exists"))
        }
        Err(_) => Err(format!("`{text}` is not a time in the format `{format}` of batchctl.toml")),
    }
}

/// `YYYY-MM-DD HH:MM[:SS[.ffffff]]`, with a space or a `T` in between; with an offset or `Z` (RFC 3339) it is an
/// instant, without one it is local.
fn plain_time(text: &str, time_zone: Tz) -> Parsed<DateTime<Utc>> {
    let unreadable = || {
        format!(
            "`{text}` is not a time: write YYYY-MM-DD HH:MM:SS (local), or RFC 3339 with its offset, or set time_format"
        )
    };
    let missing = || format!("`{text}` is not a time that exists");
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u32> {
        bytes.get(from..to)?.iter().try_fold(0_u32, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
        })
    };
    let is_at = |place: usize, wanted: &[u8]| bytes.get(place).is_some_and(|byte| wanted.contains(byte));
    let shaped = is_at(4, b"-") && is_at(7, b"-") && is_at(10, b" Tt") && is_at(13, b":");
    let parts = (number(0, 4), number(5, 7), number(8, 10), number(11, 13), number(14, 16));
    let (Some(year), Some(month), Some(day), Some(hour), Some(minute)) = parts else {
        return Err(unreadable());
    };
    if !shaped {
        return Err(unreadable());
    }
    let mut end = 16;
    let (mut second, mut nanosecond) = (0, 0);
    if is_at(end, b":") {
        second = number(17, 19).ok_or_else(unreadable)?;
        end = 19;
        if is_at(end, b".") {
            let digits = bytes[20..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return Err(unreadable());
            }
            let padding = u32::try_from(9 - digits).unwrap_or(0);
            nanosecond = number(20, 20 + digits).ok_or_else(unreadable)? * 10_u32.pow(padding);
            end = 20 + digits;
        }
    }
    let local = i32::try_from(year)
        .ok()
        .and_then(|year| NaiveDate::from_ymd_opt(year, month, day))
        .and_then(|day| day.and_hms_nano_opt(hour, minute, second, nanosecond))
        .ok_or_else(missing)?;
    match &bytes[end..] {
        [] => local_to_utc(local, time_zone).map_err(|error| error.to_string()),
        b"Z" | b"z" => Ok(local.and_utc()),
        [sign @ (b'+' | b'-'), rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            let (Some(hours), Some(minutes)) = (number(end + 1, end + 3), number(end + 4, end + 6)) else {
                return Err(unreadable());
            };
            if hours > 23 || minutes > 59 {
                return Err(missing());
            }
            let offset = chrono::TimeDelta::minutes(i64::from(hours * 60 + minutes));
            let local = local.and_utc();
            Ok(if *sign == b'+' { local - offset } else { local + offset })
        }
        _ => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str, zone: Tz) -> String {
        match plain_time(text, zone) {
            Ok(time) => time.to_rfc3339(),
            Err(problem) => problem,
        }
    }

    #[test]
    fn a_time_is_local_or_has_an_offset() {
        let cases = [
            ("2026-11-19 08:30", "2026-11-18T23:30:00+00:00"),
            ("2026-11-19 08:30:15", "2026-11-18T23:30:15+00:00"),
            ("2026-11-19T08:30:15.25", "2026-11-18T23:30:15.250+00:00"),
            ("2026-11-19T08:30:15Z", "2026-11-19T08:30:15+00:00"),
            ("2026-11-19T08:30:15.123456+09:00", "2026-11-18T23:30:15.123456+00:00"),
            ("2026-11-19 08:30:15-05:30", "2026-11-19T14:00:15+00:00"),
        ];
        for (text, expected) in cases {
            assert_eq!(time(text, chrono_tz::Asia::Tokyo), expected, "{text}");
        }
    }

    #[test]
    fn a_time_that_does_not_exist_is_reported() {
        let tokyo = chrono_tz::Asia::Tokyo;
        for text in
            ["2026-02-30 10:00", "2026-11-19 24:00", "2026-13-01 00:00:00", "2026-11-19 08:30:15+24:00"]
        {
            assert_eq!(time(text, tokyo), format!("`{text}` is not a time that exists"));
        }
        for text in [
            "2026/11/19 08:30",
            "2026-11-19",
            "19.11.2026",
            "2026-11-19 8:30",
            "2026-11-19 08:30:15.",
            "2026-11-19 08:30x",
        ] {
            assert!(time(text, tokyo).contains("is not a time: write"), "{text}: {}", time(text, tokyo));
        }
        let gap = time("2026-03-29 02:30", chrono_tz::Europe::Berlin);
        assert_eq!(gap, "2026-03-29 02:30 does not exist in Europe/Berlin");
    }

    #[test]
    fn a_custom_format_may_omit_the_time_of_day() {
        let tokyo = chrono_tz::Asia::Tokyo;
        let read = |text, format| formatted_time(text, format, tokyo).map(|time| time.to_rfc3339());
        assert_eq!(read("2026/11/19 08:30", "%Y/%m/%d %H:%M"), Ok("2026-11-18T23:30:00+00:00".to_owned()));
        assert_eq!(read("20261119", "%Y%m%d"), Ok("2026-11-18T15:00:00+00:00".to_owned()));
        assert_eq!(
            read("2026-11-19 08:30 +0100", "%Y-%m-%d %H:%M %z"),
            Ok("2026-11-19T07:30:00+00:00".to_owned())
        );
        assert_eq!(
            read("2026/02/30 08:30", "%Y/%m/%d %H:%M"),
            Err("`2026/02/30 08:30` is not a time that exists".to_owned())
        );
        assert!(read("x", "%Y").is_err_and(|problem| problem.contains("in the format `%Y`")));
    }

    /// Documented in `docs/import.md`, since both are decisions: other programs take the second instant, or shift a time
    /// that was skipped.
    #[test]
    fn where_the_clock_changes_the_first_of_two_instants_counts_and_a_skipped_time_is_bad() {
        let new_york = chrono_tz::America::New_York;
        let formatted = |text| match formatted_time(text, "%Y/%m/%d %H:%M", new_york) {
            Ok(time) => time.to_rfc3339(),
            Err(problem) => problem,
        };
        let twice = ["2026-11-01 01:30", "2026-11-01T01:30:00", "2026-11-01 01:30:00-04:00"];
        assert_eq!(twice.map(|text| time(text, new_york)), ["2026-11-01T05:30:00+00:00"; 3]);
        assert_eq!(formatted("2026/11/01 01:30"), "2026-11-01T05:30:00+00:00");
        // The second one can be written only with its offset.
        assert_eq!(time("2026-11-01 01:30:00-05:00", new_york), "2026-11-01T06:30:00+00:00");

        let skipped = "2026-03-08 02:30 does not exist in America/New_York";
        assert_eq!([time("2026-03-08 02:30", new_york), formatted("2026/03/08 02:30")], [skipped; 2]);
        assert_eq!(time("2026-03-08 03:30", new_york), "2026-03-08T07:30:00+00:00");
    }

    #[test]
    fn an_amount_that_exceeds_64_bits_is_refused() {
        assert_eq!(line_amount(3, 100, 50), Ok(250));
        assert!(line_amount(i64::MAX, 2, 0).is_err());
        assert!(line_amount(1, i64::MIN, 1).is_err());
    }
}
