//! `data import --inbox`: what waits in a folder is imported once, oldest first, and moved; what is still being written, or
//! is no file at all, stays; and whatever kills the command or keeps it from moving a file, nothing is lost or done twice.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;

use rustix::process::Signal;

use super::{
    ORDERS, file, import, order_line, order_numbers, orders_file, rows, sorted, stored_orders, with_tokyo,
};
use crate::support::{Arranged, Batchctl, Database, Sandbox, Shop, can_mount, on_both_databases};

on_both_databases![
    files_are_imported_oldest_first_and_moved,
    a_file_that_cannot_be_imported_is_no_others_failure,
    a_long_name_is_shortened_and_keeps_nobody_elses_file,
    a_file_that_was_turned_away_stays_however_an_earlier_run_ended,
    a_retry_reads_the_file_of_its_own_run,
    a_command_that_is_killed_at_any_point_is_completed_by_the_next,
    a_file_that_is_still_being_written_is_left,
    a_file_that_grows_while_it_is_imported_is_imported_again,
    the_same_file_under_two_names_is_imported_once,
    names_may_be_anything_and_what_is_no_file_is_refused,
    a_file_that_cannot_be_moved_is_not_imported_again,
    an_old_file_changes_nothing_that_a_newer_one_said,
    a_column_with_the_time_of_the_change_takes_over_from_that_of_the_export,
    a_tie_is_decided_by_when_the_files_were_exported,
    a_time_in_the_future_is_later_than_nothing,
    an_old_file_between_does_not_make_a_newer_one_old,
    what_a_flag_says_of_the_mall_is_the_same_as_the_configuration,
    money_that_went_back_on_no_day_counts_when_an_export_first_says_so,
    a_retry_of_an_old_file_asks_whether_it_is_meant,
    an_old_file_that_comes_again_asks_whether_it_is_meant,
    the_name_decides_what_a_file_is,
    two_commands_at_once_import_each_file_once,
];

/// The import of orders from the folder `in`, whatever the age of its files.
fn import_inbox(shop: &Sandbox, arguments: &[&str]) -> Batchctl {
    let words = ["--kind", "orders", "--inbox", "in", "--min-age", "0s"];
    import(shop, &[words.as_slice(), arguments].concat())
}

/// The files below the folder `in`, with control characters as a shell would quote them.
fn files(shop: &Sandbox) -> Vec<String> {
    let mut found = Vec::new();
    for below in ["", "done/", "failed/"] {
        let Ok(entries) = fs::read_dir(shop.path(&format!("in/{below}"))) else { continue };
        let names = entries.map(|entry| entry.expect("it is there").file_name());
        found.extend(
            names
                .filter(|name| name != "done" && name != "failed")
                .map(|name| format!("{below}{}", name.to_string_lossy().escape_default())),
        );
    }
    sorted(found)
}

/// A file of the order A000001 in this status.
fn order_file(status: &str) -> String {
    file(ORDERS, &[&order_line(1).replace("PAID", status)])
}

fn status(shop: &Sandbox) -> String {
    shop.scalar("SELECT status FROM orders WHERE order_no = 'A000001'")
}

/// The runs, oldest first: the status and what it is called below the folder.
fn titles(shop: &Sandbox) -> Vec<String> {
    let runs = shop.sql("SELECT status, title FROM batch_execution ORDER BY id");
    runs.iter().map(|run| format!("{} {}", run[0], run[1].rsplit('/').next().unwrap_or_default())).collect()
}

fn files_are_imported_oldest_first_and_moved(shop: &Shop) {
    with_tokyo(shop);
    // By their names, they would be imported in another order.
    for (name, status, time) in [
        ("in/a.csv", "DELIVERED", "2026-11-19T03:00:00Z"),
        ("in/b.csv", "PAID", "2026-11-19T01:00:00Z"),
        ("in/c.csv", "SHIPPED", "2026-11-19T02:00:00Z"),
    ] {
        shop.write(name, order_file(status));
        shop.date(name, time);
    }
    import_inbox(shop, &[]).run().succeeds().is_silent();
    assert_eq!(status(shop), "DELIVERED");
    assert_eq!(titles(shop), ["COMPLETED b.csv", "COMPLETED c.csv", "COMPLETED a.csv"]);
    assert_eq!(files(shop), ["done/a.run3.csv", "done/b.run1.csv", "done/c.run2.csv"]);
    shop.batchctl(["runs", "list"]).run().succeeds().prints("in/b.csv");

    let before = shop.dump();
    import_inbox(shop, &["--verbose"]).run().succeeds().says("Nothing to import in ");
    assert_eq!(shop.dump(), before);
}

