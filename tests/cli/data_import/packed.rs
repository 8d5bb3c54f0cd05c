//! Files that are packed, several at once, or piped in.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::Signal;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{ORDERS, file, import, order_line, order_numbers, orders_file, stored_orders, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    a_packed_file_is_the_same_as_the_file,
    a_packed_file_that_is_damaged_is_bad_input,
    a_packed_file_that_takes_long_to_unpack_obeys_the_deadline_and_a_stop,
    each_member_of_an_archive_is_a_run_of_its_own,
    an_order_that_is_split_over_two_members_is_named,
    what_is_piped_in_is_imported,
    a_stop_does_not_wait_for_whoever_writes_what_is_piped_in,
    several_files_are_several_runs,
];

/// Linux: the bytes that a pipe takes before somebody reads them.
const PIPE_BUFFER: usize = 64 * 1024;

pub(super) fn gzipped(content: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zipped(members: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn a_packed_file_is_the_same_as_the_file(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv.gz", gzipped(&orders_file(30)));
    import(shop, &["--kind", "orders", "orders.csv.gz"]).run().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=30));
    shop.write("orders.csv", orders_file(30));
    shop.write("orders.zip", zipped(&[("a.csv", &orders_file(30))]));
    for name in ["orders.csv", "orders.zip"] {
        import(shop, &["--verbose", "--kind", "orders", name])
            .run()
            .succeeds()
            .says("already completed by run 1");
    }
    let bad = orders_file(2).replace("A000002,PAID", "A000002,PAYED");
    shop.write("bad.csv.gz", gzipped(&bad));
    import(shop, &["--kind", "orders", "bad.csv.gz"]).run().exits(65).says("bad.csv.gz:3");
    shop.write("twice.gz", gzipped("x"));
    let inner = std::fs::read(shop.path("twice.gz")).unwrap();
    shop.write("twice.zip", {
        let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.start_file("inner.gz", SimpleFileOptions::default()).unwrap();
        writer.write_all(&inner).unwrap();
        writer.finish().unwrap().into_inner()
    });
    import(shop, &["--kind", "orders", "twice.zip"])
        .run()
        .exits(65)
        .says("twice.zip/inner.gz` is packed with gzip within another packed file, not a CSV file");
}

fn a_packed_file_that_is_damaged_is_bad_input(shop: &Shop) {
    with_tokyo(shop);
    let packed = gzipped(&orders_file(30));
    shop.write("orders.csv.gz", &packed[..packed.len() - 9]);
    shop.write("orders.zip", &zipped(&[("a.csv", &orders_file(30))])[..200]);
    let advice = "hint: get the file again: the download, or the copy, has most likely failed";
    import(shop, &["--kind", "orders", "orders.csv.gz"])
        .run()
        .exits(65)
        .says("orders.csv.gz`: it is damaged or cut off: ")
        .says(advice);
    import(shop, &["--kind", "orders", "orders.zip"]).run().exits(65).says("failed to unpack `").says(advice);
    assert!(stored_orders(shop).is_empty());
}

/// Its hash, by which an import knows it, needs all of it: more seconds than anybody gives it here.
fn a_packed_file_that_takes_long_to_unpack_obeys_the_deadline_and_a_stop(shop: &Shop) {
    with_tokyo(shop);
    // A file of many parts, each of a mebibyte, as `cat *.gz` makes it.
    let part = gzipped(&"x".repeat(1024 * 1024));
    shop.write("in/orders.csv.gz", part.repeat(30_000));
    let inbox = ["--kind", "orders", "--inbox", "in", "--min-age", "0s"];
    import(shop, &[inbox.as_slice(), &["--timeout", "1s"]].concat()).run().exits(124);
    let mut held = import(shop, &[inbox.as_slice(), &["--grace", "1s"]].concat()).hold_at("start");
    held.wait_until_reached();
    held.process().signal(Signal::TERM);
    held.release().wait().exits(143);
    assert!(shop.path("in/orders.csv.gz").exists());
    assert!(stored_orders(shop).is_empty());
}

fn each_member_of_an_archive_is_a_run_of_its_own(shop: &Shop) {
    with_tokyo(shop);
    let [one, two, three] = [1, 2, 3].map(|number| file(ORDERS, &[&order_line(number)]));
    let bad = two.replace("PAID", "PAYED");
    shop.write("in/orders.zip", zipped(&[("1.csv", &one), ("../2.csv", &bad), ("3.csv", &three)]));
    let inbox = ["--kind", "orders", "--inbox", "in", "--min-age", "0s"];
    import(shop, &inbox).run().exits(3).says("in/orders.zip/../2.csv failed (run 1, exit 65");
    assert_eq!(stored_orders(shop), order_numbers([1, 3]));
    assert!(shop.path("in/failed/orders.run3.zip").exists());

    shop.write(
        "in/failed/orders.run3.zip",
        zipped(&[("1.csv", &one), ("../2.csv", &two), ("3.csv", &three)]),
    );
    shop.batchctl(["runs", "retry", "1"]).run().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=3));
    assert!(shop.path("in/done/orders.run4.zip").exists());
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM batch_execution"), "4");
}

