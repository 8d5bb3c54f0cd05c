//! Which amounts of an order a file's columns are, told by whether they add up.
//!
//! Names alone do not tell: `Total` may be the order's or the line's, `小計` likewise, `Price` that of one unit or of all, and
//! what the buyer pays stands beside what it was before points. All readings that the names allow are tried on the sampled
//! orders: the lines, with shipping, fees and tax, less discounts, have to be the total. Of those that add up the one counts
//! that explains most of the columns, which is what the buyer pays; each header that was passed over is a doubt.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Failure;
use crate::money::AmountStyle;
use crate::printable::shortened;
use crate::wording::counted;

use super::super::reader::Source;
use super::super::words::normal;
use super::Vocabulary;
use super::numbers::{UNITS, number};
use super::sample::Sample;

/// Orders that are added up: enough for what is rare, and few enough that all readings take a fraction of a second.
const ORDERS: usize = 300;
/// Parts of which all combinations are tried, twice as many for each more.
const MOST_PARTS: usize = 8;
/// Columns with names that say nothing, which are tried, added and deducted, if those that are known do not add up.
const MOST_UNNAMED: usize = 2;
/// Headers that one of our columns may be.
const MOST_CANDIDATES: usize = 5;
/// Readings that are right for so much less of the orders than the best one are as good: shops have odd orders.
const AS_GOOD_AS: usize = 20;
/// Characters of a header that are shown.
const HEADER_CHARACTERS: usize = 40;

/// The columns of ours that this is about.
const COLUMNS: [&str; 7] = [
    "total_amount",
    "unit_price_amount",
    "line_amount",
    "shipping_amount",
    "fee_amount",
    "tax_amount",
    "discount_amount",
];
/// Those that are parts of a total, and whether they are deducted.
const PARTS: [(&str, bool); 4] =
    [("discount_amount", true), ("shipping_amount", false), ("fee_amount", false), ("tax_amount", false)];

/// The headers that one of our columns is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    /// Where they are: one, or several to be added up.
    pub(super) places: Vec<usize>,
    /// Whether all lines of an order are added up.
    pub(super) per_order: bool,
    /// Whether the headers are joined to one text, rather than added up.
    pub(super) is_joined: bool,
}

impl Made {
    /// One header as it is.
    pub(super) fn of(place: usize) -> Self {
        Self { places: vec![place], per_order: false, is_joined: false }
    }

    /// Headers that are added up.
    pub(super) fn sum_of(places: Vec<usize>, per_order: bool) -> Self {
        Self { places, per_order, is_joined: false }
    }
}

/// What the sampled orders tell of the amounts.
#[derive(Debug)]
pub(super) struct Told {
    /// Our columns; those of [`COLUMNS`] that are not here are not in the file, or must not be mapped.
    pub(super) columns: BTreeMap<&'static str, Made>,
    /// What could not be told.
    pub(super) doubts: Vec<String>,
    /// Headers that say once more what the lines of an order cost.
    pub(super) repeated: BTreeSet<usize>,
}

/// Whether a column is one of those that are told by adding up.
pub(super) fn is_told(column: &str) -> bool {
    COLUMNS.contains(&column)
}

/// What the columns of an order's amounts are; `None` if its total or its lines are not in the file under any name.
pub(super) fn tell(
    vocabulary: &Vocabulary,
    header: &[String],
    found: &BTreeMap<&'static str, usize>,
    style: &AmountStyle,
    sample: &Sample,
    source: &Source,
) -> Result<Option<Told>, Failure> {
    let Some(order_no) = found.get("order_no").copied() else { return Ok(None) };
    let orders = Orders::read(order_no, header.len(), style, sample, source)?;
    let candidates = Candidates::by_names(vocabulary, header, found, &orders);
    let quantity = found.get("quantity").copied().filter(|place| orders.is_number(*place));
    let unnamed = unnamed(vocabulary, header, found, &orders);
    let search = Search { orders: &orders, candidates: &candidates, quantity };
    Ok(search
        .best(&unnamed)
        .map(|best| Telling { search, best, header, doubts: Vec::new(), repeated: BTreeSet::new() }.told()))
}

// ---------------------------------------------------------------- the orders

/// Amounts of the sampled orders.
struct Orders {
    read: Vec<Order>,
    /// What the fields at each place are.
    places: Vec<Place>,
    has_several_lines: bool,
}

struct Order {
    number: String,
    /// The numbers of each line, by place.
    lines: Vec<Vec<Option<i64>>>,
}

