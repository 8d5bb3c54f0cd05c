//! Turns a record's text into typed values: where each column is, and what a field means.
//!
//! A problem with a field is a sentence that begins with our name of the column.

use std::borrow::Cow;
use std::sync::LazyLock;

use chrono::{DateTime, Datelike, NaiveDate, SubsecRound, Utc};
use chrono_tz::Tz;

use crate::money::{CURRENCY_SIGNS, MAX_AMOUNT, is_known_currency, parse_major};
use crate::period::local_to_utc;
use crate::shop::malls::Mall;
use crate::time_format::{Moment, TimeFormat, TimeFormatError};

use super::layout::{Layout, Sum, known_malls};
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

/// What is wrong with a line: everything, and not only what was found first.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    /// Those of a line that were found when its fields were derived.
    pub(super) fn of(record: &Record) -> Self {
        Self(record.problems.clone())
    }

    /// The value, or any value beside a problem.
    pub(super) fn take<T: Default>(&mut self, parsed: Parsed<T>) -> T {
        parsed.unwrap_or_else(|problem| {
            self.add(problem);
            T::default()
        })
    }

    /// Adds a problem, unless its column has one already: the one follows from the other.
    pub(super) fn add(&mut self, problem: String) {
        let column = |problem: &str| problem.split_once("`: ").map(|(column, _)| column.to_owned());
        let own = column(&problem);
        if own.is_none() || self.0.iter().all(|other| column(other) != own) {
            self.0.push(problem);
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// What the fields of a column hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A text, or one of some words.
    Text,
    /// An amount of money.
    Amount,
    /// A number.
    Number,
    /// An instant or a day.
    Time,
}

/// A column of a kind of file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Our name for it.
    pub(super) name: &'static str,
    /// Whether a file without it is refused.
    pub(super) is_required: bool,
    /// The only values that it may have; none if it holds something else.
    pub(super) words: &'static [&'static str],
    /// What its fields hold.
    pub(super) holds: Holds,
    /// Whether it may differ between the lines of a record.
    pub(super) is_of_line: bool,
}

impl Column {
    /// Restricts it to one of these values.
    pub(super) const fn one_of(self, words: &'static [&'static str]) -> Self {
        Self { words, ..self }
    }

    /// Makes it hold something else than text.
    pub(super) const fn holding(self, holds: Holds) -> Self {
        Self { holds, ..self }
    }

    /// Whether it holds an amount of money.
    pub(super) fn is_amount(&self) -> bool {
        self.holds == Holds::Amount
    }
}

/// The values of a yes-or-no column.
pub(super) const YES_OR_NO: &[&str] = &["yes", "no"];

/// A required column.
pub(super) const fn required(name: &'static str) -> Column {
    Column { name, is_required: true, words: &[], holds: Holds::Text, is_of_line: false }
}

/// An optional column.
pub(super) const fn optional(name: &'static str) -> Column {
    Column { is_required: false, ..required(name) }
}

/// An optional column for an amount of money.
pub(super) const fn amount(name: &'static str) -> Column {
    optional(name).holding(Holds::Amount)
}

/// An optional column for a time.
pub(super) const fn time(name: &'static str) -> Column {
    optional(name).holding(Holds::Time)
}

impl Column {
    /// Refuses a file without it.
    pub(super) const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }
}

/// Stands for the place of a part of an amount that a rule gave.
pub(super) const RULED: usize = usize::MAX;

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
    pub(super) fn new(mall: &Mall) -> anyhow::Result<Self> {
        Ok(Self { id: mall.id, currency: mall.currency.clone(), time_zone: mall.time_zone()? })
    }
}

/// Stands in for a mall that is not known, so that the rest of its line is checked too: with as many decimals as any
/// currency has.
static ANY_SHOP: LazyLock<Shop> =
    LazyLock::new(|| Shop { id: 0, currency: "CLF".to_owned(), time_zone: Tz::UTC });

/// The fields of one record.
#[derive(Clone, Copy)]
pub(super) struct Fields<'r> {
    layout: &'r Layout,
    record: &'r Record,
}

impl<'r> Fields<'r> {
    /// The fields of a record.
    pub(super) fn new(layout: &'r Layout, record: &'r Record) -> Self {
        Self { layout, record }
    }

