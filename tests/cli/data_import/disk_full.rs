//! A full disk: a clear message, nothing half-written, and the next start with enough space finishes the work.
//!
//! A limit on the size of files simulates the disk, because it needs no privileges: a write beyond it fails with "file
//! too large" (setrlimit(2), `RLIMIT_FSIZE`). As root, a small file system is filled too.

use std::fs;
use std::path::Path;

use super::{import, order_numbers, orders_file, stored_orders, with_tokyo};
use crate::support::{
    Arranged, Batchctl, Database, Line, Order, Sandbox, Shop, can_mount, on_both_databases,
};

on_both_databases![a_report_that_finds_the_disk_full_leaves_no_partial_file];

/// Orders of some megabytes in the database.
const ORDERS: usize = 20_000;

/// Limits every file that it writes to this many blocks of 512 bytes, or 1024 if `sh` is bash.
fn with_file_size_limit(command: Batchctl, blocks: u32) -> Batchctl {
    command.through_shell(&format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""))
}

fn import_by_thousands(shop: &Sandbox) -> Batchctl {
    import(shop, &["--kind", "orders", "--chunk-size", "1000", "orders.csv"])
}

/// It failed with one line that states what is wrong with the disk of which file, and with a failing exit code.
#[track_caller]
fn assert_told(code: Option<i32>, stderr: &str, file: &Path, what: &str) {
    // 75 if the disk was too full to write the run's own end.
    assert!(matches!(code, Some(1 | 75)), "{code:?}\n{stderr}");
    let told = format!("the disk that holds the SQLite file `{}` is {what}", file.display());
    assert_eq!(stderr.matches(&told).count(), 1, "{told}\n{stderr}");
    assert!(
        stderr.contains("run the same command again: it resumes where the last commit ended\n"),
        "{stderr}"
    );
    assert_eq!(stderr.matches("error:").count(), 1, "{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("defect"), "{stderr}");
    assert!(!stderr.contains("BATCHCTL_DATABASE_URL"), "{stderr}");
}

#[test]
fn an_import_that_finds_the_disk_full_continues_when_there_is_room_again() {
    let shop = Shop::on(Database::Sqlite);
    with_tokyo(&shop);
    shop.write("orders.csv", orders_file(ORDERS));

    let ran = with_file_size_limit(import_by_thousands(&shop), 2_000).run();
    // The disk has room, but the file may not grow: for SQLite that is a fault of the disk.
    assert_told(ran.code, &ran.stderr, &shop.path("batchctl.db"), "failing: disk I/O error");
    assert!(ran.stderr.contains("hint: check the disk, its quota and `ulimit -f`, then "), "{}", ran.stderr);
    let stored = stored_orders(&shop).len();
    assert!(stored > 0 && stored < ORDERS && stored.is_multiple_of(1_000), "{stored}");

    // What it says to type, from another folder, once there is room.
    let retry =
        ran.stderr.lines().find_map(|line| line.trim_start().strip_prefix("retry: ")).expect("a line");
    assert!(retry.ends_with("  # once the disk works again"), "{retry}");
    shop.typed_elsewhere(retry).run().succeeds();
    assert_eq!(stored_orders(&shop), order_numbers(1..=ORDERS));
    assert_eq!(
        shop.sql("SELECT items_written FROM batch_execution ORDER BY id"),
        [[stored.to_string()], [ORDERS.to_string()]]
    );
}

#[test]
fn a_disk_without_any_room_is_reported_too() {
    let shop = Shop::on(Database::Sqlite);
    with_tokyo(&shop);
    shop.write("orders.csv", orders_file(10));
    for blocks in [20, 100] {
        let ran = with_file_size_limit(import_by_thousands(&shop), blocks).run();
        assert!(!matches!(ran.code, None | Some(0 | 78)), "{ran:?}");
        assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("BATCHCTL_DATABASE_URL"), "{ran:?}");
    }
    import_by_thousands(&shop).run().succeeds();
    assert_eq!(stored_orders(&shop), order_numbers(1..=10));
}