#[derive(Debug, Clone, Default)]
struct Place {
    /// Whether a field is neither empty nor a number.
    has_text: bool,
    /// Whether a number is not zero.
    has_amount: bool,
    /// Whether it differs between the lines of an order.
    varies: bool,
}

/// A header, and whether all lines of an order are added up.
type OfOrder = (usize, bool);

impl Orders {
    fn read(
        order_no: usize,
        width: usize,
        style: &AmountStyle,
        sample: &Sample,
        source: &Source,
    ) -> Result<Self, Failure> {
        let mut sampled =
            Self { read: Vec::new(), places: vec![Place::default(); width], has_several_lines: false };
        sample.lines(source, |record| {
            let fields =
                (0..width).map(|place| sampled.places[place].see(record.field(place), style)).collect();
            let own = record.field(order_no);
            // One more, so that the last one is whole.
            let is_full = sampled.read.len() > ORDERS;
            match sampled.read.last_mut() {
                Some(last) if own.is_empty() || last.number == own => last.lines.push(fields),
                _ if is_full || own.is_empty() => {}
                _ => sampled.read.push(Order { number: own.to_owned(), lines: vec![fields] }),
            }
        })?;
        sampled.read.truncate(ORDERS);
        for order in &sampled.read {
            sampled.has_several_lines |= order.lines.len() > 1;
            for (place, told) in sampled.places.iter_mut().enumerate() {
                let mut amounts = order.lines.iter().filter_map(|line| line[place]);
                let first = amounts.next();
                told.varies |= amounts.any(|other| Some(other) != first);
            }
        }
        Ok(sampled)
    }

    fn is_number(&self, place: usize) -> bool {
        !self.places[place].has_text
    }

    /// Whether it holds amounts, and not only zeros.
    fn has_amounts(&self, place: usize) -> bool {
        self.is_number(place) && self.places[place].has_amount
    }

    fn varies(&self, place: usize) -> bool {
        self.places[place].varies
    }

    /// An amount of each order: that of its first line which has one, or the sum of its lines.
    fn amounts(&self, (place, per_order): OfOrder) -> Vec<Option<i128>> {
        let of = |order: &Order| {
            let mut amounts = order.lines.iter().filter_map(|line| line[place]).map(i128::from);
            if per_order { amounts.reduce(|sum, amount| sum + amount) } else { amounts.next() }
        };
        self.read.iter().map(of).collect()
    }

    /// Whether something holds for every line that has both amounts.
    fn all_lines(&self, one: usize, other: usize, holds: impl Fn(&[Option<i64>], i64, i64) -> bool) -> bool {
        let lines = self.read.iter().flat_map(|order| &order.lines);
        lines
            .filter_map(|line| Some((line, line[one]?, line[other]?)))
            .all(|(line, one, other)| holds(line, one, other))
    }
}

impl Place {
    fn see(&mut self, text: &str, style: &AmountStyle) -> Option<i64> {
        if text.is_empty() {
            return None;
        }
        let number = number(text, style);
        self.has_text |= number.is_none();
        self.has_amount |= number.is_some_and(|number| number != 0);
        number
    }
}

// ---------------------------------------------------------------- the readings

/// The places of the headers that each of our columns may be, the most usual name first.
struct Candidates {
    places: BTreeMap<&'static str, Vec<usize>>,
    /// Those that have the name of a column and hold something else than amounts.
    without_amounts: Vec<(&'static str, usize)>,
}

impl Candidates {
    fn by_names(
        vocabulary: &Vocabulary,
        header: &[String],
        found: &BTreeMap<&'static str, usize>,
        orders: &Orders,
    ) -> Self {
        let normal_header: Vec<String> = header.iter().map(|name| normal(name).into_owned()).collect();
        let is_other = |place: usize| found.iter().any(|(column, used)| *used == place && !is_told(column));
        let of = |column: &'static str| {
            let usual = vocabulary.columns.get(column).into_iter().flatten();
            let named = usual.filter_map(|name| normal_header.iter().position(|one| *one == *normal(name)));
            // A header that has our own name leaves no question.
            let places: Vec<usize> = match header.iter().position(|name| name == column) {
                Some(own) => vec![own],
                None => named.filter(|place| !is_other(*place)).collect(),
            };
            let mut seen = BTreeSet::new();
            let (numbers, others): (Vec<usize>, Vec<usize>) = places
                .into_iter()
                .filter(|place| seen.insert(*place))
                .take(MOST_CANDIDATES)
                .partition(|place| orders.is_number(*place));
            (column, numbers, others)
        };
        let mut candidates = Self { places: BTreeMap::new(), without_amounts: Vec::new() };
        for (column, numbers, others) in COLUMNS.into_iter().map(of) {
            candidates.places.insert(column, numbers);
            candidates.without_amounts.extend(others.into_iter().map(|place| (column, place)));
        }
        candidates
    }