fn a_file_that_cannot_be_imported_is_no_others_failure(shop: &Shop) {
    with_tokyo(shop);
    shop.write("in/1.csv", file(ORDERS, &[&order_line(1)]));
    shop.write("in/2.csv", file(ORDERS, &[&order_line(2).replace("PAID", "PAYED")]));
    shop.write("in/3.csv", file(ORDERS, &[&order_line(3)]));
    let place = format!("the file is moved to `{}`", shop.path("in/failed/2.run2.csv").display());
    import_inbox(shop, &[]).run().exits(3).says("in/2.csv failed (run 2, exit 65").says(&place);
    // Its row outlives what was printed, and names the place at which the file can be fixed.
    shop.batchctl(["runs", "show", "2"]).run().succeeds().prints(&place);
    assert_eq!(stored_orders(shop), order_numbers([1, 3]));
    assert_eq!(files(shop), ["done/1.run1.csv", "done/3.run3.csv", "failed/2.run2.csv"]);
    // It waits no more.
    import_inbox(shop, &[]).run().succeeds().is_silent();

    shop.write("in/failed/2.run2.csv", file(ORDERS, &[&order_line(2)]));
    shop.batchctl(["runs", "retry", "2"]).run().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=3));
    assert_eq!(files(shop), ["done/1.run1.csv", "done/2.run4.csv", "done/3.run3.csv"]);
    assert_eq!(shop.scalar("SELECT settled_by FROM batch_execution WHERE id = 2"), "4");
}

/// With the number of its run, it would be longer than a name may be.
fn a_long_name_is_shortened_and_keeps_nobody_elses_file(shop: &Shop) {
    with_tokyo(shop);
    let long = format!("{}.csv", "a".repeat(248));
    shop.write(&format!("in/{long}"), file(ORDERS, &[&order_line(1).replace("PAID", "PAYED")]));
    shop.write("in/b.csv", file(ORDERS, &[&order_line(2)]));
    let moved = format!("failed/{}.run1.csv", "a".repeat(246));
    import_inbox(shop, &[]).run().exits(3).says(&moved);
    assert_eq!(files(shop), ["done/b.run2.csv".to_owned(), moved.clone()]);
    // Its own name still finds it.
    shop.write(&format!("in/{moved}"), file(ORDERS, &[&order_line(1)]));
    shop.batchctl(["runs", "retry", "1"]).run().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=2));
    assert_eq!(files(shop), [format!("done/{}.run3.csv", "a".repeat(246)), "done/b.run2.csv".to_owned()]);
}

fn a_file_that_was_turned_away_stays_however_an_earlier_run_ended(shop: &Shop) {
    with_tokyo(shop);
    shop.write("in/orders.csv", file(ORDERS, &[&order_line(1)]));
    import_inbox(shop, &[]).run().succeeds();
    // The same content again, under another mapping: it has to be imported once more.
    shop.write("batchctl.toml", "[import.orders.columns]\norder_no = \"order_no\"\n");
    shop.write("in/orders.csv", file(ORDERS, &[&order_line(1)]));
    shop.write("other.csv", file(ORDERS, &[&order_line(2)]));
    let mut held = import(shop, &["--kind", "orders", "other.csv"]).hold_at("before-finish");
    held.wait_until_reached();
    import_inbox(shop, &["--on-overlap", "fail"]).run().exits(75);
    assert_eq!(files(shop), ["done/orders.run1.csv", "orders.csv"]);
    held.release().wait().succeeds();
    import_inbox(shop, &[]).run().succeeds();
    assert!(!shop.path("in/orders.csv").exists());
    assert_eq!(stored_orders(shop), order_numbers(1..=2));
}

