//! Which days a file covers, and what a report still waits for.

use super::*;
use crate::db::testing::{TestDb, at, now, on_both_databases};

on_both_databases![
    a_mall_without_arrivals_is_waited_for_only_if_that_is_declared,
    a_day_after_the_first_that_came_is_waited_for,
    a_day_that_came_before_stays_as_it_is,
    a_mall_that_sold_nothing_came_with_the_others,
];

fn day(text: &str) -> NaiveDate {
    format!("2026-11-{text}").parse().unwrap()
}

fn days(text: &str) -> BTreeSet<NaiveDate> {
    text.split_whitespace().map(day).collect()
}

/// `19:50 20:3`: rows by day.
fn rows(text: &str) -> BTreeMap<NaiveDate, i64> {
    let of = |word: &str| {
        let (day_of, count) = word.split_once(':').unwrap();
        (day(day_of), count.parse().unwrap())
    };
    text.split_whitespace().map(of).collect()
}

/// The days that a file with these rows covers, exported in the night after the 19th. `stored` counts its own rows too.
fn covered(file: &str, known: &str, stored: &str) -> Vec<String> {
    covered_by(&MallDays { has_older: false, rows: rows(file) }, known, stored, false)
}

fn covered_by(file: &MallDays, known: &str, stored: &str, is_stated: bool) -> Vec<String> {
    let (known, stored) = (days(known), rows(stored));
    let known = Known { days: &known, stored: &stored };
    let exported = Exported { at: at("2026-11-20T02:00:00+09:00"), is_stated };
    let covered = file.covered(&known, day("01"), day("19"), exported);
    covered.iter().map(|day| day.format("%d").to_string()).collect()
}

#[test]
fn the_first_file_covers_what_it_has() {
    assert_eq!(covered("17:5 19:5 20:1", "", "17:5 19:5 20:1"), ["17", "18", "19"]);
}

#[test]
fn a_file_of_each_night_covers_its_turn() {
    assert_eq!(covered("19:5", "17 18", "17:5 18:5 19:5"), ["19"], "a day at a time");
    assert_eq!(covered("15:1 18:2 19:5", "17 18", "17:5 18:5 19:5"), ["19"], "what changed since");
}

#[test]
fn only_a_file_that_proves_to_be_complete_fills_a_gap() {
    let stored = "16:5 17:5 18:4 19:5";
    assert_eq!(covered("16:5 17:5 18:4 19:5", "16 17", stored), ["16", "17", "18", "19"], "all of it");
    assert_eq!(covered("18:4 19:5", "16 17", stored), ["18", "19"], "from the gap on");
    assert_eq!(covered("19:5", "16 17", stored), ["19"], "the next day");
    assert_eq!(covered("16:1 17:2 18:1 19:5", "16 17", stored), ["19"], "what changed since");
    // The file of the 18th, late: the 19th is not its turn, whatever its own time says.
    assert_eq!(covered("18:4", "16 17", "16:5 17:5 18:4"), ["18"]);
}

#[test]
fn a_day_without_sales_needs_a_proof() {
    assert_eq!(
        covered("17:5 18:5", "17 18", "17:5 18:5"),
        ["17", "18", "19"],
        "the days before are all there"
    );
    assert_eq!(covered("18:5", "17", "17:5 18:5"), ["18"], "the file of the day before");
    assert_eq!(covered("18:5", "17 18", "17:5 18:5"), ["18"], "the same once more");
    assert_eq!(covered("15:5 16:5", "15 16 17", "15:5 16:5 17:5"), ["15", "16"], "an old file again");
    assert_eq!(covered("15:5", "", "15:5"), ["15"], "the first one");
    let quiet = MallDays { has_older: false, rows: rows("18:5") };
    assert_eq!(covered_by(&quiet, "17", "17:5 18:5", true), ["18", "19"], "somebody said so");
}

#[test]
fn a_file_that_reaches_back_further_than_is_examined_is_no_less_complete() {
    let file = |text| MallDays { has_older: true, rows: rows(text) };
    assert_eq!(covered_by(&file("17:5 19:5"), "", "17:5 19:5", false).len(), 19);
    assert_eq!(covered_by(&file("17:5 19:5"), "16 17", "17:5 19:5", false).len(), 19);
    assert_eq!(covered_by(&file("17:2 18:1 19:5"), "16 17", "17:5 18:4 19:5", false), ["19"]);
}