    fn of(&self, column: &str) -> &[usize] {
        self.places.get(column).map_or(&[], Vec::as_slice)
    }
}

/// The headers with amounts of whole orders whose names say nothing.
fn unnamed(
    vocabulary: &Vocabulary,
    header: &[String],
    found: &BTreeMap<&'static str, usize>,
    orders: &Orders,
) -> Vec<usize> {
    let known: BTreeSet<String> =
        vocabulary.columns.values().flatten().map(|name| normal(name).into_owned()).collect();
    let is_unnamed = |place: &usize| {
        let name = &header[*place];
        !found.values().any(|used| used == place)
            && !known.contains(normal(name).as_ref())
            && !name.is_empty()
            && orders.has_amounts(*place)
            && !orders.varies(*place)
    };
    (0..header.len()).filter(is_unnamed).take(MOST_UNNAMED).collect()
}

/// What the amount of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// The quantity times this.
    UnitPrice(usize),
    /// This.
    Amount(usize),
}

impl Lines {
    fn place(self) -> usize {
        match self {
            Self::UnitPrice(place) | Self::Amount(place) => place,
        }
    }

    fn of_line(self, line: &[Option<i64>], quantity: Option<usize>) -> Option<i128> {
        match self {
            Self::UnitPrice(price) => Some(i128::from(line[quantity?]?) * i128::from(line[price]?) / UNITS),
            Self::Amount(amount) => line[amount].map(i128::from),
        }
    }
}

/// A column that a total may be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    column: &'static str,
    is_deducted: bool,
    place: usize,
    /// Whether its name says what it is.
    is_named: bool,
}

/// A way to read the amounts.
#[derive(Debug, Clone)]
struct Reading {
    total: OfOrder,
    lines: Lines,
    parts: Vec<Part>,
    /// How many orders add up.
    right: usize,
}

/// How good a reading is: the most important first, the more the better.
type Merit = (usize, Reverse<usize>, usize, u8, bool, Reverse<(usize, usize, usize)>);

struct Search<'a> {
    orders: &'a Orders,
    candidates: &'a Candidates,
    quantity: Option<usize>,
}

