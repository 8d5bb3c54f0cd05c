use super::*;

/// A list as the service would return it: members or orders with their second, which appear and disappear.
struct Shop {
    records: Vec<(String, i64)>,
    is_descending: bool,
    rules: Rules,
    calls: Vec<Cursor>,
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_785_510_000 + second, 0).expect("a time")
}

fn span(first: i64, last: i64) -> Span {
    Span { first: at(first), last: at(last) }
}

const MEMBERS: Rules = Rules { noun: "members", most_offset: 80, longest: None, walks: true };
const ORDERS: Rules = Rules { noun: "orders", most_offset: 150, longest: None, walks: false };

impl Shop {
    /// `count` records, `same` of them in each second.
    fn of(count: i64, same: i64, rules: Rules) -> Self {
        let records = (0..count).map(|number| (format!("r{number:05}"), number / same)).collect();
        Self { records, is_descending: false, rules, calls: Vec::new() }
    }

    fn page(&mut self, cursor: &Cursor, limit: u32) -> Vec<RecordPosition> {
        self.calls.push(cursor.clone());
        let mut records = self.records.clone();
        records.sort_by(|(a, second_of_a), (b, second_of_b)| (second_of_a, a).cmp(&(second_of_b, b)));
        let place =
            |(key, second): &(String, i64)| RecordPosition { key: Some(key.clone()), at: Some(at(*second)) };
        match cursor {
            Cursor::Walk(walk) => {
                let rest = records.iter().filter(|(_, second)| at(*second) >= walk.from);
                rest.take(limit as usize).map(place).collect()
            }
            Cursor::Window(window) => {
                assert!(window.offset <= self.rules.most_offset, "the service refuses a larger offset");
                if self.is_descending {
                    records.reverse();
                }
                let within = records
                    .iter()
                    .filter(|(_, second)| (window.span.first..=window.span.last).contains(&at(*second)));
                within.skip(window.offset as usize).take(limit as usize).map(place).collect()
            }
        }
    }

    /// Reads a whole span, and changes the list after each page.
    fn read(
        &mut self,
        span: Span,
        limit: u32,
        mut change: impl FnMut(&mut Vec<(String, i64)>, usize),
    ) -> Result<Vec<String>, Failure> {
        let mut read = Vec::new();
        let mut cursor = Some(Cursor::new(span, &self.rules));
        while let Some(here) = cursor {
            let page = self.page(&here, limit);
            // As a run that was killed and restarted would read it.
            let here: Cursor =
                serde_json::from_str(&serde_json::to_string(&here).expect("a checkpoint")).expect("a cursor");
            let step = here.step(&page, limit, &self.rules)?;
            let new = page.into_iter().zip(step.is_new).filter(|(_, is_new)| *is_new);
            read.extend(new.filter_map(|(place, _)| place.key));
            cursor = step.next;
            assert!(self.calls.len() < 1_000, "the list has an end");
            change(&mut self.records, self.calls.len());
        }
        Ok(read)
    }