    /// The record.
    pub(super) fn record(&self) -> &'r Record {
        self.record
    }

    /// How the file is read.
    pub(super) fn layout(&self) -> &'r Layout {
        self.layout
    }

    /// Whether the file has a column.
    pub(super) fn has(&self, column: usize) -> bool {
        self.layout.has(column)
    }

    /// A field as the file writes it; empty for a column that the file does not have.
    pub(super) fn raw(&self, column: usize) -> &'r str {
        self.layout.written[column].map_or("", |place| self.record.field(place))
    }

    /// A field with its value mapped by the configuration.
    pub(super) fn meant(&self, column: usize) -> &'r str {
        self.layout.places[column].map_or("", |place| self.record.field(place))
    }

    /// Whether a column means the same in both records.
    pub(super) fn is_same(&self, other: &Fields<'_>, column: usize) -> bool {
        match (self.layout.places[column], &self.layout.sums[column]) {
            (Some(place), None) => self.record.field(place) == other.record.field(place),
            (None, None) => true,
            (_, Some(sum)) => match (sum.ruled(self.record), sum.ruled(other.record)) {
                (None, None) => {
                    sum.places().all(|place| self.record.field(place) == other.record.field(place))
                }
                (own, other) => own == other,
            },
        }
    }

    /// Whether the file leaves a column blank, whatever the mapping makes of that.
    pub(super) fn is_blank(&self, column: usize) -> bool {
        match &self.layout.sums[column] {
            None => self.raw(column).is_empty(),
            Some(sum) => sum.written.iter().all(|place| self.record.field(*place).is_empty()),
        }
    }

    /// A field as the file writes it, for messages; the parts of one that is made of several.
    pub(super) fn shown(&self, column: usize) -> Cow<'r, str> {
        match &self.layout.sums[column] {
            None => Cow::Borrowed(self.raw(column)),
            Some(sum) => {
                let parts: Vec<&str> = sum.written.iter().map(|place| self.record.field(*place)).collect();
                Cow::Owned(parts.join(" + "))
            }
        }
    }

    /// What a column means, for messages: what a rule says instead of what the file writes.
    pub(super) fn shown_as_meant(&self, column: usize) -> Cow<'r, str> {
        match &self.layout.sums[column] {
            None => Cow::Borrowed(self.meant(column)),
            Some(sum) => sum
                .ruled(self.record)
                .map_or_else(|| self.shown(column), |ruled| Cow::Owned(ruled.to_owned())),
        }
    }

    /// Whether a rule says what an amount is that would be made of others.
    pub(super) fn is_ruled(&self, column: usize) -> bool {
        self.layout.sums[column].as_ref().is_some_and(|sum| sum.ruled(self.record).is_some())
    }

    /// Whether an amount that the column deducts is negative, and so adds to it.
    pub(super) fn has_negative_deduction(&self, column: usize) -> bool {
        let Some(sum) = &self.layout.sums[column] else { return false };
        let is_negative = |place: &usize| {
            let text = self.record.field(*place);
            // The signs of currencies may stand before a minus.
            text.contains('-') && self.number(text, "CLF").is_ok_and(|amount| amount < 0)
        };
        sum.ruled(self.record).is_none() && sum.minus.iter().any(is_negative)
    }

    /// Whether all of our columns mean the same in both records.
    pub(super) fn equal(&self, other: &Fields<'_>) -> bool {
        (0..self.layout.columns.len()).all(|column| self.is_same(other, column))
    }

    /// A message about what is wrong with a column.
    pub(super) fn wrong(&self, column: usize, problem: &str) -> String {
        format!("`{}`: {problem}", self.layout.columns[column].name)
    }

    /// A text that may be empty.
    pub(super) fn optional_text(&self, column: usize) -> Parsed<Option<&'r str>> {
        let Some(place) = self.layout.places[column] else { return Ok(None) };
        let text = self.record.field(place);
        if text.len() > MAX_FIELD_CHARACTERS && text.chars().count() > MAX_FIELD_CHARACTERS {
            return Err(self.wrong(column, &format!("is longer than {MAX_FIELD_CHARACTERS} characters")));
        }
        Ok((!text.is_empty()).then_some(text))
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
            let table = format!("values.{}", self.layout.columns[column].name);
            let place = self.layout.mapping.at(&table);
            self.wrong(column, &format!("`{text}` is not one of {}: map it in {place}", words.join(", ")))
        })
    }

    /// Yes or no; no if it is empty.
    pub(super) fn is_yes(&self, column: usize) -> Parsed<bool> {
        Ok(self.optional_word(column)? == Some("yes"))
    }

    /// A calendar day that may be empty: `YYYY-MM-DD`, or the day of a time in the configured format.
    pub(super) fn optional_day(&self, column: usize) -> Parsed<Option<NaiveDate>> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        let parsed = parse_day(text)
            .or_else(|| self.layout.time_formats[column].iter().find_map(|format| format.day(text)));
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
        self.number(text, "JPY").map(Some).map_err(|problem| {
            self.wrong(column, &problem.replace("too many decimals: JPY has 0", "decimals"))
        })
    }

    /// A number as the file writes numbers.
    fn number(&self, text: &str, currency: &str) -> Parsed<i64> {
        let plain = match &self.layout.amounts {
            None => Cow::Borrowed(text),
            Some(style) => style.plain(text).map_err(|error| error.to_string())?,
        };
        parse_major(&plain, currency).map_err(|error| error.to_string())
    }

    /// The keys of the section that may make an amount readable that is not.
    fn keys_for(&self, text: &str) -> String {
        let keys = &self.layout.mapping.keys;
        let mut wanted = Vec::new();
        let sign = CURRENCY_SIGNS.into_iter().find(|sign| text.contains(sign));
        let is_declared = |sign: &str| keys.currency_signs.iter().flatten().any(|one| one == sign);
        if let Some(sign) = sign.filter(|sign| !is_declared(sign)) {
            wanted.push(format!("currency_signs = ['{sign}']"));
        }
        if text.contains(',') && keys.thousands.is_none() && keys.decimal.is_none() {
            wanted.push("thousands = ','".to_owned());
        }
        match wanted.as_slice() {
            _ if !text.contains(|one: char| one.is_ascii_digit()) => String::new(),
            [] => String::new(),
            keys => format!(", or set {}", keys.join(" and ")),
        }
    }

    /// A whole number that must not be empty.
    pub(super) fn integer(&self, column: usize) -> Parsed<i64> {
        self.optional_integer(column)?.ok_or_else(|| self.wrong(column, "is empty"))
    }

    /// An amount in minor units that may be empty.
    pub(super) fn optional_money(&self, column: usize, currency: &str) -> Parsed<Option<i64>> {
        if let Some(sum) = &self.layout.sums[column] {
            return self.sum(column, sum, currency);
        }
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        self.money(text, currency).map(Some).map_err(|problem| self.wrong(column, &problem))
    }

    /// An amount as the file writes amounts.
    fn money(&self, text: &str, currency: &str) -> Parsed<i64> {
        let amount = self.number(text, currency).map_err(|problem| problem + &self.keys_for(text))?;
        let decimals = text.rsplit_once('.').map_or("", |(_, decimals)| decimals);
        let decimals = decimals.trim_end_matches(|character: char| !character.is_ascii_digit());
        if self.layout.may_be_thousands(decimals, currency) {
            return Err(format!(
                "`{text}` has either decimals or thousands after its point: set decimal = \".\", or thousands = \".\" and \
                 decimal = \",\""
            ));
        }
        Ok(amount)
    }

    /// The parts of an amount that is made of several fields, with the place of each; negative if it is deducted. What a
    /// rule says instead has the place `RULED`.
    pub(super) fn parts(&self, column: usize, sum: &Sum, currency: &str) -> Parsed<Vec<(usize, i64)>> {
        let read = |text: &str| self.money(text, currency).map_err(|problem| self.wrong(column, &problem));
        if let Some(ruled) = sum.ruled(self.record) {
            return if ruled.is_empty() { Ok(Vec::new()) } else { Ok(vec![(RULED, read(ruled)?)]) };
        }
        let signed =
            sum.plus.iter().map(|place| (*place, 1)).chain(sum.minus.iter().map(|place| (*place, -1)));
        let mut parts = Vec::new();
        for (place, sign) in signed {
            let text = self.record.field(place);
            if !text.is_empty() {
                parts.push((place, sign * read(text)?));
            }
        }
        Ok(parts)
    }

    /// An amount that is made of several fields; empty if all of them are.
    fn sum(&self, column: usize, sum: &Sum, currency: &str) -> Parsed<Option<i64>> {
        // Each is at most a nine-thousandth of what fits.
        let total =
            self.parts(column, sum, currency)?.into_iter().map(|(_, amount)| amount).reduce(|a, b| a + b);
        match total {
            Some(total) if total.unsigned_abs() > MAX_AMOUNT.unsigned_abs() => {
                Err(self.wrong(column, "is too large an amount"))
            }
            total => Ok(total),
        }
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
        let raw = self.raw(column);
        let shown = if raw.is_empty() { "the amount".to_owned() } else { format!("`{raw}`") };
        self.wrong(column, &format!("{shown} is negative: {if_negative}"))
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

    /// A currency, or any beside a problem: one with as many decimals as any has.
    pub(super) fn currency_or_any(
        &self,
        column: usize,
        default: &'r str,
        problems: &mut Problems,
    ) -> &'r str {
        self.currency(column, default).unwrap_or_else(|problem| {
            problems.add(problem);
            &ANY_SHOP.currency
        })
    }

    /// An instant that may be empty.
    pub(super) fn optional_time(&self, column: usize, shop: &Shop) -> Parsed<Option<DateTime<Utc>>> {
        let Some(text) = self.optional_text(column)? else { return Ok(None) };
        let parsed = match self.layout.time_formats[column].as_slice() {
            [] => plain_time(text, shop.time_zone),
            formats => formatted_time(text, formats, shop.time_zone, &self.layout.mapping.origin),
        };
        parsed.and_then(within_years(text)).map(Some).map_err(|problem| self.wrong(column, &problem))
    }

    /// An instant that must not be empty.
    pub(super) fn time(&self, column: usize, shop: &Shop) -> Parsed<DateTime<Utc>> {
        self.optional_time(column, shop)?.ok_or_else(|| self.wrong(column, "is empty"))
    }

    /// The code of the record's mall, whether it exists or not.
    pub(super) fn mall_code(&self) -> &'r str {
        match self.meant(MALL) {
            "" => self.layout.mall.as_deref().unwrap_or_default(),
            code => code,
        }
    }

    /// The record's mall, or any beside a problem.
    pub(super) fn shop_or_any(&self, problems: &mut Problems) -> &'r Shop {
        self.shop().unwrap_or_else(|problem| {
            problems.add(problem);
            &ANY_SHOP
        })
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

