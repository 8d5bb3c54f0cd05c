//! Wrong usage is refused before the shop is called.

use super::Shops;
use crate::support::on_both_databases;

on_both_databases![
    an_unknown_mall_is_wrong_usage,
    a_disabled_mall_is_refused,
    a_mall_of_another_platform_is_wrong_usage,
    a_page_of_five_thousand_is_wrong_usage,
    a_period_that_ends_before_it_begins_is_wrong_usage,
    without_a_key_nothing_is_requested,
    with_another_key_the_token_is_unreadable,
    a_mall_without_a_token_explains_how_to_get_one,
    without_a_mall_there_is_nothing_to_do,
    a_dry_run_shows_what_would_run,
];

fn an_unknown_mall_is_wrong_usage(shops: &Shops) {
    shops
        .batchctl(["mall", "sync", "--mall", "dmeo"])
        .run()
        .exits(2)
        .says("unknown mall `dmeo`")
        .says("demo");
}

fn a_disabled_mall_is_refused(shops: &Shops) {
    shops.batchctl(["mall", "disable", "demo"]).run().succeeds();

    shops
        .sync("member")
        .run()
        .exits(77)
        .says("mall `demo` is disabled")
        .says(&shops.command("dev", "mall enable demo"));

    shops.batchctl(["mall", "sync"]).run().succeeds().is_silent();
    assert!(shops.calls().is_empty());
}

fn a_mall_of_another_platform_is_wrong_usage(shops: &Shops) {
    shops.batchctl(["mall", "add", "books", "--currency", "JPY"]).run().succeeds();
    let asked = ["mall", "sync", "--mall", "books"];
    shops.batchctl(asked).run().exits(2).says("mall `books` is at `csv`, not at cafe24");
}

fn a_page_of_five_thousand_is_wrong_usage(shops: &Shops) {
    shops
        .batchctl(["mall", "sync", "--page-size", "5000"])
        .run()
        .exits(2)
        .says("write a number from 10 to 1000");
}

fn a_period_that_ends_before_it_begins_is_wrong_usage(shops: &Shops) {
    let asked = ["mall", "sync", "--from", "2026-11-19", "--to", "2026-11-18"];
    shops.batchctl(asked).run().exits(2).says("--from is after --to");
    shops.batchctl(["mall", "sync", "--to", "2026-11-18"]).run().exits(2).says("--from");
    shops.batchctl(["mall", "sync", "--from", "soon"]).run().exits(2).says("--from: ");
    assert!(shops.runs().is_empty(), "wrong usage leaves no row");
}

fn without_a_key_nothing_is_requested(shops: &Shops) {
    let ran = shops.sync("member").env("BATCHCTL_SECRET_KEY", "").run().exits(78);
    ran.says("BATCHCTL_SECRET_KEY");
    assert!(shops.calls().is_empty());
}

fn with_another_key_the_token_is_unreadable(shops: &Shops) {
    let key = "another-key-of-thirty-two-bytes-or-more";
    let ran = shops.sync("member").env("BATCHCTL_SECRET_KEY", key).run().exits(78);
    ran.says("BATCHCTL_SECRET_KEY").says("mall token set demo").never_shows(key);
    assert!(shops.calls().is_empty());
}

fn a_mall_without_a_token_explains_how_to_get_one(shops: &Shops) {
    shops.batchctl(["mall", "add", "new", "--platform", "cafe24", "--currency", "KRW"]).run().succeeds();
    let asked = ["mall", "sync", "--mall", "new", "--domain", "member"];
    shops.batchctl(asked).run().exits(1).says("mall token authorize new");
}

fn without_a_mall_there_is_nothing_to_do(shops: &Shops) {
    shops.batchctl(["mall", "disable", "demo"]).run().succeeds();
    shops.batchctl(["-v", "mall", "sync"]).run().succeeds().says("No active mall at Cafe24");
    assert!(shops.runs().is_empty());
}

fn a_dry_run_shows_what_would_run(shops: &Shops) {
    shops
        .batchctl(["mall", "sync", "--dry-run"])
        .run()
        .succeeds()
        .prints("would run   mall sync demo member 2026-11-19: no run yet\n")
        .prints("would run   mall sync demo order 2026-11-19: no run yet\n")
        .prints("would run   mall sync demo sales 2026-11-19: no run yet\n");
    assert!(shops.calls().is_empty());
}
