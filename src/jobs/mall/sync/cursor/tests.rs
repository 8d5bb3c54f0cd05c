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
    /// The keys of records whose date cannot be read, though the service lists them by it.
    undated: Vec<String>,
    /// The keys of records that show another date of the period than the one by which they are listed.
    misdated: Vec<String>,
    /// From this page on, each page is the same as the one before, whatever is asked for.
    repeats_from: Option<usize>,
    last_page: Vec<Listed>,
    /// Whether it counts.
    counts: bool,
    /// What it counts too many.
    miscounts: u64,
    /// What it counts whatever is asked for.
    counts_always: Option<u64>,
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
            undated: Vec::new(),
            misdated: Vec::new(),
            repeats_from: None,
            last_page: Vec::new(),
            counts: true,
            miscounts: 0,
            counts_always: None,
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
        if self.repeats_from.is_some_and(|from| self.pages >= from) {
            return self.last_page.clone();
        }
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
        self.last_page = page.map(|(key, second)| self.listed(key, second)).collect();
        self.last_page.clone()
    }

    fn listed(&self, key: String, second: i64) -> Listed {
        let at = if self.undated.contains(&key) {
            None
        } else if self.misdated.contains(&key) {
            Some(at(second / 2))
        } else {
            Some(at(second))
        };
        Listed { key, at }
    }

    fn total(&self, span: Span, expected: u64) -> Total {
        let total = self.counts_always.unwrap_or(self.within(span).len() as u64 + self.miscounts);
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

    /// Takes the date from every `nth` record.
    fn without_dates(mut self, nth: usize) -> Self {
        self.undated = self.records.iter().step_by(nth).map(|(key, _)| key.clone()).collect();
        self
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
    assert_eq!(gaps, [Gap { span: span(0, 0), listed: 1, counted: Some(4) }]);
}

#[test]
fn a_service_that_is_always_empty_is_a_gap() {
    let mut shop = Shop { rows_max: 0, ..Shop::of(95, 1) };
    let reading = shop.read(span(0, 1_000));
    assert_eq!(reading.gaps, [Gap { span: span(0, 1_000), listed: 0, counted: Some(95) }]);
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
    assert!(failure.message.contains("no more than 160 of one second"), "{}", failure.message);
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
fn records_without_a_date_are_read_once_whatever_surrounds_them() {
    let rules = Rules { most_offset: 300, ..RULES };
    let all = |nth, same, order, shuffles, counts| {
        Shop { order, shuffles, counts, rules, ..Shop::of(200, same) }.without_dates(nth)
    };
    for order in [Order::OldestFirst, Order::NewestFirst, Order::ByKey] {
        for (shuffles, counts) in [(false, true), (true, true), (false, false), (true, false)] {
            // Alone, a few on a page, or in a second of more than a page; in one of seven, every other, or all of them.
            for same in [1, 3, 9, 10, 11, 25, 60, 200] {
                for nth in [1_000, 60, 7, 2, 1] {
                    let mut shop = all(nth, same, order, shuffles, counts);
                    shop.assert_is_read(span(0, 86_399));
                }
            }
        }
    }
}

#[test]
fn a_record_without_a_date_in_a_crowded_second_costs_no_more_calls_than_its_second() {
    // Six seconds of a day, each with more records than a page.
    for (order, undated) in
        [(Order::NewestFirst, 0), (Order::NewestFirst, 1), (Order::OldestFirst, 1), (Order::NewestFirst, 6)]
    {
        let records: Vec<_> =
            (0..6 * 60).map(|number| (format!("r{number:05}"), number / 60 * 14_000)).collect();
        let rules = Rules { limit: 50, most_offset: 8_000, ..RULES };
        let mut shop = Shop { records, order, rules, shuffles: true, ..Shop::of(0, 1) };
        shop.undated =
            shop.records.iter().skip(30).step_by(60).take(undated).map(|(key, _)| key.clone()).collect();
        shop.assert_is_read(span(0, 86_399));
        assert!(shop.questions.len() < 6 * 15, "{} questions", shop.questions.len());
    }
}

#[test]
fn a_list_in_crowded_seconds_that_cannot_be_walked_is_read_in_pieces() {
    for order in [Order::NewestFirst, Order::ByKey] {
        let records: Vec<_> =
            (0..20 * 60).map(|number| (format!("r{:05}", number * 7 % 1_200), number / 60 * 4_000)).collect();
        let rules = Rules { limit: 50, most_offset: 8_000, ..RULES };
        let mut shop = Shop { records, order, rules, shuffles: true, ..Shop::of(0, 1) };
        shop.misdated = shop.records.iter().skip(30).step_by(60).map(|(key, _)| key.clone()).collect();
        shop.assert_is_read(span(0, 86_399));
        assert!(shop.questions.len() < 20 * 25, "{} questions", shop.questions.len());
    }
}

#[test]
fn a_service_that_repeats_a_page_is_asked_in_proportion_to_what_it_has() {
    for (count, same) in [(20, 20), (20, 1), (150, 150), (150, 30), (2_000, 3), (2_000, 100)] {
        for repeats_from in [2, 3, 7] {
            for counts in [true, false] {
                let mut shop = Shop {
                    counts,
                    shuffles: true,
                    repeats_from: Some(repeats_from),
                    ..Shop::of(count, same)
                };
                let reading = shop.read(span(0, 86_399));
                let missing = shop.all().len() - reading.distinct().len();
                assert_eq!(
                    missing > 0,
                    !reading.gaps.is_empty(),
                    "{count}/{same} from {repeats_from}: {:?}",
                    reading.gaps
                );
                assert_eq!(
                    reading.read,
                    reading.distinct().len() as u64,
                    "{count}/{same} from {repeats_from}: each record counts once"
                );
                assert!(
                    shop.questions.len() < 350,
                    "{count}/{same} from {repeats_from}: {} questions",
                    shop.questions.len()
                );
            }
        }
    }
}

#[test]
fn shops_of_all_kinds_are_read_or_said_not_to_be() {
    for seed in 0..500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = random.choice([1, 9, 30, 80, 150, 300]).expect("one of them");
        let seconds: Vec<i64> = (0..random.i64(1..=count)).map(|_| random.i64(0..86_400)).collect();
        let records =
            (0..count).map(|number| (format!("r{number:05}"), seconds[random.usize(0..seconds.len())]));
        let records: Vec<(String, i64)> = records.collect();
        let rules = Rules { most_offset: 400, limit: random.u32(5..=50), ..RULES };
        let order =
            random.choice([Order::OldestFirst, Order::NewestFirst, Order::ByKey]).expect("one of them");
        let mut shop =
            Shop { records, order, rules, shuffles: random.bool(), counts: random.bool(), ..Shop::of(0, 1) };
        let share = random.choice([0.0, 0.01, 0.05, 0.5]).expect("one of them");
        let keys = shop.all();
        shop.undated = keys.iter().filter(|_| random.f64() < share).cloned().collect();
        if random.u8(0..4) == 0 {
            shop.misdated = keys.iter().filter(|_| random.f64() < 0.03).cloned().collect();
        }
        // Fewer than the pages that a piece is asked for.
        let faults = (0..random.usize(0..3)).map(|_| random.usize(1..20)).collect();
        *(if random.bool() { &mut shop.empty } else { &mut shop.short }) = faults;
        shop.repeats_from = (random.u8(0..4) == 0).then(|| random.usize(2..30));

        let reading = shop.read(span(0, 86_399));

        let is_complete = reading.distinct() == shop.all();
        assert!(is_complete || !reading.gaps.is_empty(), "{seed}: a record is missing without a word");
        if shop.repeats_from.is_none() {
            assert_eq!(reading.gaps, [], "{seed}");
            assert_eq!(reading.read, shop.records.len() as u64, "{seed}: each record counts once");
        }
        assert!(reading.read <= shop.records.len() as u64, "{seed}: {} records are counted", reading.read);
        let pages = shop.records.len() / rules.limit as usize + 1;
        assert!(
            shop.questions.len() < 200 + 60 * pages,
            "{seed}: {} questions for {pages} pages",
            shop.questions.len()
        );
    }
}

#[test]
fn a_count_that_is_the_same_whatever_is_asked_for_is_a_gap_that_says_so() {
    for counted in [0, 1, 199, 201, 9_001, u64::MAX] {
        for same in [1, 25, 200] {
            let rules = Rules { most_offset: 300, ..RULES };
            let mut shop = Shop { counts_always: Some(counted), rules, ..Shop::of(200, same) };
            let reading = shop.read(span(0, 86_399));
            assert_eq!(reading.distinct(), shop.all());
            assert_eq!(reading.read, 200);
            let whole = if same == 200 { span(0, 0) } else { span(0, 86_399) };
            assert_eq!(reading.gaps, [Gap { span: whole, listed: 200, counted: Some(counted) }]);
            assert!(shop.questions.len() < 1_100, "{counted}, {same}: {} questions", shop.questions.len());
        }
    }
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
