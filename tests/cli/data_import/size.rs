//! Memory does not grow with the file.

use super::{import, orders_file, runs, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![a_large_file_takes_little_more_memory_than_a_small_one];

/// How much more memory than a small one a file of any size may use: three chunks, and the databases' own buffers.
const MEBIBYTES: i64 = 30;

fn a_large_file_takes_little_more_memory_than_a_small_one(shop: &Shop) {
    with_tokyo(shop);
    for count in [1_000, 200_000] {
        shop.write("orders.csv", orders_file(count));
        import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    }
    assert_eq!(runs(shop), ["1 COMPLETED 0 1000 1000 0", "1 COMPLETED 0 200000 199000 0"]);
    let peaks: Vec<i64> = shop
        .sql("SELECT peak_memory_bytes FROM batch_execution ORDER BY id")
        .concat()
        .iter()
        .map(|bytes| bytes.parse().expect("a number of bytes"))
        .collect();
    assert!(peaks[1] - peaks[0] <= MEBIBYTES * 1024 * 1024, "{peaks:?}");
}