#[test]
fn whole_days_are_those_within_a_period() {
    let tokyo = chrono_tz::Asia::Tokyo;
    let whole = |first, last| {
        let days = whole_days(at(first), at(last), tokyo);
        days.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(whole("2026-11-18T00:00:00+09:00", "2026-11-19T23:59:59+09:00"), ["2026-11-18", "2026-11-19"]);
    assert_eq!(whole("2026-11-18T00:00:01+09:00", "2026-11-19T23:59:58+09:00"), Vec::<String>::new());
    let new_york = chrono_tz::America::New_York;
    let short = whole_days(at("2026-03-08T00:00:00-05:00"), at("2026-03-08T23:59:59-04:00"), new_york);
    assert_eq!(short.len(), 1, "a day of 23 hours");
}

async fn tokyo(db: &mut TestDb) -> Mall {
    let mall = db.mall("tokyo", "Asia/Tokyo", "JPY").await;
    crate::shop::malls::all_malls(db).await.unwrap().into_iter().find(|one| one.id == mall.id).unwrap()
}

fn arrival(as_of: &str) -> Arrival {
    Arrival { source: Source::Import, as_of: at(as_of), run: 7, at: now() }
}

/// What the orders of the 19th wait for.
async fn of_the_19th(db: &mut TestDb, config: &FreshnessConfig, mall: &Mall) -> Option<Awaited> {
    awaited(db, config, mall, DayRange::single(day("19")), &[Subject::Order, Subject::Sales]).await.unwrap()
}

async fn a_mall_without_arrivals_is_waited_for_only_if_that_is_declared(db: &mut TestDb) {
    let mall = tokyo(db).await;
    let mut config = FreshnessConfig::default();
    assert_eq!(of_the_19th(db, &config, &mall).await, None);
    config.orders = Expectation::Always;
    assert_eq!(of_the_19th(db, &config, &mall).await, Some(Awaited { subject: Subject::Order, since: None }));
    note(db, mall.id, Subject::Order, &days("19"), &arrival("2026-11-19T17:00:00Z")).await.unwrap();
    assert_eq!(of_the_19th(db, &config, &mall).await, None);
}

async fn a_day_after_the_first_that_came_is_waited_for(db: &mut TestDb) {
    let mall = tokyo(db).await;
    let config = FreshnessConfig::default();
    let since = "2026-11-17T17:00:00Z";
    note(db, mall.id, Subject::Order, &days("16 17"), &arrival(since)).await.unwrap();
    assert_eq!(
        of_the_19th(db, &config, &mall).await,
        Some(Awaited { subject: Subject::Order, since: Some(at(since)) })
    );
    let week = DayRange::new(day("14"), day("17")).unwrap();
    let found = awaited(db, &config, &mall, week, &[Subject::Order]).await.unwrap();
    assert_eq!(found, None, "days before the first are not waited for");
    let mut config = config;
    config.orders = Expectation::Never;
    assert_eq!(of_the_19th(db, &config, &mall).await, None);
}

async fn a_day_that_came_before_stays_as_it_is(db: &mut TestDb) {
    let mall = tokyo(db).await;
    note(db, mall.id, Subject::Order, &days("17"), &arrival("2026-11-17T17:00:00Z")).await.unwrap();
    note(db, mall.id, Subject::Order, &days("17 18"), &arrival("2026-11-18T17:00:00Z")).await.unwrap();
    assert_eq!(
        db.lines("SELECT business_day, as_of FROM data_arrivals").await,
        ["2026-11-17 2026-11-17T17:00:00+00:00", "2026-11-18 2026-11-18T17:00:00+00:00"]
    );
}

async fn a_mall_that_sold_nothing_came_with_the_others(db: &mut TestDb) {
    for code in ["tokyo", "osaka", "kobe"] {
        db.mall(code, "Asia/Tokyo", "JPY").await;
    }
    let malls = crate::shop::malls::all_malls(db).await.unwrap();
    let [tokyo, osaka, kobe] =
        ["tokyo", "osaka", "kobe"].map(|code| malls.iter().find(|mall| mall.code == code).unwrap().id);
    for mall in [tokyo, osaka] {
        note(db, mall, Subject::Order, &days("18"), &arrival("2026-11-18T17:00:00Z")).await.unwrap();
    }
    let elsewhere = Arrival { run: 6, ..arrival("2026-11-18T17:00:00Z") };
    note(db, kobe, Subject::Order, &days("18"), &elsewhere).await.unwrap();
    let of_tokyo = MallDays { has_older: false, rows: rows("19:5") };
    let file = FileDays { malls: BTreeMap::from([(tokyo, of_tokyo)]) };
    let exported = Exported { at: at("2026-11-19T17:00:00Z"), is_stated: false };
    let staged = StagedRows::of("orders").unwrap();
    file.note(db, &File { staged, exported, mall: None, malls: &malls }, 8, now()).await.unwrap();
    assert_eq!(
        db.lines("SELECT code FROM data_arrivals JOIN malls ON malls.id = mall_id WHERE execution_id = 8")
            .await,
        ["osaka", "tokyo"]
    );
}
