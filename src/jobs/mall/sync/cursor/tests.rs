use super::*;

/// In which order the service lists.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    OldestFirst,
    NewestFirst,
    /// By something else than the time by which the list is filtered.
    ByKey,
}

/// A list as the service would return it: records with their second, which appear and disappear.
struct Shop {
    records: Vec<(String, i64)>,
    order: Order,
    /// Whether the records of a second come in another order at each call.
    shuffles: bool,
    /// The most records of a page, whatever is asked for.
    rows_max: usize,
    /// The pages, by their number, that are empty or half as long although there is more.
    empty: Vec<usize>,
    short: Vec<usize>,
    /// Whether it counts.
    counts: bool,
    /// What it counts too many.
    miscounts: u64,
    rules: Rules,
    pages: usize,
    questions: Vec<Question>,
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_785_510_000 + second, 0).expect("a time")
}

fn span(first: i64, last: i64) -> Span {
    Span { first: at(first), last: at(last) }
}

const RULES: Rules = Rules { noun: "orders", most_offset: 150, longest: None, limit: 10 };

/// What was read.
struct Reading {
    keys: Vec<String>,
    /// How many records counted as read.
    read: u64,
    gaps: Vec<Gap>,
}

impl Reading {
    /// Each key once.
    fn distinct(&self) -> Vec<String> {
        let mut keys = self.keys.clone();
        keys.sort();
        keys.dedup();
        keys
    }
}

impl Shop {
    /// `count` records, `same` of them in each second.
    fn of(count: i64, same: i64) -> Self {
        let records = (0..count).map(|number| (format!("r{number:05}"), number / same)).collect();
        Self {
            records,
            order: Order::NewestFirst,
            shuffles: false,
            rows_max: usize::MAX,
            empty: Vec::new(),
            short: Vec::new(),
            counts: true,
            miscounts: 0,
            rules: RULES,
            pages: 0,
            questions: Vec::new(),
        }
    }

    fn within(&self, span: Span) -> Vec<(String, i64)> {
        self.records.iter().filter(|(_, second)| span.contains(at(*second))).cloned().collect()
    }

    fn page(&mut self, span: Span, offset: u32) -> Vec<Listed> {
        assert!(offset <= self.rules.most_offset, "the service refuses a larger offset");
        self.pages += 1;
        let mut records = self.within(span);
        if self.shuffles {
            fastrand::Rng::with_seed(self.pages as u64).shuffle(&mut records);
        }
        match self.order {
            Order::OldestFirst => records.sort_by_key(|(_, second)| *second),
            Order::NewestFirst => records.sort_by_key(|(_, second)| -second),
            Order::ByKey => records.sort(),
        }
        let mut rows = (self.rules.limit as usize).min(self.rows_max);
        if self.short.contains(&self.pages) {
            rows /= 2;
        }
        if self.empty.contains(&self.pages) {
            rows = 0;
        }
        let page = records.into_iter().skip(offset as usize).take(rows);
        page.map(|(key, second)| Listed { key, at: Some(at(second)) }).collect()
    }

    fn total(&self, span: Span, expected: u64) -> Total {
        let total = self.within(span).len() as u64 + self.miscounts;
        if self.counts || total == expected { Total::Is(total) } else { Total::Differs }
    }

    /// Reads a whole span, and changes the list after each page.
    fn read_while(
        &mut self,
        span: Span,
        mut change: impl FnMut(&mut Vec<(String, i64)>, usize),
    ) -> Result<Reading, Failure> {
        let mut reading = Reading { keys: Vec::new(), read: 0, gaps: Vec::new() };
        let mut cursor = Some(Cursor::new(span, &self.rules));
        while let Some(here) = cursor {
            // As a run that was killed and restarted would continue.
            let stored = serde_json::to_string(&here).expect("a checkpoint");
            let here: Cursor = serde_json::from_str(&stored).expect("a cursor");
            let question = here.question();
            self.questions.push(question);
            let step = match question {
                Question::Total { span, expected } => here.total(self.total(span, expected), &self.rules)?,
                Question::Page { span, offset } => {
                    let page = self.page(span, offset);
                    let step = here.page(&page, &self.rules)?;
                    let new = page.into_iter().zip(&step.is_new).filter(|(_, is_new)| **is_new);
                    reading.keys.extend(new.map(|(record, _)| record.key));
                    change(&mut self.records, self.pages);
                    step
                }
            };
            reading.read += step.read;
            reading.gaps.extend(step.gaps);
            cursor = step.next;
            assert!(self.questions.len() < 5_000, "the list has an end");
        }
        Ok(reading)
    }