/// Imports on a small file system, then gives it room and imports again; leaves the database where the sandbox
/// looks for it.
const ON_A_SMALL_DISK: &str = r#"
    mount -t tmpfs -o size=$(($(stat -c %s batchctl.db) / 1024 + 600))k tmpfs disk && cp batchctl.db disk/ || exit 1
    "$@" 2> full.err; echo $? > full.code
    mount -o remount,size=64m disk || exit 1
    "$@" || exit 1
    cp disk/batchctl.db batchctl.db
"#;

#[test]
fn an_import_on_a_small_disk_that_is_really_full_continues_when_there_is_room_again() {
    if !can_mount() {
        return;
    }
    // The sandbox must not open its database before it is replaced.
    let shop = Sandbox::new();
    let words = ["mall", "add", "tokyo", "--name", "Tokyo", "--time-zone", "Asia/Tokyo", "--currency", "JPY"];
    shop.batchctl(words).run().succeeds();
    shop.write("orders.csv", orders_file(ORDERS));
    fs::create_dir(shop.path("disk")).unwrap();

    let script = format!("exec unshare -m sh -c '{ON_A_SMALL_DISK}' sh \"$@\"");
    import_by_thousands(&shop)
        .env("BATCHCTL_DATABASE_URL", "sqlite:disk/batchctl.db")
        .through_shell(&script)
        .run()
        .succeeds();

    let (code, told) = (shop.read("full.code").trim().parse().ok(), shop.read("full.err"));
    assert_told(code, &told, &shop.path("disk/batchctl.db"), "full: ");
    assert!(told.contains("hint: make room there, then "), "{told}");
    assert_eq!(stored_orders(&shop), order_numbers(1..=ORDERS));
    let written = shop.scalar("SELECT items_written FROM batch_execution WHERE status <> 'COMPLETED'");
    let written: usize = written.parse().expect("a number");
    assert!(written > 0 && written < ORDERS, "{written}");
}

fn a_report_that_finds_the_disk_full_leaves_no_partial_file(shop: &Shop) {
    let tokyo = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    // Long names: the report has to be larger than everything that SQLite writes.
    let products: Vec<String> = (0..60).map(|number| format!("{number:02}").repeat(5_000)).collect();
    let lines: Vec<Line> =
        products.iter().map(|name| Line { product: &name[..2], name, ..Line::default() }).collect();
    shop.order(Order { mall: tokyo, total: 60_000, lines: &lines, ..Order::default() });
    let words = ["report", "daily-sales", "--date", "2026-11-19"];
    shop.batchctl(words).run().succeeds();
    fs::create_dir(shop.path("out")).unwrap();
    let report = || shop.batchctl(words.iter().chain(&["--format", "csv", "--out", "out"]));

    for old in ["", "the old report"] {
        if !old.is_empty() {
            shop.write("out/daily-sales-2026-11-19.csv", old);
        }
        let ran = with_file_size_limit(report(), 400).run().exits(1).never_shows("panicked");
        assert!(ran.stderr.contains("daily-sales-2026-11-19.csv`: File too large"), "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("error:").count(), 1, "{}", ran.stderr);
        let hint = "hint: the figures are stored: make room there, then run the same command without --rerun";
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
        let files: Vec<_> =
            fs::read_dir(shop.path("out")).unwrap().map(|file| file.unwrap().path()).collect();
        let expected =
            if old.is_empty() { vec![] } else { vec![shop.path("out/daily-sales-2026-11-19.csv")] };
        assert_eq!(files, expected);
        if !old.is_empty() {
            assert_eq!(shop.read("out/daily-sales-2026-11-19.csv"), old);
        }
    }

    report().run().succeeds();
    assert!(shop.read("out/daily-sales-2026-11-19.csv").len() > 600_000);
}