/// The shop gives each night's file the same name.
fn a_retry_reads_the_file_of_its_own_run(shop: &Shop) {
    with_tokyo(shop);
    for night in [1, 2] {
        shop.write("in/orders.csv", file(ORDERS, &[&order_line(night).replace("PAID", "PAYED")]));
        import_inbox(shop, &[]).run().exits(65);
    }
    shop.write("in/failed/orders.run1.csv", file(ORDERS, &[&order_line(1)]));
    shop.batchctl(["runs", "retry", "1"]).run().succeeds();
    assert_eq!(stored_orders(shop), order_numbers([1]));
    assert_eq!(files(shop), ["done/orders.run3.csv", "failed/orders.run2.csv"]);

    // One that cannot be read at all has no hash: its state tells it from the one that waits by now.
    shop.write("in/night.csv.gz", &super::packed::gzipped(&orders_file(2))[..40]);
    import_inbox(shop, &[]).run().exits(65);
    let run = shop.scalar("SELECT MAX(id) FROM batch_execution");
    shop.write("in/night.csv.gz", super::packed::gzipped(&orders_file(9)));
    shop.batchctl(["runs", "retry", &run]).run().exits(65).says("it is damaged or cut off");
    assert!(shop.path("in/night.csv.gz").exists());
    assert_eq!(stored_orders(shop), order_numbers([1]));

    // One that was put back keeps the name that it has by now.
    fs::rename(shop.path("in/failed/orders.run2.csv"), shop.path("in/orders.run2.csv")).unwrap();
    fs::remove_file(shop.path("in/night.csv.gz")).unwrap();
    import_inbox(shop, &[]).run().exits(65).says("in/orders.run2.csv failed");
    let run = shop.scalar("SELECT MAX(id) FROM batch_execution");
    shop.write(&format!("in/failed/orders.run2.run{run}.csv"), file(ORDERS, &[&order_line(2)]));
    shop.batchctl(["runs", "retry", &run]).run().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=2));
}

fn a_command_that_is_killed_at_any_point_is_completed_by_the_next(shop: &Shop) {
    with_tokyo(shop);
    let points = [
        "start",
        "before-lease",
        "after-lease",
        "in-chunk@2",
        "at-commit",
        "after-chunk",
        "after-work",
        "before-finish",
        "before-clearing",
        "after-clearing",
    ];
    for point in points {
        for table in ["batch_error_log", "batch_execution", "order_items", "orders"] {
            shop.execute(&format!("DELETE FROM {table}"));
        }
        drop(fs::remove_dir_all(shop.path("in")));
        shop.write("in/orders.csv", orders_file(25));
        let by_tens = ["--chunk-size", "10"];
        import_inbox(shop, &by_tens).failpoint(&format!("{point}=kill")).run().is_killed_by(Signal::KILL);
        import_inbox(shop, &by_tens).run().succeeds();
        assert_eq!(stored_orders(shop), order_numbers(1..=25), "{point}");
        let completed = shop.sql("SELECT id, items_read FROM batch_execution WHERE status = 'COMPLETED'");
        let [run] = completed.as_slice() else { panic!("{point}: {completed:?}") };
        assert_eq!(run[1], "25", "{point}");
        assert_eq!(files(shop), [format!("done/orders.run{}.csv", run[0])], "{point}");
    }
}

fn a_file_that_is_still_being_written_is_left(shop: &Shop) {
    with_tokyo(shop);
    let names = ["1.csv.part", "2.csv.tmp", "3.csv.FILEPART", ".4.csv", "5.csv", "6.csv"];
    for name in names {
        shop.write(&format!("in/{name}"), orders_file(1));
    }
    let lock = fs::File::open(shop.path("in/5.csv")).unwrap();
    lock.lock().unwrap();
    import_inbox(shop, &["--verbose"])
        .run()
        .succeeds()
        .says("left `1.csv.part` in the inbox: its name ends with `.part`")
        .says("left `5.csv` in the inbox: another process has locked it");
    let left = [".4.csv", "1.csv.part", "2.csv.tmp", "3.csv.FILEPART", "5.csv", "done/6.run1.csv"];
    assert_eq!(files(shop), left);
    drop(lock);
    import(shop, &["--verbose", "--kind", "orders", "--inbox", "in"])
        .run()
        .succeeds()
        .says("left `5.csv` in the inbox: it was written less than 1m ago");
    assert_eq!(files(shop), left);
}

fn a_file_that_grows_while_it_is_imported_is_imported_again(shop: &Shop) {
    with_tokyo(shop);
    shop.write("in/orders.csv", orders_file(1));
    let mut held = import_inbox(shop, &[]).hold_at("after-work");
    held.wait_until_reached();
    shop.write("in/orders.csv", orders_file(2));
    held.release().wait().succeeds();
    assert_eq!(files(shop), ["orders.csv"]);
    import_inbox(shop, &[]).run().succeeds();
    assert_eq!(files(shop), ["done/orders.run2.csv"]);
    assert_eq!(stored_orders(shop), order_numbers(1..=2));
}