/// A time in one of the formats that are configured at `origin`.
fn formatted_time(text: &str, formats: &[TimeFormat], time_zone: Tz, origin: &str) -> Parsed<DateTime<Utc>> {
    let mut exists = true;
    for format in formats {
        match format.moment(text) {
            Ok(Moment::Instant(instant)) => return Ok(instant),
            Ok(Moment::Local(local)) => {
                return local_to_utc(local, time_zone).map_err(|error| error.to_string());
            }
            Err(error) => exists &= error != TimeFormatError::DoesNotExist,
        }
    }
    let names: Vec<&str> = formats.iter().map(TimeFormat::as_str).collect();
    Err(match names.as_slice() {
        _ if !exists => format!("`{text}` is not a time that exists"),
        [only] => format!("`{text}` is not a time in the format `{only}` of {origin}"),
        several => {
            format!("`{text}` is not a time in one of the formats `{}` of {origin}", several.join("`, `"))
        }
    })
}

/// Whether a text is a time or a day in the form that needs no setting, in a zone without changes of the clock.
pub(super) fn is_plain_time(text: &str) -> bool {
    plain_time(text, Tz::UTC).is_ok()
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
        for text in [
            "2026-02-30 10:00",
            "2026-11-19 24:00",
            "2026-13-01 00:00:00",
            "2026-11-19 08:30:15+24:00",
            "2026-11-19 08:30:60",
        ] {
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
        let read = |text, format: &str| {
            let format = TimeFormat::new(format).unwrap();
            formatted_time(text, &[format], tokyo, "batchctl.toml").map(|time| time.to_rfc3339())
        };
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
        let format = [TimeFormat::new("%Y/%m/%d %H:%M").unwrap()];
        let formatted = |text| match formatted_time(text, &format, new_york, "batchctl.toml") {
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