impl Search<'_> {
    /// The reading that fits best; `None` if the total or the lines are not in the file.
    fn best(&self, unnamed: &[usize]) -> Option<Reading> {
        let named = self.named_parts();
        let best = self.best_with(&named)?;
        if best.right == self.orders.read.len() {
            return Some(best);
        }
        let either = |place: &usize| {
            [("discount_amount", true), ("fee_amount", false)].map(|(column, is_deducted)| Part {
                column,
                is_deducted,
                place: *place,
                is_named: false,
            })
        };
        let named = named.into_iter().take(MOST_PARTS - 2 * MOST_UNNAMED);
        let wider: Vec<Part> = named.chain(unnamed.iter().flat_map(either)).collect();
        self.best_with(&wider).filter(|wider| wider.right > best.right).or(Some(best))
    }

    fn named_parts(&self) -> Vec<Part> {
        let of = |(column, is_deducted): (&'static str, bool)| {
            let places = self.candidates.of(column).iter().copied();
            places.filter(|place| self.orders.has_amounts(*place)).map(move |place| Part {
                column,
                is_deducted,
                place,
                is_named: true,
            })
        };
        PARTS.into_iter().flat_map(of).take(MOST_PARTS).collect()
    }

    fn totals(&self) -> Vec<OfOrder> {
        let of = |place: &usize| {
            let once = (!self.orders.varies(*place)).then_some((*place, false));
            let added = self.orders.has_several_lines.then_some((*place, true));
            once.into_iter().chain(added)
        };
        self.candidates.of("total_amount").iter().flat_map(of).collect()
    }

    /// The readings of the lines, with how much they are preferred to others that are as good.
    fn lines(&self) -> Vec<(Lines, u8)> {
        let prices = self.candidates.of("unit_price_amount").iter();
        let amounts = self.candidates.of("line_amount").iter();
        let by_unit = prices.clone().filter(|_| self.quantity.is_some());
        (by_unit.map(|place| (Lines::UnitPrice(*place), 2)))
            .chain(amounts.map(|place| (Lines::Amount(*place), 1)))
            .chain(prices.map(|place| (Lines::Amount(*place), 0)))
            .collect()
    }

    fn best_with(&self, parts: &[Part]) -> Option<Reading> {
        let sums = self.sums(parts);
        let lines: Vec<_> =
            self.lines().into_iter().map(|(lines, liking)| (lines, liking, self.of_lines(lines))).collect();
        let mut tried: Vec<(Merit, OfOrder, Lines)> = Vec::new();
        for (total_rank, total) in self.totals().into_iter().enumerate() {
            let totals = self.orders.amounts(total);
            for (line_rank, (lines, liking, of_lines)) in lines.iter().enumerate() {
                let is_taken = |place: usize| place == total.0 || place == lines.place();
                if lines.place() == total.0 {
                    continue;
                }
                for (choice, sums) in sums.iter().enumerate() {
                    if chosen(parts, choice).any(|part| is_taken(part.place)) {
                        continue;
                    }
                    let is_right = |order: &usize| {
                        totals[*order].is_some()
                            && totals[*order] == of_lines[*order].map(|sum| sum + sums[*order])
                    };
                    let right = (0..totals.len()).filter(is_right).count();
                    let named = chosen(parts, choice).filter(|part| part.is_named).count();
                    let unnamed = chosen(parts, choice).count() - named;
                    let ranks = Reverse((total_rank, line_rank, choice));
                    tried.push(((named, Reverse(unnamed), right, *liking, !total.1, ranks), total, *lines));
                }
            }
        }
        let right = |merit: &Merit| merit.2;
        let most = tried.iter().map(|(merit, ..)| right(merit)).max()?;
        let is_as_good = |(merit, ..): &(Merit, OfOrder, Lines)| {
            // If nothing is right, nothing tells more than the names.
            right(merit) + most / AS_GOOD_AS >= most && (most > 0 || merit.0 == 0 && merit.1 == Reverse(0))
        };
        let (merit, total, lines) = tried.into_iter().filter(is_as_good).max_by_key(|(merit, ..)| *merit)?;
        let Reverse((.., choice)) = merit.5;
        Some(Reading { total, lines, parts: chosen(parts, choice).collect(), right: right(&merit) })
    }

    /// What each choice of parts adds to each order.
    fn sums(&self, parts: &[Part]) -> Vec<Vec<i128>> {
        let amounts: Vec<Vec<i128>> = parts
            .iter()
            .map(|part| {
                let amounts = self.orders.amounts((part.place, self.orders.varies(part.place)));
                // Some shops write what is deducted below zero.
                let signed = |amount: i128| if part.is_deducted { -amount.abs() } else { amount };
                amounts.into_iter().map(|amount| amount.map_or(0, signed)).collect()
            })
            .collect();
        let of_choice = |choice: usize| {
            let added = amounts.iter().enumerate().filter(|(part, _)| choice & (1 << part) != 0);
            added.fold(vec![0; self.orders.read.len()], |sums, (_, amounts)| {
                sums.iter().zip(amounts).map(|(sum, amount)| sum + amount).collect()
            })
        };
        (0..1 << parts.len()).map(of_choice).collect()
    }

    fn of_lines(&self, lines: Lines) -> Vec<Option<i128>> {
        let of = |order: &Order| order.lines.iter().map(|line| lines.of_line(line, self.quantity)).sum();
        self.orders.read.iter().map(of).collect()
    }
}

/// The parts of a choice, which is a set of bits.
fn chosen(parts: &[Part], choice: usize) -> impl Iterator<Item = Part> {
    parts.iter().enumerate().filter(move |(part, _)| choice & (1 << part) != 0).map(|(_, part)| *part)
}

// ---------------------------------------------------------------- what they tell

/// Puts the best reading into columns and doubts.
struct Telling<'a> {
    search: Search<'a>,
    best: Reading,
    header: &'a [String],
    doubts: Vec<String>,
    repeated: BTreeSet<usize>,
}