    fn read(&mut self, span: Span) -> Reading {
        self.read_while(span, |_, _| {}).expect("it is read")
    }

    fn all(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.records.iter().map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    #[track_caller]
    fn assert_is_read(&mut self, span: Span) {
        let reading = self.read(span);
        assert_eq!(reading.gaps, []);
        assert_eq!(reading.distinct(), self.all());
        assert_eq!(reading.read, self.records.len() as u64, "each record counts once");
    }
}

#[test]
fn a_list_of_any_length_and_order_is_read() {
    for count in [0, 1, 9, 10, 11, 19, 20, 85, 600] {
        for same in [1, 3, 7, 9] {
            for order in [Order::OldestFirst, Order::NewestFirst, Order::ByKey] {
                for (shuffles, counts) in [(false, true), (true, true), (false, false), (true, false)] {
                    let mut shop = Shop { order, shuffles, counts, ..Shop::of(count, same) };
                    shop.assert_is_read(span(0, 5_000));
                }
            }
        }
    }
}

#[test]
fn a_list_that_is_sorted_takes_a_call_a_page_and_one_for_its_total() {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut shop = Shop { order, ..Shop::of(9, 1) };
        shop.assert_is_read(span(0, 1_000));
        assert_eq!(shop.questions.len(), 2);
        let mut shop = Shop { order, shuffles: true, ..Shop::of(2_000, 1) };
        shop.assert_is_read(span(0, 2_000));
        // Each page begins with the last record of the page before.
        assert_eq!(shop.questions.len(), 2_000_usize.div_ceil(9) + 1);
    }
}

#[test]
fn a_second_with_more_records_than_a_page_is_complete_in_any_order() {
    for (count, same) in [(25, 25), (10, 10), (300, 25), (120, 60), (150, 150)] {
        for order in [Order::OldestFirst, Order::NewestFirst, Order::ByKey] {
            for counts in [true, false] {
                let mut shop = Shop { order, counts, shuffles: true, ..Shop::of(count, same) };
                shop.assert_is_read(span(-100, 1_000));
            }
        }
    }
}

#[test]
fn an_empty_or_short_page_is_not_believed() {
    for page in [1, 2, 5, 21, 22] {
        for counts in [true, false] {
            let mut shop = Shop { counts, empty: vec![page], ..Shop::of(200, 3) };
            shop.assert_is_read(span(0, 1_000));
            let mut shop = Shop { counts, short: vec![page], ..Shop::of(200, 3) };
            shop.assert_is_read(span(0, 1_000));
        }
    }
    let mut shop = Shop { empty: vec![1], ..Shop::of(5, 1) };
    shop.assert_is_read(span(0, 1_000));
    assert_eq!(shop.questions.len(), 3, "the total showed that there is more");
}

#[test]
fn a_service_whose_pages_are_shorter_than_asked_for_is_read() {
    for (order, shuffles) in [(Order::NewestFirst, true), (Order::OldestFirst, false), (Order::ByKey, true)] {
        for counts in [true, false] {
            let mut shop = Shop { order, shuffles, counts, rows_max: 4, ..Shop::of(200, 3) };
            shop.assert_is_read(span(0, 1_000));
        }
    }
}

