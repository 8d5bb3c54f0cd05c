//! Which days a file covers, and what a report still waits for.

use std::collections::BTreeMap;

use super::files::{Exported, File, FileDays, Known, MallDays, StagedRows, named_day};
use super::habits::{EarlierFile, Habits, is_before_noon};
use super::*;
use crate::db::Kind;
use crate::db::testing::{TestDb, at, now, on_both_databases};

on_both_databases![
    a_mall_without_arrivals_is_waited_for_only_if_that_is_declared,
    a_day_after_the_first_that_came_is_waited_for,
    announced_data_is_waited_for_from_when_the_mall_was_added,
    a_day_that_came_before_stays_as_it_is,
    what_came_in_part_has_not_come_until_that_is_settled,
    what_cannot_be_read_has_not_come,
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

/// A file with these rows, of which `unchanged` were stored just so before.
fn file(text: &str, unchanged: &str) -> MallDays {
    MallDays { has_older: false, rows: rows(text), unchanged: rows(unchanged) }
}

const MALL: i64 = 1;
const TOKYO: Tz = chrono_tz::Asia::Tokyo;

/// How a file was exported, in the night after the 19th.
const IN_THE_NIGHT: fn() -> Exported = || Exported {
    at: at("2026-11-20T02:00:00+09:00"),
    is_stated: false,
    named_day: None,
    is_of_period: false,
};

/// The days that such a file covers. `stored` counts its own rows too.
fn covered(file: &MallDays, known: &str, stored: &str) -> Vec<String> {
    covered_by(file, known, stored, IN_THE_NIGHT())
}

fn covered_by(file: &MallDays, known: &str, stored: &str, exported: Exported) -> Vec<String> {
    covered_after(&[], file, (known, stored), exported)
}

/// After these files.
fn covered_after(
    earlier: &[EarlierFile],
    file: &MallDays,
    (known, stored): (&str, &str),
    exported: Exported,
) -> Vec<String> {
    let (known, stored) = (days(known), rows(stored));
    let mut habits = Habits::of(earlier, MALL, TOKYO);
    habits.note(file, exported.at, TOKYO);
    let is_early = is_before_noon(exported.at, TOKYO);
    let known = Known { days: &known, stored: &stored, habits: &habits, is_early };
    let covered = file.covered(&known, day("01"), day("19"), exported);
    covered.iter().map(|day| day.format("%d").to_string()).collect()
}

#[test]
fn the_first_file_covers_what_it_has() {
    assert_eq!(covered(&file("17:5 19:5 20:1", ""), "", "17:5 19:5 20:1"), ["17", "18", "19"]);
}

#[test]
fn a_file_of_each_night_covers_its_turn() {
    assert_eq!(covered(&file("19:5", ""), "17 18", "17:5 18:5 19:5"), ["19"], "a day at a time");
    let changes = file("15:1 18:2 19:5", "");
    assert_eq!(covered(&changes, "17 18", "17:5 18:5 19:5"), ["19"], "what changed since");
}

#[test]
fn only_a_file_that_proves_to_be_complete_fills_a_gap() {
    let stored = "16:5 17:5 18:4 19:5";
    let all = file("16:5 17:5 18:4 19:5", "16:5 17:4");
    assert_eq!(covered(&all, "16 17", stored), ["16", "17", "18", "19"], "all of it");
    assert_eq!(covered(&file("19:5", ""), "16 17", stored), ["19"], "the next day");
    let changes = file("16:1 17:2 18:1 19:5", "17:1");
    assert_eq!(covered(&changes, "16 17", stored), ["19"], "what changed since");
    let paid_since = file("18:1 19:5", "");
    assert_eq!(covered(&paid_since, "16 17", "16:5 17:5 18:1 19:5"), ["19"], "it touches the missing day");
    let small_day = file("17:1 19:5", "");
    assert_eq!(covered(&small_day, "16 17", "16:5 17:1 19:5"), ["19"], "all of a small day, each changed");
    let touched = file("17:1 19:5", "17:1");
    assert_eq!(covered(&touched, "16 17", "16:5 17:1 19:5"), ["19"], "a note was added to an order");
}

#[test]
fn a_file_that_is_declared_to_hold_a_period_fills_it() {
    let week = file("18:4 19:5", "");
    let declared = Exported { is_of_period: true, ..IN_THE_NIGHT() };
    assert_eq!(covered_by(&week, "16 17", "17:5 18:4 19:5", declared), ["18", "19"]);
    let lacks_some = file("17:2 18:4 19:5", "");
    assert_eq!(covered_by(&lacks_some, "16 17", "17:5 18:4 19:5", declared), ["19"], "it does not");
}

#[test]
fn an_old_file_that_was_copied_is_known_by_the_day_in_its_name() {
    let late = file("18:4", "");
    let named = |day_of: &str| Exported { named_day: Some(day(day_of)), ..IN_THE_NIGHT() };
    let stored = "16:5 17:5 18:4";
    assert_eq!(covered(&late, "16 17", stored), Vec::<String>::new(), "or a change of the 18th alone");
    assert_eq!(covered_by(&late, "16 17", stored, named("18")), ["18"], "that of its rows");
    assert_eq!(covered_by(&late, "16 17", stored, named("19")), ["18"], "that of the export");
    assert_eq!(covered_by(&late, "16 17", stored, named("20")), Vec::<String>::new());
}

#[test]
fn the_day_in_a_name_is_the_last_one() {
    let named = |name: &str| named_day(name).map(|day| day.to_string()).unwrap_or_default();
    assert_eq!(named("orders-2026-11-18.csv"), "2026-11-18");
    assert_eq!(named("orders_20261118.csv.gz"), "2026-11-18");
    assert_eq!(named("order_20261119020311.csv"), "2026-11-19");
    assert_eq!(named("受注2026_11_18.csv"), "2026-11-18");
    assert_eq!(named("2026-11-01_2026-11-18.csv"), "2026-11-18");
    for name in ["orders.csv", "orders_export_1.csv", "20261318.csv", "120261118.csv", "2026-11.csv"] {
        assert_eq!(named(name), "", "{name}");
    }
}

#[test]
fn a_day_without_sales_needs_a_proof() {
    let none = Vec::<String>::new();
    let two_days = file("17:5 18:5", "17:5 18:5");
    assert_eq!(covered(&two_days, "17 18", "17:5 18:5"), ["17", "18", "19"], "the days before are all there");
    let one_day = |unchanged| file("18:5", unchanged);
    assert_eq!(covered(&one_day(""), "17", "17:5 18:5"), none, "the file of the day before");
    assert_eq!(covered(&one_day("18:5"), "17 18", "17:5 18:5"), none, "the same once more");
    let old = file("15:5 16:5", "15:5 16:5");
    assert_eq!(covered(&old, "15 16 17", "15:5 16:5 17:5"), none, "an old file again");
    assert_eq!(covered(&file("15:5", ""), "", "15:5"), ["15"], "the first one");
}

#[test]
fn when_a_file_was_exported_says_something_of_a_quiet_day_only_in_the_morning_after() {
    let none = Vec::<String>::new();
    let stated = Exported { is_stated: true, ..IN_THE_NIGHT() };
    let at_noon = Exported { at: at("2026-11-20T12:00:00+09:00"), ..stated };
    let changes = file("15:1 18:5", "");
    assert_eq!(covered_by(&changes, "15 17", "15:5 17:5 18:5", stated), ["19"], "somebody said so");
    assert_eq!(covered_by(&changes, "15 17", "15:5 17:5 18:5", at_noon), none, "the running day");
    let one_day = file("18:5", "");
    assert_eq!(covered_by(&one_day, "17", "17:5 18:5", stated), none, "the file of a day is of no other");
    let so_far = file("20:3", "");
    assert_eq!(covered_by(&so_far, "17 18", "17:5 18:5", stated), none, "the running day so far");
    let two_days = file("17:5 18:5", "17:5 18:5");
    assert_eq!(covered_by(&two_days, "17 18", "17:5 18:5", at_noon), ["17", "18", "19"], "everything");
}

#[test]
fn a_file_of_a_period_says_nothing_of_the_days_before() {
    let none = Vec::<String>::new();
    let declared = Exported { is_of_period: true, is_stated: true, ..IN_THE_NIGHT() };
    let next_week = file("20:2", "");
    assert_eq!(covered_by(&next_week, "17 18", "17:5 18:5", declared), none, "it begins later");
    let declared = Exported { at: at("2026-11-20T20:00:00+09:00"), is_stated: false, ..declared };
    let week = file("17:5 18:5 20:2", "");
    assert_eq!(covered_by(&week, "17 18", "17:5 18:5", declared), ["17", "18", "19"], "it goes on");
}

/// A file that was exported at this instant.
fn earlier(exported: &str, text: &str) -> EarlierFile {
    let malls = BTreeMap::from([(MALL, file(text, ""))]);
    EarlierFile {
        run: 1,
        is_partial: false,
        exported: at(exported),
        named_day: None,
        days: FileDays { malls },
    }
}

#[test]
fn a_day_that_begins_in_a_missing_file_has_not_come() {
    let none = Vec::<String>::new();
    let first = earlier("2026-11-18T02:00:00+09:00", "17:5 18:1");
    let second = earlier("2026-11-19T02:00:00+09:00", "18:5 19:1");
    let all_came = ("17 18", "17:5 18:6 19:6");
    let one_is_missing = ("17", "17:5 18:1 19:5");
    for changes in [file("19:5 20:1", ""), file("19:5", ""), file("17:1 19:5 20:1", "")] {
        let both = [first.clone(), second.clone()];
        assert_eq!(covered_after(&both, &changes, all_came, IN_THE_NIGHT()), ["19"]);
        assert_eq!(covered_after(&both[..1], &changes, one_is_missing, IN_THE_NIGHT()), none);
    }
    let of_a_day = earlier("2026-11-18T02:00:00+09:00", "17:5");
    assert_eq!(covered_after(&[of_a_day], &file("19:5", ""), one_is_missing, IN_THE_NIGHT()), ["19"]);
    let all = file("17:5 18:6 19:5 20:1", "17:5");
    assert_eq!(
        covered_after(&[first], &all, one_is_missing, IN_THE_NIGHT()),
        ["17", "18", "19"],
        "all of it"
    );
}

#[test]
fn a_header_alone_is_of_the_day_before_its_export_or_of_that_in_its_name() {
    let habits = |earlier: &[EarlierFile]| Habits::of(earlier, MALL, TOKYO);
    let empty = |time: &str, named: Option<&str>| Exported {
        at: at(&format!("2026-11-20T{time}:00+09:00")),
        named_day: named.map(day),
        ..IN_THE_NIGHT()
    };
    let of = |habits: &Habits, exported| habits.day_of_an_empty_file(exported, TOKYO);
    let unknown = habits(&[]);
    assert_eq!(of(&unknown, empty("02:00", None)), Some(day("19")));
    assert_eq!(of(&unknown, empty("20:00", None)), None, "that of the running day");
    assert_eq!(of(&unknown, empty("20:00", Some("19"))), Some(day("19")));
    assert_eq!(of(&unknown, empty("02:00", Some("20"))), Some(day("19")), "the day of its export");
    assert_eq!(of(&unknown, empty("20:00", Some("20"))), None);
    assert_eq!(of(&unknown, empty("02:00", Some("17"))), None, "that day, or the one before");
    let named = |named: &str| {
        let file = earlier("2026-11-16T02:00:00+09:00", "15:5");
        habits(&[EarlierFile { named_day: Some(day(named)), ..file }])
    };
    assert_eq!(of(&named("15"), empty("02:00", Some("17"))), Some(day("17")), "as the others are named");
    assert_eq!(of(&named("16"), empty("02:00", Some("17"))), Some(day("16")));
    let end_within_a_day = habits(&[earlier("2026-11-18T02:00:00+09:00", "17:5 18:1")]);
    assert_eq!(of(&end_within_a_day, empty("02:00", None)), None, "the file before is missing");
}

#[test]
fn a_file_that_reaches_back_further_than_is_examined_is_no_less_complete() {
    let file = |text, unchanged| MallDays { has_older: true, ..file(text, unchanged) };
    assert_eq!(covered(&file("17:5 19:5", ""), "", "17:5 19:5").len(), 19);
    assert_eq!(covered(&file("17:5 19:5", "17:5"), "16 17", "17:5 19:5").len(), 19);
    assert_eq!(covered(&file("17:2 18:1 19:5", ""), "16 17", "17:5 18:4 19:5"), ["19"]);
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

/// Orders that are missing of a day, after those that had come up to then.
fn missing(of: &str, since: Option<&str>) -> Awaited {
    Awaited { subject: Subject::Order, day: day(of), since: since.map(at), partial_run: None }
}

/// What the orders of the 19th wait for.
async fn of_the_19th(db: &mut TestDb, config: &FreshnessConfig, mall: &Mall) -> Option<Awaited> {
    awaited(db, config, mall, DayRange::single(day("19")), &[Subject::Order, Subject::Sales]).await.unwrap()
}

async fn a_mall_without_arrivals_is_waited_for_only_if_that_is_declared(db: &mut TestDb) {
    let mall = tokyo(db).await;
    let mut config = FreshnessConfig::default();
    assert_eq!(of_the_19th(db, &config, &mall).await, None);
    config.orders = Some(Expectation::Always);
    assert_eq!(of_the_19th(db, &config, &mall).await, Some(missing("19", None)));
    note(db, mall.id, Subject::Order, &days("19"), &arrival("2026-11-19T17:00:00Z")).await.unwrap();
    assert_eq!(of_the_19th(db, &config, &mall).await, None);
}

async fn a_day_after_the_first_that_came_is_waited_for(db: &mut TestDb) {
    let mall = tokyo(db).await;
    let config = FreshnessConfig::default();
    let since = "2026-11-17T17:00:00Z";
    note(db, mall.id, Subject::Order, &days("16 17"), &arrival(since)).await.unwrap();
    assert_eq!(of_the_19th(db, &config, &mall).await, Some(missing("19", Some(since))));
    // What came of the days after it is not what was there before.
    note(db, mall.id, Subject::Order, &days("20"), &arrival("2026-11-20T17:00:00Z")).await.unwrap();
    assert_eq!(of_the_19th(db, &config, &mall).await, Some(missing("19", Some(since))));
    let week = DayRange::new(day("14"), day("17")).unwrap();
    let found = awaited(db, &config, &mall, week, &[Subject::Order]).await.unwrap();
    assert_eq!(found, None, "days before the first are not waited for");
    let mut config = config;
    config.orders = Some(Expectation::Never);
    assert_eq!(of_the_19th(db, &config, &mall).await, None);
}

async fn announced_data_is_waited_for_from_when_the_mall_was_added(db: &mut TestDb) {
    let mall = tokyo(db).await;
    let mut config = FreshnessConfig::default();
    assert_eq!(of_the_19th(db, &config, &mall).await, None);
    config.orders = Some(Expectation::Announced);
    let added = async |db: &mut TestDb, at: &str| {
        let sql = "UPDATE malls SET created_at = $1";
        db.execute(sql, values![at.parse::<DateTime<Utc>>().unwrap()]).await.unwrap();
    };
    // The day before it was added, until something has come.
    added(db, "2026-11-20T01:00:00+09:00").await;
    assert_eq!(of_the_19th(db, &config, &mall).await, Some(missing("19", None)));
    added(db, "2026-11-21T01:00:00+09:00").await;
    assert_eq!(of_the_19th(db, &config, &mall).await, None);
    note(db, mall.id, Subject::Order, &days("21"), &arrival("2026-11-21T17:00:00Z")).await.unwrap();
    added(db, "2026-11-20T01:00:00+09:00").await;
    assert_eq!(of_the_19th(db, &config, &mall).await, None);
    // A file that never came, and a mall that had none for a long time.
    added(db, "2026-11-19T01:00:00+09:00").await;
    assert_eq!(of_the_19th(db, &config, &mall).await, Some(missing("19", None)));
    added(db, "2026-10-21T01:00:00+09:00").await;
    assert_eq!(of_the_19th(db, &config, &mall).await, Some(missing("19", None)));
    added(db, "2026-10-20T01:00:00+09:00").await;
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
    let file = FileDays { malls: BTreeMap::from([(tokyo, file("19:5", ""))]) };
    let exported = IN_THE_NIGHT();
    let staged = StagedRows::of("orders").unwrap();
    file.note(db, &File { staged, exported, mall: None, malls: &malls, earlier: &[] }, 8, now())
        .await
        .unwrap();
    assert_eq!(
        db.lines("SELECT code FROM data_arrivals JOIN malls ON malls.id = mall_id WHERE execution_id = 8")
            .await,
        ["osaka", "tokyo"]
    );
}

/// A run that ended like this.
async fn run_that_ended(db: &mut TestDb, status: &str, exit_code: i64) -> i64 {
    let (id,): (i64,) = db
        .fetch_one(
            "INSERT INTO batch_execution (job, instance_key, command_line, attempt, status, started_at, heartbeat_at,
                 lease_expires_at, epoch, host, pid, pid_started_ticks, boot_id, items_read, items_written,
                 items_skipped, items_failed, exit_code, version, environment)
             VALUES ('data import', 'k', 'data import', 1, $1, $2, $2, $2, 1, 'h', 1, 1, 'b', 0, 0, 0, 0, $3, '1', 'dev')
             RETURNING id",
            values![status, now(), exit_code],
        )
        .await
        .unwrap();
    id
}

async fn what_came_in_part_has_not_come_until_that_is_settled(db: &mut TestDb) {
    let mall = tokyo(db).await;
    let config = FreshnessConfig::default();
    let since = "2026-11-18T17:00:00Z";
    note(db, mall.id, Subject::Order, &days("18"), &arrival(since)).await.unwrap();
    let run = run_that_ended(db, "PARTIAL", 3).await;
    let in_part = Arrival { run, ..arrival("2026-11-19T17:00:00Z") };
    note(db, mall.id, Subject::Order, &days("18 19"), &in_part).await.unwrap();
    let awaited = Awaited { partial_run: Some(run), ..missing("19", Some(since)) };
    assert_eq!(of_the_19th(db, &config, &mall).await, Some(awaited));
    let set = async |db: &mut TestDb, what: &str| {
        let sql = format!("UPDATE batch_execution SET {what} WHERE id = $1");
        db.execute(&sql, values![run]).await.unwrap();
    };
    for settled in ["settled_by = 99", "dismissed_at = started_at", "exit_code = 0", "status = 'COMPLETED'"] {
        set(db, settled).await;
        assert_eq!(of_the_19th(db, &config, &mall).await, None, "{settled}");
        set(db, "settled_by = NULL, dismissed_at = NULL, exit_code = 3, status = 'PARTIAL'").await;
    }
    // A later file that has all of the day.
    note(db, mall.id, Subject::Order, &days("18 19"), &arrival("2026-11-20T17:00:00Z")).await.unwrap();
    assert_eq!(of_the_19th(db, &config, &mall).await, None);
}

async fn what_cannot_be_read_has_not_come(db: &mut TestDb) {
    if db.kind() == Kind::Postgres {
        return;
    }
    let mall = tokyo(db).await;
    let config = FreshnessConfig::default();
    note(db, mall.id, Subject::Order, &days("17 18 19"), &arrival("2026-11-19T17:00:00Z")).await.unwrap();
    db.execute(
        "UPDATE data_arrivals SET as_of = 'soon', business_day = REPLACE(business_day, '9', 'x')",
        values![],
    )
    .await
    .unwrap();
    assert_eq!(of_the_19th(db, &config, &mall).await, Some(missing("19", None)));
}