fn the_same_file_under_two_names_is_imported_once(shop: &Shop) {
    with_tokyo(shop);
    shop.write("in/a.csv", orders_file(3));
    shop.write("in/b.csv", orders_file(3));
    import_inbox(shop, &[]).run().succeeds().is_silent();
    assert_eq!(files(shop), ["done/a.run1.csv", "done/b.run1.csv"]);
    // And once more under the name of the first.
    shop.write("in/a.csv", orders_file(3));
    import_inbox(shop, &[]).run().succeeds().is_silent();
    assert_eq!(files(shop), ["done/a.run1-2.csv", "done/a.run1.csv", "done/b.run1.csv"]);
    assert_eq!(titles(shop), ["COMPLETED a.csv"]);
}

fn names_may_be_anything_and_what_is_no_file_is_refused(shop: &Shop) {
    with_tokyo(shop);
    shop.write("in/one\nline\u{1b}[31m.csv", file(ORDERS, &[&order_line(1)]));
    shop.write("in/-rf 注文.csv", file(ORDERS, &[&order_line(2)]));
    let raw = shop.path("in").join(OsStr::from_bytes(b"\xFF\xFE.csv"));
    fs::write(raw, file(ORDERS, &[&order_line(3)])).unwrap();
    shop.write("secret.txt", file(ORDERS, &[&order_line(4)]));
    symlink(shop.path("secret.txt"), shop.path("in/link.csv")).unwrap();
    fs::create_dir(shop.path("in/folder.csv")).unwrap();
    let made = Command::new("mkfifo").arg(shop.path("in/pipe.csv")).status().unwrap();
    assert!(made.success());

    let ran = import_inbox(shop, &[])
        .run()
        .exits(3)
        .says("in/link.csv`: it is a symbolic link, and only files of the folder itself are imported")
        .says("in/folder.csv`: it is a folder")
        .says("in/pipe.csv`: it is not a regular file")
        .says("its name is not valid UTF-8: rename it");
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
    assert_eq!(stored_orders(shop), order_numbers(1..=2));
    let left: Vec<String> = files(shop).into_iter().filter(|file| !file.starts_with("done/")).collect();
    assert!(
        matches!(left.as_slice(), [failed, folder, link, pipe]
        if failed.starts_with("failed/\\u{fffd}\\u{fffd}.run")
            && folder == "folder.csv" && link == "link.csv" && pipe == "pipe.csv"),
        "{left:?}"
    );
    let run = shop.scalar("SELECT id FROM batch_execution WHERE title LIKE '%one%'");
    assert!(files(shop).contains(&format!("done/one\\nline\\u{{1b}}[31m.run{run}.csv")), "{:?}", files(shop));
    shop.batchctl(["runs", "retry", &run, "--rerun"]).run().succeeds();
}

fn a_file_that_cannot_be_moved_is_not_imported_again(shop: &Shop) {
    with_tokyo(shop);
    shop.write("in/1.csv", orders_file(1));
    shop.write("in/2.csv", orders_file(2));
    // As good as a folder that somebody else owns: root may write to that.
    shop.write("in/done", "");
    for _ in 0..2 {
        let ran = import_inbox(shop, &[]).run().exits(1);
        assert_eq!(ran.stderr.matches("failed to move `").count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("done`: it is not a folder"), "{}", ran.stderr);
        assert!(ran.stderr.contains("data:  what the runs stored stays"), "{}", ran.stderr);
    }
    assert_eq!(stored_orders(shop), order_numbers(1..=2));
    let runs = "SELECT id FROM batch_execution WHERE status = 'COMPLETED' ORDER BY id";
    let runs: Vec<String> = shop.sql(runs).concat();
    assert_eq!(runs.len(), 2);
    fs::remove_file(shop.path("in/done")).unwrap();
    import_inbox(shop, &[]).run().succeeds().is_silent();
    let moved = [format!("done/1.run{}.csv", runs[0]), format!("done/2.run{}.csv", runs[1])];
    assert_eq!(files(shop), moved);
    assert_eq!(
        shop.scalar(
            "SELECT COUNT(*) FROM batch_execution WHERE status <> 'COMPLETED' AND settled_by IS NULL"
        ),
        "0"
    );
}