#[test]
fn a_difference_is_looked_for_where_it_is() {
    let mut shop = Shop::of(2_000, 3);
    let mut is_changed = false;
    let reading = shop.read_while(span(0, 1_000), |records, page| {
        if page == 100 && !is_changed {
            is_changed = true;
            records.push(("late".to_owned(), 600));
        }
    });
    let reading = reading.expect("it is read");
    assert_eq!(reading.gaps, []);
    assert!(reading.keys.contains(&"late".to_owned()));
    assert_eq!(reading.read, 2_001);
    let walked = 2_000_usize.div_ceil(7);
    assert!(shop.pages < walked + 100, "{} pages", shop.pages);
}

#[test]
fn records_that_disappear_hide_no_others() {
    for order in [Order::OldestFirst, Order::NewestFirst, Order::ByKey] {
        let mut shop = Shop { order, ..Shop::of(120, 3) };
        let reading = shop.read_while(span(0, 1_000), |records, page| {
            if page % 3 == 2 && page < 30 {
                let place = if order == Order::NewestFirst { records.len() - 1 } else { 0 };
                records.remove(place);
            }
        });
        let reading = reading.expect("it is read");
        assert!(shop.all().iter().all(|key| reading.keys.contains(key)), "{order:?}");
        assert_eq!(reading.gaps, []);
    }
}

#[test]
fn a_list_from_which_two_records_disappear_at_each_page_is_read() {
    // Anywhere, and from the page that was just read.
    for first in [0, 40] {
        let mut shop = Shop::of(400, 1);
        let mut read: Vec<String> = Vec::new();
        let mut seed = fastrand::Rng::with_seed(7);
        let reading = shop.read_while(span(0, 1_000), |records, _| {
            for _ in 0..2 {
                if records.len() > 100 {
                    let place = if first == 0 { seed.usize(0..records.len()) } else { records.len() - first };
                    read.push(records.remove(place).0);
                }
            }
        });
        let reading = reading.expect("it is read");
        assert_eq!(reading.gaps, []);
        assert!(shop.all().iter().all(|key| reading.keys.contains(key)));
        assert!(shop.questions.len() < 400, "{} questions", shop.questions.len());
    }
}

#[test]
fn records_that_appear_while_it_is_read_are_read_too() {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut shop = Shop { order, ..Shop::of(500, 7) };
        let reading = shop.read_while(span(0, 100_000), |records, page| {
            if page < 50 {
                records.push((format!("new{page:05}"), 90_000));
            }
        });
        let reading = reading.expect("it is read");
        assert_eq!(reading.distinct(), shop.all());
        assert_eq!(reading.gaps, []);
    }
}

#[test]
fn a_total_that_no_page_agrees_with_is_a_gap() {
    for count in [0, 5, 200] {
        let mut shop = Shop { miscounts: 3, ..Shop::of(count, 3) };
        let reading = shop.read(span(0, 1_000));
        assert_eq!(reading.distinct(), shop.all(), "what is listed is read");
        assert!(!reading.gaps.is_empty());
        assert!(shop.questions.len() < 1_000, "{} questions", shop.questions.len());
    }
    let mut shop = Shop { miscounts: 3, ..Shop::of(5, 1) };
    let gaps = shop.read(span(0, 0)).gaps;
    assert_eq!(gaps, [Gap { span: span(0, 0), listed: Some(1), counted: Some(4) }]);
}

#[test]
fn a_service_that_is_always_empty_is_a_gap() {
    let mut shop = Shop { rows_max: 0, ..Shop::of(95, 1) };
    let reading = shop.read(span(0, 1_000));
    assert_eq!(reading.gaps, [Gap { span: span(0, 1_000), listed: Some(0), counted: Some(95) }]);
    assert!(shop.questions.len() < 20, "{} questions", shop.questions.len());
}