impl Telling<'_> {
    fn told(mut self) -> Told {
        let mut columns = BTreeMap::new();
        let (place, per_order) = self.best.total;
        columns.insert("total_amount", Made::sum_of(vec![place], per_order));
        self.lines(&mut columns);
        for (column, _) in PARTS {
            if let Some(made) = self.part(column) {
                columns.insert(column, made);
            }
        }
        self.doubt_totals();
        for (column, place) in self.search.candidates.without_amounts.clone() {
            let name = self.name(place);
            self.doubts
                .push(format!("`{name}` is not used for `{column}`: some of its fields are not amounts"));
        }
        self.doubt_sum();
        Told { columns, doubts: self.doubts, repeated: self.repeated }
    }

    fn name(&self, place: usize) -> String {
        shortened(&self.header[place], HEADER_CHARACTERS).into_owned()
    }

    fn candidates(&self, column: &str) -> Vec<usize> {
        self.search.candidates.of(column).to_vec()
    }

    /// Whether a header has its place in the reading.
    fn is_used(&self, place: usize) -> bool {
        let Reading { total, lines, parts, .. } = &self.best;
        place == total.0 || place == lines.place() || parts.iter().any(|part| part.place == place)
    }

    fn lines(&mut self, columns: &mut BTreeMap<&'static str, Made>) {
        let chosen = self.best.lines;
        let prices = self.candidates("unit_price_amount");
        match chosen {
            Lines::UnitPrice(price) => {
                columns.insert("unit_price_amount", Made::of(price));
                if let Some(amount) = self.line_amount_beside(price) {
                    columns.insert("line_amount", Made::of(amount));
                }
                self.doubt_unit(price);
            }
            Lines::Amount(amount) => {
                columns.insert("line_amount", Made::of(amount));
                let price = prices.iter().copied().find(|price| !self.is_used(*price));
                if prices.contains(&amount) {
                    let name = self.name(amount);
                    self.doubts.push(format!(
                        "`{name}` is taken for the amount of the line: the totals are not the sum of the quantities times it"
                    ));
                } else if let Some(price) = price.filter(|price| !self.is_amount_too(*price, amount)) {
                    columns.insert("unit_price_amount", Made::of(price));
                }
            }
        }
        for price in prices.into_iter().filter(|price| !columns.values().any(|made| made.places == [*price]))
        {
            let (name, used) = (self.name(price), self.name(chosen.place()));
            let is_same = self.search.orders.all_lines(price, chosen.place(), |_, one, other| one == other);
            self.doubts.push(if is_same {
                format!("`{name}` is the same as `{used}` on every sampled line: `{used}` is taken")
            } else {
                format!("`{name}` is another price than `{used}`, which is taken")
            });
        }
    }

    /// Whether a price is the amount of the line, of more units than one.
    fn is_amount_too(&self, price: usize, amount: usize) -> bool {
        let Some(quantity) = self.search.quantity else { return false };
        let orders = self.search.orders;
        let one = i64::try_from(UNITS).unwrap_or(i64::MAX);
        let has_several = !orders.all_lines(quantity, quantity, |_, quantity, _| quantity == one);
        has_several && orders.all_lines(price, amount, |_, price, amount| price == amount)
    }

    /// A header that has the amounts of the lines for certain, beside their unit prices. One of an order's lines together
    /// would count once for each line.
    fn line_amount_beside(&mut self, price: usize) -> Option<usize> {
        let (orders, quantity) = (self.search.orders, self.search.quantity);
        let mut found = None;
        for amount in self.candidates("line_amount") {
            if self.is_used(amount)
                || self.candidates("total_amount").contains(&amount) && !orders.varies(amount)
            {
                continue;
            }
            let is_product = |line: &[Option<i64>], amount: i64, _: i64| {
                Lines::UnitPrice(price).of_line(line, quantity) == Some(i128::from(amount))
            };
            let is_line = orders.all_lines(amount, price, is_product);
            let of_orders = orders.amounts((amount, false));
            if is_line && orders.varies(amount) {
                found = found.or(Some(amount));
            } else if is_line && !orders.has_several_lines {
                let name = self.name(amount);
                self.doubts.push(format!(
                    "`{name}` is of the line or of the order: no sampled order has two lines; it is not used, because the \
                     quantities and prices add up"
                ));
            } else if of_orders != self.search.of_lines(self.best.lines) {
                let name = self.name(amount);
                self.doubts.push(format!(
                    "what `{name}` is: neither the amount of a line nor of an order's lines; it is not used"
                ));
            } else {
                self.repeated.insert(amount);
            }
        }
        found
    }

    fn doubt_unit(&mut self, price: usize) {
        let Some(quantity) = self.search.quantity else { return };
        let one = i64::try_from(UNITS).unwrap_or(i64::MAX);
        if self.search.orders.all_lines(quantity, price, |_, quantity, _| quantity == one) {
            let name = self.name(price);
            self.doubts.push(format!(
                "whether `{name}` is the price of one unit or of the line: every sampled quantity is 1"
            ));
        }
    }

    /// The headers of a part of the total.
    fn part(&mut self, column: &'static str) -> Option<Made> {
        let orders = self.search.orders;
        let of_column: Vec<Part> =
            self.best.parts.iter().copied().filter(|part| part.column == column).collect();
        for part in of_column.iter().filter(|part| !part.is_named) {
            let (name, what) = (self.name(part.place), if part.is_deducted { "deducted" } else { "added" });
            self.doubts.push(format!(
                "what `{name}` is: the totals add up if it is {what}, so it is taken for `{column}`"
            ));
        }
        let others: Vec<usize> =
            self.candidates(column).into_iter().filter(|place| !self.is_used(*place)).collect();
        if of_column.is_empty() {
            return self.part_of_no_total(column, &others);
        }
        for other in others {
            let (name, used) = (self.name(other), self.name(of_column[0].place));
            self.doubts.push(if orders.has_amounts(other) {
                format!("`{name}` is not used for `{column}`: the totals add up with `{used}` alone")
            } else {
                format!("`{name}` is not used for `{column}` beside `{used}`: it is 0 or empty on every sampled line")
            });
        }
        let places: Vec<usize> = of_column.iter().map(|part| part.place).collect();
        let per_order = places.iter().any(|place| orders.varies(*place));
        Some(Made::sum_of(places, per_order))
    }

    /// A part that the total does not have, by its name.
    fn part_of_no_total(&mut self, column: &'static str, others: &[usize]) -> Option<Made> {
        let orders = self.search.orders;
        let place = others.first().copied()?;
        let made = Made::sum_of(vec![place], orders.varies(place));
        // Whether a price has the tax in it is the shop's choice.
        if !orders.has_amounts(place) || column == "tax_amount" || self.best.right == 0 {
            return Some(made);
        }
        let name = self.name(place);
        if column == "discount_amount" {
            // As part of the prices: deducted once more, nothing would add up.
            self.doubts.push(format!("`{name}` is not used for `{column}`: the totals add up without it"));
            return None;
        }
        self.doubts.push(format!(
            "`{name}` is taken for `{column}`, but the totals add up without it: is there another total that has it?"
        ));
        Some(made)
    }

    fn doubt_totals(&mut self) {
        let orders = self.search.orders;
        let (place, per_order) = self.best.total;
        let totals = orders.amounts(self.best.total);
        let name = self.name(place);
        if per_order {
            self.doubts
                .push(format!("`{name}` is of each line: the total of an order is taken for their sum"));
        }
        let rivals: Vec<usize> = self
            .candidates("total_amount")
            .into_iter()
            .filter(|rival| *rival != place && orders.has_amounts(*rival))
            .collect();
        for rival in rivals {
            let others = orders.amounts((rival, false));
            let different = totals.iter().zip(&others).filter(|(one, other)| one != other).count();
            let other = self.name(rival);
            self.doubts.push(if rival == self.best.lines.place() {
                format!("`{name}` is taken for the total, and `{other}` for the amount of the line")
            } else if different == 0 {
                format!("`{name}` and `{other}` are the same on every sampled order: `{name}` is taken for the total")
            } else {
                let of = counted(orders.read.len() as u64, "sampled order", "sampled orders");
                format!("`{name}` is taken for the total; `{other}` is another amount on {different} of {of}")
            });
        }
    }

    fn doubt_sum(&mut self) {
        let orders = &self.search.orders.read;
        let totals = self.search.orders.amounts(self.best.total);
        let of_lines = self.search.of_lines(self.best.lines);
        let sums = self.search.sums(&self.best.parts).pop().unwrap_or_default();
        let mut wrong = (0..orders.len()).filter(|place| {
            totals[*place].is_none() || totals[*place] != of_lines[*place].map(|sum| sum + sums[*place])
        });
        let Some(first) = wrong.next() else { return };
        let count = 1 + wrong.count();
        self.doubts.push(format!(
            "the totals of {count} of {} are not the sum of lines, shipping, fees and tax less discounts, such as that of \
             order `{}`: an amount may be in a column that is not used, or in the wrong one",
            counted(orders.len() as u64, "sampled order", "sampled orders"),
            shortened(&orders[first].number, HEADER_CHARACTERS),
        ));
    }
}