const MONDAY: &str = "2026-11-16T01:00:00Z";
const TUESDAY: &str = "2026-11-17T01:00:00Z";
const WEDNESDAY: &str = "2026-11-18T01:00:00Z";

fn put(shop: &Sandbox, name: &str, content: &str, time: &str) {
    shop.write(name, content);
    shop.date(name, time);
}

fn an_old_file_changes_nothing_that_a_newer_one_said(shop: &Shop) {
    with_tokyo(shop);
    put(shop, "in/mon.csv", &order_file("SHIPPED"), MONDAY);
    import_inbox(shop, &[]).run().succeeds();
    // It says what Monday's said: nothing changes, but from then on that is known of Wednesday.
    let later = file(ORDERS, &[&order_line(1).replace("PAID", "SHIPPED"), &order_line(3)]);
    put(shop, "in/wed.csv", &later, WEDNESDAY);
    import_inbox(shop, &[]).run().succeeds();
    let before = rows(shop, "SELECT order_no, status, updated_at FROM orders");

    let late = file(ORDERS, &[&order_line(1), &order_line(2)]);
    put(shop, "in/tue.csv", &late, TUESDAY);
    import_inbox(shop, &["--verbose"])
        .now("2026-11-20T16:00:00Z")
        .run()
        .succeeds()
        .says("read 2 lines, 1 order new, 0 changed, 0 unchanged, 1 older than the stored ones");
    assert_eq!(stored_orders(shop), order_numbers(1..=3));
    let after = rows(shop, "SELECT order_no, status, updated_at FROM orders WHERE order_no <> 'A000002'");
    assert_eq!(after, before);
    // Unless somebody knows better when it was exported.
    put(shop, "late.csv", &format!("{late}{}\n", order_line(4)), TUESDAY);
    import(shop, &["--kind", "orders", "--as-of", "2026-11-19T00:00:00Z", "late.csv"]).run().succeeds();
    assert_eq!(status(shop), "PAID");
}

fn a_column_with_the_time_of_the_change_takes_over_from_that_of_the_export(shop: &Shop) {
    with_tokyo(shop);
    put(shop, "in/wed.csv", &order_file("PAID"), WEDNESDAY);
    import_inbox(shop, &[]).run().succeeds();
    let changed = |status: &str, at: &str| {
        let header = ORDERS.replace("total_amount", "total_amount,updated_at");
        file(
            &header,
            &[&order_line(1).replace("PAID", status).replace(",1200,P1", &format!(",1200,{at},P1"))],
        )
    };
    // Changed before Wednesday, which Wednesday's file could not say.
    put(shop, "in/thu.csv", &changed("SHIPPED", "2026-11-17 10:00"), "2026-11-19T01:00:00Z");
    import_inbox(shop, &[]).run().succeeds();
    assert_eq!(status(shop), "SHIPPED");
    put(shop, "in/fri.csv", &changed("PAID", "2026-11-16 10:00"), "2026-11-19T02:00:00Z");
    import_inbox(shop, &["--verbose"]).run().succeeds().says("1 older than the stored ones");
    assert_eq!(status(shop), "SHIPPED");
}

/// A file of the order A000001 in this status, with when it changed.
fn changed_order_file(status: &str, at: &str) -> String {
    let header = ORDERS.replace("total_amount", "total_amount,updated_at");
    file(&header, &[&order_line(1).replace("PAID", status).replace(",1200,P1", &format!(",1200,{at},P1"))])
}

fn a_tie_is_decided_by_when_the_files_were_exported(shop: &Shop) {
    with_tokyo(shop);
    let file_of = |status: &str, changes: [&str; 3]| {
        let header = ORDERS.replace("total_amount", "total_amount,updated_at");
        let line = |number: usize, at: &str| {
            order_line(number).replace("PAID", status).replace(",1200,P1", &format!(",1200,{at},P1"))
        };
        let [first, second, third] = changes;
        file(&header, &[&line(1, first), &line(2, second), &line(3, third)])
    };
    let statuses = || rows(shop, "SELECT status FROM orders");
    // Days alone, as some shops know them; and orders that have none.
    let day = "2026-11-10 00:00";
    put(shop, "in/wed.csv", &file_of("SHIPPED", [day, "", day]), WEDNESDAY);
    import_inbox(shop, &[]).run().succeeds();
    put(shop, "in/tue.csv", &file_of("PAID", [day, "", ""]), TUESDAY);
    import_inbox(shop, &["--verbose"]).run().succeeds().says("3 older than the stored ones");
    assert_eq!(statuses(), ["SHIPPED"; 3]);
    put(shop, "in/thu.csv", &file_of("DELIVERED", [day, "", day]), "2026-11-19T01:00:00Z");
    import_inbox(shop, &[]).run().succeeds();
    assert_eq!(statuses(), ["DELIVERED"; 3]);
}