fn an_order_that_is_split_over_two_members_is_named(shop: &Shop) {
    with_tokyo(shop);
    let lines = |number: usize, products: [&str; 2]| {
        products.map(|product| order_line(number).replace("P1,", &format!("{product},"))).join("\n")
    };
    let parts = |name: &str| {
        let one = file(ORDERS, &[&order_line(1), &lines(2, ["P1", "P2"])]);
        let two = file(ORDERS, &[&lines(2, ["P3", "P4"]), &order_line(3)]);
        shop.write(name, zipped(&[("1.csv", &one), ("2.csv", &two)]));
    };
    parts("in/orders.zip");
    let inbox = || import(shop, &["--kind", "orders", "--inbox", "in", "--min-age", "0s"]);
    let note = "orders.zip/2.csv: 1 order has other lines in another file of the same export, and only those of this one \
                are stored: put all lines of an order into one file";
    inbox().run().succeeds().says(note).says("order A000002");
    shop.batchctl(["runs", "show", "2"]).run().succeeds().prints("put all lines of an order into one file");
    // One for each line.
    assert_eq!(stored_orders(shop), order_numbers([1, 2, 2, 3]));

    // Two states of an order in files of two nights are no parts of it.
    let state = |product: &str| file(ORDERS, &[&order_line(4).replace("P1,", &format!("{product},"))]);
    for (name, product, exported) in
        [("monday.csv", "P1", "2026-11-19T01:00:00Z"), ("tuesday.csv", "P2", "2026-11-19T02:00:00Z")]
    {
        shop.write(name, state(product));
        import(shop, &["--kind", "orders", "--as-of", exported, name]).run().succeeds().is_silent();
    }
}

fn what_is_piped_in_is_imported(shop: &Shop) {
    with_tokyo(shop);
    let piped = || import(shop, &["--kind", "orders", "--chunk-size", "10", "-"]);
    piped().stdin(orders_file(30)).run().succeeds().is_silent();
    assert_eq!(stored_orders(shop), order_numbers(1..=30));
    // By its content, it is the same as a file.
    shop.write("orders.csv", orders_file(30));
    import(shop, &["--verbose", "--kind", "orders", "orders.csv"])
        .run()
        .succeeds()
        .says("already completed by run 1");
    shop.batchctl(["runs", "list"]).run().succeeds().prints("standard input");
    import(shop, &["--kind", "orders", "--dry-run", "-"]).stdin(orders_file(40)).run().succeeds();
    piped().run().exits(65).says("`standard input` is empty: it has no header");
    let bad = orders_file(2).replace("A000002,PAID", "A000002,PAYED");
    piped().stdin(bad).run().exits(65).says("standard input:3");
    import(shop, &["--kind", "orders", "-", "-"]).stdin(orders_file(1)).run().exits(2).says("only once");
}

fn a_stop_does_not_wait_for_whoever_writes_what_is_piped_in(shop: &Shop) {
    with_tokyo(shop);
    // Once this much is written, the command has read some of it, and waits for more.
    let beginning = orders_file(5_000);
    assert!(beginning.len() > 2 * PIPE_BUFFER, "{}", beginning.len());
    let stopped_by = |signal: Signal, options: &[&str]| {
        // A grace that no test waits for.
        let words = [&["--kind", "orders", "--grace", "1h"], options, &["-"]].concat();
        let mut reading = import(shop, &words).spawn_with_open_stdin(beginning.as_str());
        reading.signal(signal);
        reading.wait()
    };
    stopped_by(Signal::TERM, &[]).exits(143).says("stopped by SIGTERM").says("data:  nothing was changed");
    stopped_by(Signal::INT, &[]).exits(130).says("stopped by SIGINT");
    stopped_by(Signal::TERM, &["--dry-run"]).exits(143);
    assert_eq!(
        shop.sql("SELECT status, exit_code, error_class, error_message FROM batch_execution ORDER BY id"),
        [
            ["STOPPED", "143", "TERMINATED", "stopped by SIGTERM"],
            ["STOPPED", "130", "INTERRUPTED", "stopped by SIGINT"],
        ]
    );
    import(shop, &["--kind", "orders", "-"]).stdin(orders_file(30)).run().succeeds().is_silent();
    assert_eq!(stored_orders(shop), order_numbers(1..=30));
}

fn several_files_are_several_runs(shop: &Shop) {
    with_tokyo(shop);
    shop.write("1.csv", file(ORDERS, &[&order_line(1)]));
    shop.write("2.csv", file(ORDERS, &[&order_line(2).replace("PAID", "PAYED")]));
    shop.write("3.csv", file(ORDERS, &[&order_line(3)]));
    import(shop, &["--kind", "orders", "1.csv", "2.csv", "3.csv"])
        .run()
        .exits(3)
        .says("2.csv failed (run 2, exit 65");
    assert_eq!(stored_orders(shop), order_numbers([1, 3]));
    shop.write("2.csv", file(ORDERS, &[&order_line(2)]));
    shop.batchctl(["runs", "retry", "2"]).run().succeeds();
    assert_eq!(stored_orders(shop), order_numbers(1..=3));
    // Neither one that is not there, nor one that cannot be unpacked.
    shop.write("4.csv.gz", &gzipped(&orders_file(30))[..40]);
    shop.write("5.csv", file(ORDERS, &[&order_line(5)]));
    import(shop, &["--kind", "orders", "missing.csv", "4.csv.gz", "5.csv"])
        .run()
        .exits(3)
        .says("missing.csv`: it does not exist")
        .says("4.csv.gz`: it is damaged or cut off");
    assert_eq!(stored_orders(shop), order_numbers([1, 2, 3, 5]));
    import(shop, &["--kind", "orders", "--check", "1.csv", "3.csv"])
        .run()
        .succeeds()
        .prints("3.csv: 1 line, all good");
}