    fn all(&self) -> Vec<String> {
        self.records.iter().map(|(key, _)| key.clone()).collect()
    }
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

/// A record may be read twice after a change; the tables contain each once.
fn distinct(keys: Vec<String>) -> Vec<String> {
    let mut keys = sorted(keys);
    keys.dedup();
    keys
}

fn quiet(_: &mut Vec<(String, i64)>, _: usize) {}

#[test]
fn a_list_below_the_maximum_offset_is_paged_by_offset() {
    for count in [0, 1, 9, 10, 11, 19, 20, 85] {
        for is_descending in [false, true] {
            let mut shop = Shop { is_descending, ..Shop::of(count, 3, ORDERS) };
            let read = shop.read(span(0, 1_000), 10, quiet).expect("it is read");
            assert_eq!(sorted(read), shop.all(), "{count} records");
        }
    }
}

#[test]
fn orders_beyond_the_maximum_offset_are_read_once_in_narrowing_windows() {
    for is_descending in [false, true] {
        let mut shop = Shop { is_descending, ..Shop::of(2_000, 7, ORDERS) };
        let read = shop.read(span(0, 1_000), 10, quiet).expect("it is read");
        assert_eq!(sorted(read), shop.all());
        assert!(shop.calls.len() < 2_000 / 9 + 30, "{} calls", shop.calls.len());
    }
}

#[test]
fn members_beyond_the_maximum_offset_are_each_walked_exactly_once() {
    for (is_descending, same) in [(false, 1), (false, 7), (true, 7), (false, 10), (false, 25), (true, 25)] {
        let mut shop = Shop { is_descending, ..Shop::of(1_000, same, MEMBERS) };
        let read = shop.read(span(0, 999), 10, quiet).expect("it is read");
        assert_eq!(distinct(read.clone()), shop.all(), "{same} in each second");
        if !is_descending {
            assert_eq!(read.len(), 1_000, "{same} in each second");
        }
        assert!(shop.calls.iter().any(|cursor| matches!(cursor, Cursor::Walk(_))));
    }
}

#[test]
fn a_walk_ends_with_its_period() {
    let mut shop = Shop::of(1_000, 1, MEMBERS);
    let read = shop.read(span(100, 399), 10, quiet).expect("it is read");
    let wanted: Vec<String> = (100..400).map(|number| format!("r{number:05}")).collect();
    assert_eq!(sorted(read), wanted);
    assert!(shop.calls.len() < 40);
}

#[test]
fn members_who_sign_up_in_the_meantime_are_read_too_and_nobody_is_lost() {
    for is_descending in [false, true] {
        let mut shop = Shop { is_descending, ..Shop::of(500, 7, MEMBERS) };
        let read = shop
            .read(span(0, 100_000), 10, |records, page| records.push((format!("new{page:05}"), 90_000)))
            .expect("it is read");
        let read = distinct(read);
        assert!((0..500).all(|number| read.contains(&format!("r{number:05}"))));
        // All records added before the last check of the front started; or before the last page of an ascending
        // walk, after which there is a call for the seconds that follow.
        let is_last_look = |cursor: &Cursor| matches!(cursor, Cursor::Window(window) if window.is_last_look);
        let last_page = shop.calls.len() - 2;
        let last = shop.calls.iter().position(is_last_look).filter(|_| is_descending).unwrap_or(last_page);
        let missing: Vec<usize> =
            (1..=last).filter(|page| !read.contains(&format!("new{page:05}"))).collect();
        assert!(missing.is_empty(), "{missing:?} of {last}, descending {is_descending}");
    }
}

#[test]
fn records_added_at_the_front_are_read_even_if_the_list_was_restarted() {
    let mut shop = Shop { is_descending: true, ..Shop::of(400, 3, ORDERS) };
    let read = shop
        .read(span(0, 1_000), 10, |records, page| match page {
            3 => records.push(("new".to_owned(), 900)),
            // In the second window, before the position.
            22 => records.retain(|(key, _)| key != "r00240"),
            _ => {}
        })
        .expect("it is read");
    let read = distinct(read);
    assert!(read.contains(&"new".to_owned()));
    assert!(shop.all().iter().all(|key| read.contains(key)));
}

#[test]
fn a_list_that_is_not_sorted_by_time_is_read_in_halves() {
    for rules in [ORDERS, MEMBERS] {
        // The order of the times differs from that of the keys, by which this service sorts.
        let mut shop = Shop::of(0, 1, rules);
        shop.records = (0..1_000).map(|number| (format!("r{number:05}"), number * 37 % 1_000)).collect();
        let mut read = Vec::new();
        let mut cursor = Some(Cursor::new(span(0, 999), &rules));
        while let Some(here) = cursor {
            let page = match &here {
                Cursor::Walk(_) => shop.page(&here, 10),
                Cursor::Window(window) => {
                    assert!(window.offset <= rules.most_offset);
                    let within =
                        |second: i64| window.span.first <= at(second) && at(second) <= window.span.last;
                    let records = shop.records.iter().filter(|(_, second)| within(*second));
                    let place = |(key, second): &(String, i64)| RecordPosition {
                        key: Some(key.clone()),
                        at: Some(at(*second)),
                    };
                    records.skip(window.offset as usize).take(10).map(place).collect()
                }
            };
            let step = here.step(&page, 10, &rules).expect("it is read");
            let new = page.into_iter().zip(step.is_new).filter(|(_, is_new)| *is_new);
            read.extend(new.filter_map(|(place, _)| place.key));
            cursor = step.next;
            assert!(read.len() < 20_000, "it has an end");
        }
        assert_eq!(distinct(read), shop.all());
    }
}

#[test]
fn records_that_disappear_before_the_position_hide_no_others() {
    for is_descending in [false, true] {
        let mut shop = Shop { is_descending, ..Shop::of(120, 3, ORDERS) };
        let mut gone = Vec::new();
        let read = shop
            .read(span(0, 1_000), 10, |records, page| {
                if page % 3 == 2 && page < 30 {
                    let place = if is_descending { records.len() - 1 } else { 0 };
                    gone.push(records.remove(place).0);
                }
            })
            .expect("it is read");
        let read = distinct(read);
        assert!(shop.all().iter().all(|key| read.contains(key)), "{gone:?} were deleted");
    }
}

#[test]
fn a_list_that_keeps_changing_is_an_error() {
    let mut shop = Shop::of(120, 3, ORDERS);
    let mut number = 0;
    let failure = shop
        .read(span(0, 1_000), 10, |records, _| {
            number += 1;
            for (index, record) in records.iter_mut().enumerate() {
                record.0 = format!("x{number}-{index:05}");
            }
        })
        .expect_err("it ends");
    assert_eq!(failure.kind, crate::failure::FailureKind::TryLater);
    assert_eq!(failure.message, "the list of orders changed 20 times while it was read");
}

#[test]
fn a_second_with_more_records_than_the_service_can_list_is_an_error() {
    let mut shop = Shop::of(1_000, 500, ORDERS);
    let failure = shop.read(span(0, 1_000), 10, quiet).expect_err("it cannot be read");
    assert!(failure.message.starts_with("more than 150 orders in the second "), "{}", failure.message);
}

#[test]
fn windows_are_no_longer_than_a_call_may_request() {
    let day = 86_400;
    let rules = Rules { longest: Some(TimeDelta::days(89)), ..ORDERS };
    let records = (0..400).map(|number| (format!("r{number:05}"), number * day)).collect();
    let mut shop = Shop { records, is_descending: true, rules, calls: Vec::new() };
    let read = shop.read(span(0, 400 * day - 1), 10, quiet).expect("it is read");
    assert_eq!(sorted(read), shop.all());
    for cursor in &shop.calls {
        let Cursor::Window(window) = cursor else { panic!("orders are not walked") };
        assert!(window.span.last - window.span.first < TimeDelta::days(89));
    }
}

#[test]
fn a_server_that_returns_the_same_page_for_ever_is_an_error() {
    let page: Vec<RecordPosition> = (0..10)
        .map(|number| RecordPosition { key: Some(format!("r{number}")), at: Some(at(number)) })
        .collect();
    for rules in [MEMBERS, ORDERS] {
        let mut cursor = Cursor::new(span(0, 1_000), &rules);
        let mut calls = 0;
        let failure = loop {
            calls += 1;
            assert!(calls < 50, "it fails in time");
            match cursor.step(&page, 10, &rules) {
                Ok(step) => cursor = step.next.expect("a full page is not the last"),
                Err(failure) => break failure,
            }
        };
        assert!(failure.message.contains("changed 20 times"), "{}", failure.message);
    }
}

#[test]
fn records_outside_the_period_are_an_error_before_the_window_narrows() {
    let mut shop = Shop { is_descending: true, ..Shop::of(2_000, 7, ORDERS) };
    let asked = span(500, 1_000);
    let mut cursor = Cursor::new(asked, &ORDERS);
    let failure = loop {
        let Cursor::Window(window) = &cursor else { panic!("orders are not walked") };
        // It lists records from before the period.
        let wide = Cursor::Window(Window { span: span(0, 1_000), ..window.clone() });
        let page = shop.page(&wide, 10);
        match cursor.step(&page, 10, &ORDERS) {
            Ok(step) => cursor = step.next.expect("there is more"),
            Err(failure) => break failure,
        }
    };
    assert!(failure.message.contains("outside the requested period"), "{}", failure.message);
}

#[test]
fn a_walk_that_is_not_sorted_is_an_error() {
    let walk = Cursor::Walk(Walk { from: at(0), seen: Vec::new(), until: at(100), front: None });
    let place = |second| RecordPosition { key: Some(format!("r{second}")), at: Some(at(second)) };
    let failure = walk.step(&[place(5), place(3)], 2, &MEMBERS).err().expect("it fails");
    assert!(failure.message.contains("not sorted"));
    let nameless = [RecordPosition::default(), RecordPosition::default()];
    assert!(walk.step(&nameless, 2, &MEMBERS).is_err());
}

#[test]
fn records_without_a_key_do_not_stop_the_pages() {
    let rules = ORDERS;
    let cursor = Cursor::new(span(0, 100), &rules);
    let page = vec![RecordPosition { key: None, at: Some(at(1)) }; 10];
    let step = cursor.step(&page, 10, &rules).expect("it continues");
    assert!(step.is_new.iter().all(|is_new| *is_new));
    let Some(Cursor::Window(window)) = step.next else { panic!("there is more") };
    assert_eq!((window.offset, window.last), (10, None));
}