fn a_time_in_the_future_is_later_than_nothing(shop: &Shop) {
    with_tokyo(shop);
    // A clock that was a year ahead, and a shop that writes nonsense.
    put(shop, "in/ahead.csv", &order_file("SHIPPED"), "2027-11-18T01:00:00Z");
    import_inbox(shop, &[]).now("2027-11-18T16:00:00Z").run().succeeds();
    put(shop, "in/thu.csv", &order_file("DELIVERED"), "2026-11-19T01:00:00Z");
    import_inbox(shop, &[]).now("2026-11-20T16:00:00Z").run().succeeds().is_silent();
    assert_eq!(status(shop), "DELIVERED");

    put(shop, "in/later.csv", &changed_order_file("PAID", "2062-11-19 00:00"), "2026-11-19T02:00:00Z");
    import_inbox(shop, &[]).now("2026-11-20T16:00:00Z").run().succeeds().says(
        "note: later.csv: 1 order has a day that was still to come when the file was exported (1,200 JPY): line 2, order \
         A000001",
    );
    assert_eq!(status(shop), "PAID");
    put(shop, "in/fri.csv", &changed_order_file("SHIPPED", "2026-11-20 01:00"), "2026-11-20T01:00:00Z");
    import_inbox(shop, &[]).now("2026-11-20T16:00:00Z").run().succeeds().is_silent();
    assert_eq!(status(shop), "SHIPPED");
}

/// An older file that came late does not make the newer one an old one when that comes once more.
fn an_old_file_between_does_not_make_a_newer_one_old(shop: &Shop) {
    with_tokyo(shop);
    put(shop, "in/tue.csv", &order_file("SHIPPED"), TUESDAY);
    import_inbox(shop, &[]).run().succeeds();
    put(shop, "in/mon.csv", &order_file("PAID"), MONDAY);
    import_inbox(shop, &[]).run().succeeds();
    put(shop, "in/tue.csv", &order_file("SHIPPED"), WEDNESDAY);
    import_inbox(shop, &[]).run().succeeds();
    assert_eq!(status(shop), "SHIPPED");
    assert_eq!(files(shop), ["done/mon.run2.csv", "done/tue.run1.csv", "done/tue.run3.csv"]);
}

fn what_a_flag_says_of_the_mall_is_the_same_as_the_configuration(shop: &Shop) {
    with_tokyo(shop);
    shop.write("batchctl.toml", "[import.orders]\nmall = 'tokyo'\n");
    let without_mall = |status: &str| order_file(status).replace("mall,", "").replace("tokyo,", "");
    put(shop, "in/mon.csv", &without_mall("PAID"), MONDAY);
    import_inbox(shop, &[]).run().succeeds();
    put(shop, "tue.csv", &without_mall("SHIPPED"), TUESDAY);
    import(shop, &["--kind", "orders", "--mall", "tokyo", "tue.csv"]).run().succeeds();
    put(shop, "in/again.csv", &without_mall("PAID"), WEDNESDAY);
    import_inbox(shop, &[])
        .run()
        .exits(65)
        .says("in/again.csv` is what run 1 imported, and run 2 has imported");
    assert_eq!(status(shop), "SHIPPED");
}