#[test]
fn a_server_that_returns_the_same_page_for_ever_is_given_up_on() {
    let page: Vec<Listed> =
        (0..10).map(|number| Listed { key: format!("r{number}"), at: Some(at(number)) }).collect();
    let mut cursor = Some(Cursor::new(span(0, 100_000), &RULES));
    let (mut questions, mut gaps) = (0, Vec::new());
    while let Some(here) = cursor {
        questions += 1;
        assert!(questions < 2_000, "it ends in time");
        let step = match here.question() {
            Question::Page { .. } => here.page(&page, &RULES),
            Question::Total { .. } => here.total(Total::Is(100), &RULES),
        };
        let step = step.expect("it goes on");
        gaps.extend(step.gaps);
        cursor = step.next;
    }
    assert!(!gaps.is_empty());
}

#[test]
fn a_second_with_more_records_than_the_service_can_list_is_an_error() {
    let mut shop = Shop::of(1_000, 500);
    let failure = shop.read_while(span(0, 1_000), |_, _| {}).err().expect("it cannot be read");
    assert!(failure.message.starts_with("more than 160 orders in the second "), "{}", failure.message);
}

#[test]
fn windows_are_no_longer_than_a_call_may_request() {
    let day = 86_400;
    let rules = Rules { longest: Some(TimeDelta::days(89)), ..RULES };
    let records = (0..400).map(|number| (format!("r{number:05}"), number * day)).collect();
    let mut shop = Shop { records, rules, ..Shop::of(0, 1) };
    shop.assert_is_read(span(0, 400 * day - 1));
    for question in &shop.questions {
        let (Question::Page { span, .. } | Question::Total { span, .. }) = question;
        assert!(span.last - span.first < TimeDelta::days(89));
    }
}

#[test]
fn many_stretches_are_merged_and_still_cover_the_window() {
    let mut shop = Shop { shuffles: true, ..Shop::of(3_000, 2) };
    let mut cursor = Some(Cursor::new(span(0, 1_499), &RULES));
    while let Some(here) = cursor {
        cursor = match here.question() {
            Question::Page { span, offset } => {
                here.page(&shop.page(span, offset), &RULES).expect("a page").next
            }
            Question::Total { span: asked, expected } => {
                assert_eq!((asked, expected), (span(0, 1_499), 3_000));
                assert!(here.stretches.len() <= 65);
                let mut stretches = here.stretches.clone();
                stretches.sort_by_key(|stretch| stretch.span.first);
                let is_tiled = |pair: &[Stretch]| pair[0].span.last + ONE_SECOND == pair[1].span.first;
                assert!(stretches.windows(2).all(is_tiled), "{stretches:?}");
                return;
            }
        };
    }
    panic!("the total is asked for");
}

#[test]
fn records_without_a_time_are_read_once() {
    let undated = |number: i64| Listed { key: format!("u{number}"), at: None };
    let dated = |number: i64| Listed { key: format!("r{number:05}"), at: Some(at(number)) };
    // One in four has no time that can be read; the service knows it, and lists by it.
    let all: Vec<(i64, Listed)> = (0..100)
        .map(|number| (number, if number % 4 == 0 { undated(number) } else { dated(number) }))
        .collect();
    let mut cursor = Some(Cursor::new(span(0, 1_000), &RULES));
    let (mut keys, mut read) = (Vec::new(), 0);
    while let Some(here) = cursor {
        let within = |span: Span| all.iter().filter(move |(second, _)| span.contains(at(*second)));
        let step = match here.question() {
            Question::Page { span, offset } => {
                let page: Vec<Listed> =
                    within(span).skip(offset as usize).take(10).map(|(_, record)| record.clone()).collect();
                let step = here.page(&page, &RULES).expect("a page");
                let new = page.iter().zip(&step.is_new).filter(|(_, is_new)| **is_new);
                keys.extend(new.map(|(record, _)| record.key.clone()));
                step
            }
            Question::Total { span, .. } => {
                here.total(Total::Is(within(span).count() as u64), &RULES).expect("a total")
            }
        };
        assert_eq!(step.gaps, []);
        read += step.read;
        cursor = step.next;
    }
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), read), (100, 100));
}