/// A shop that exports the amount without its day, as Shopify does.
fn money_that_went_back_on_no_day_counts_when_an_export_first_says_so(shop: &Shop) {
    with_tokyo(shop);
    let header = ORDERS.replace("total_amount", "total_amount,refunded_amount");
    let line = |number: usize, refunded: &str| {
        order_line(number).replace("11-19", "11-10").replace(",1200,P1", &format!(",1200,{refunded},P1"))
    };
    let refunds = || {
        rows(shop, "SELECT order_no, amount, refunded_at FROM refunds JOIN orders ON orders.id = order_id")
    };
    put(shop, "in/mon.csv", &file(&header, &[&line(1, "0"), &line(2, "100")]), MONDAY);
    // Each night there may be such orders: the run keeps it, and cron mails nothing.
    import_inbox(shop, &[]).run().succeeds().is_silent();
    shop.batchctl(["runs", "show", "1"])
        .run()
        .succeeds()
        .prints("1 order's money went back on a day that the file does not say")
        .prints("(100 JPY): line 3, order A000002");
    put(shop, "in/tue.csv", &file(&header, &[&line(1, "500"), &line(2, "100")]), TUESDAY);
    import_inbox(shop, &[]).run().succeeds();
    put(shop, "in/wed.csv", &file(&header, &[&line(1, "700"), &line(2, "100")]), WEDNESDAY);
    import_inbox(shop, &[]).run().succeeds();
    assert_eq!(
        refunds(),
        [
            "A000001 | 200 | 2026-11-18T01:00:00+00:00",
            "A000001 | 500 | 2026-11-17T01:00:00+00:00",
            "A000002 | 100 | 2026-11-10T01:05:00+00:00",
        ]
    );
}

fn a_retry_of_an_old_file_asks_whether_it_is_meant(shop: &Shop) {
    with_tokyo(shop);
    put(shop, "in/mon.csv", &order_file("PAYED"), MONDAY);
    import_inbox(shop, &[]).run().exits(65);
    put(shop, "in/tue.csv", &order_file("SHIPPED"), TUESDAY);
    import_inbox(shop, &[]).run().succeeds();

    let fixed = file(ORDERS, &[&order_line(1), &order_line(2)]);
    put(shop, "in/failed/mon.run1.csv", &fixed, MONDAY);
    shop.batchctl(["runs", "retry", "1"])
        .run()
        .exits(65)
        .says("in/mon.csv` was exported ")
        .says("and run 2 has imported `orders ")
        .says("add --rerun");
    assert_eq!(files(shop), ["done/tue.run2.csv", "failed/mon.run3.csv"]);
    assert_eq!(stored_orders(shop), order_numbers([1]));
    shop.batchctl(["runs", "retry", "1", "--rerun"]).run().succeeds();
    assert_eq!((status(shop).as_str(), stored_orders(shop)), ("SHIPPED", order_numbers(1..=2)));
    assert_eq!(files(shop), ["done/mon.run4.csv", "done/tue.run2.csv"]);
}

fn an_old_file_that_comes_again_asks_whether_it_is_meant(shop: &Shop) {
    with_tokyo(shop);
    put(shop, "in/mon.csv", &order_file("PAID"), MONDAY);
    import_inbox(shop, &[]).run().succeeds();
    put(shop, "in/tue.csv", &order_file("SHIPPED"), TUESDAY);
    import_inbox(shop, &[]).run().succeeds();
    // A copy: it looks newer than it is.
    put(shop, "in/again.csv", &order_file("PAID"), WEDNESDAY);
    import_inbox(shop, &[])
        .run()
        .exits(65)
        .says("in/again.csv` is what run 1 imported, and run 2 has imported");
    assert_eq!(status(shop), "SHIPPED");
    assert_eq!(files(shop), ["done/mon.run1.csv", "done/tue.run2.csv", "failed/again.run3.csv"]);
    // The shop did go back.
    shop.batchctl(["runs", "retry", "3", "--rerun"]).run().succeeds();
    assert_eq!(status(shop), "PAID");
}

fn the_name_decides_what_a_file_is(shop: &Shop) {
    with_tokyo(shop);
    shop.write(
        "batchctl.toml",
        "[import.orders]\ninbox_pattern = \"orders*.csv\"\n\
         [import.members]\ninbox_pattern = [\"members*.csv\", \"people-????.csv\"]\nmall = \"tokyo\"\n\
         [import.products.tokyo]\ninbox_pattern = \"stock*.csv\"\nmall = \"tokyo\"\n",
    );
    shop.write("in/orders-1119.csv", orders_file(1));
    shop.write("in/people-1119.csv", "member_code,status,signed_up_at\nM1,ACTIVE,2026-11-01 10:00\n");
    shop.write("in/stock.csv", "product_code,name,price_amount\nP1,Tea,100\n");
    shop.write("in/notes.txt", "call the shop");
    let inbox = |words: &[&str]| import(shop, &[&["--inbox", "in", "--min-age", "0s"], words].concat());
    inbox(&["--verbose"]).run().succeeds().says("left `notes.txt` in the inbox: its name matches no pattern");
    assert_eq!(
        rows(
            shop,
            "SELECT order_no FROM orders UNION ALL SELECT member_code FROM members UNION ALL SELECT product_code FROM products"
        ),
        ["A000001", "M1", "P1"]
    );
    assert_eq!(files(shop).len(), 4);
    assert!(files(shop).contains(&"notes.txt".to_owned()));

    shop.write(
        "batchctl.toml",
        "[import.orders]\ninbox_pattern = \"notes*\"\n[import.members]\ninbox_pattern = \"*.txt\"\nmall = \"tokyo\"\n",
    );
    inbox(&[])
        .run()
        .exits(78)
        .says("notes.txt` matches the inbox_pattern of both [import.orders] and [import.members]")
        .says("hint: narrow one of the two patterns");
    shop.write("batchctl.toml", "");
    inbox(&[]).run().exits(78).says("no section of [import] in batchctl.toml has an inbox_pattern");
    inbox(&["--kind", "orders", "--inbox", "nowhere"]).run().exits(2);
    import(shop, &["--kind", "orders", "--inbox", "nowhere"])
        .run()
        .exits(65)
        .says("nowhere`: it does not exist");
}

fn two_commands_at_once_import_each_file_once(shop: &Shop) {
    with_tokyo(shop);
    shop.write("in/1.csv", file(ORDERS, &[&order_line(1)]));
    shop.write("in/2.csv", file(ORDERS, &[&order_line(2)]));
    let mut held = import_inbox(shop, &[]).hold_at("before-finish");
    held.wait_until_reached();
    let mut second = import_inbox(shop, &["--verbose"]).spawn();
    super::recovery::wait_until_said(&mut second, "waiting for run 1");
    held.release().wait().succeeds();
    second.wait().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=2));
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_execution WHERE status = 'COMPLETED'"), "2");
    assert_eq!(files(shop).iter().filter(|file| file.starts_with("done/")).count(), 2, "{:?}", files(shop));
}

/// What is unpacked has to fit somewhere; if it does not, the file is not at fault and waits.
#[test]
fn a_packed_file_that_finds_the_disk_full_waits() {
    if !can_mount() {
        return;
    }
    let shop = Shop::on(Database::Sqlite);
    with_tokyo(&shop);
    shop.write("in/orders.csv", orders_file(20_000));
    let packed = Command::new("gzip").arg(shop.path("in/orders.csv")).status().unwrap();
    assert!(packed.success());
    fs::create_dir(shop.path("tmp")).unwrap();
    let script = "exec unshare -m sh -c 'mount -t tmpfs -o size=200k tmpfs tmp && TMPDIR=$PWD/tmp exec \"$@\"' sh \"$@\"";
    import_inbox(&shop, &[])
        .through_shell(script)
        .run()
        .exits(1)
        .says("in a temporary file in ")
        .says("No space left on device")
        .says("hint: make room there, or set TMPDIR to another folder");
    assert_eq!(files(&shop), ["orders.csv.gz"]);
    import_inbox(&shop, &[]).run().succeeds();
    assert_eq!(files(&shop), ["done/orders.run2.csv.gz"]);
    assert_eq!(stored_orders(&shop), order_numbers(1..=20_000));
}

/// A folder on a disk that is read-only: no right to move, even for root.
#[test]
fn a_folder_that_cannot_be_written_to_is_told_each_night_and_imported_once() {
    if !can_mount() {
        return;
    }
    let shop = Shop::on(Database::Sqlite);
    with_tokyo(&shop);
    shop.write("in/orders.csv", orders_file(2));
    let script =
        "exec unshare -m sh -c 'mount --bind in in && mount -o remount,ro,bind in && exec \"$@\"' sh \"$@\"";
    for _ in 0..2 {
        import_inbox(&shop, &[]).through_shell(script).run().exits(1).says("Read-only file system");
    }
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_execution WHERE status = 'COMPLETED'"), "1");
    import_inbox(&shop, &[]).run().succeeds().is_silent();
    assert_eq!(files(&shop), ["done/orders.run1.csv"]);
}
