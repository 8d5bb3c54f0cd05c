//! `kill -9` at every stage: after the next run all is as after one that was not disturbed.

use rustix::process::Signal;

use super::{Store, assert_adds_up};
use crate::support::{Arranged, on_both_databases};

on_both_databases![
    killed_anywhere_the_next_run_does_the_rest,
    a_run_frozen_past_its_lease_changes_nothing_more,
    a_stop_between_two_chunks_keeps_what_is_done,
    a_second_retry_does_nothing_that_did_not_fail,
];

const ORDERS: usize = 45;

fn filled(store: &Store) {
    store.product("P1", Some(7));
    store.product("P2", Some(7));
    store.many_waiting(ORDERS);
}

fn in_tens(store: &Store) -> crate::support::Batchctl {
    store.batchctl(["order", "expire", "--accept-silence", "--chunk-size", "10"])
}

fn killed_anywhere_the_next_run_does_the_rest(store: &Store) {
    let undisturbed = Store::on(store.database());
    filled(&undisturbed);
    in_tens(&undisturbed).run().succeeds();
    filled(store);
    // Each stage twice: in the first chunk that is left, and in a later one.
    for point in
        ["after-lease", "in-chunk", "at-commit", "after-chunk", "in-chunk@2", "at-commit@2", "before-finish"]
    {
        let ran = in_tens(store).failpoint(&format!("{point}=kill")).run();
        ran.is_killed_by(Signal::KILL);
        assert_adds_up(store, 7);
    }
    in_tens(store).run().succeeds().is_silent();
    assert_eq!(assert_adds_up(store, 7), ORDERS);
    assert_eq!(store.outcome(), undisturbed.outcome());
}

fn a_run_frozen_past_its_lease_changes_nothing_more(store: &Store) {
    filled(store);
    let mut frozen = in_tens(store).hold_at("after-chunk");
    frozen.wait_until_reached();
    store.execute("UPDATE batch_execution SET lease_expires_at = '2026-01-01T00:00:00+00:00'");
    // On this host the process is seen to be alive, so that its lease is what counts.
    store.execute("UPDATE batch_execution SET host = 'elsewhere', boot_id = 'elsewhere'");
    in_tens(store).run().succeeds();
    let before = store.outcome();
    frozen.release().wait().exits(1).says("the lease was lost");
    assert_eq!(store.outcome(), before);
    assert_eq!(assert_adds_up(store, 7), ORDERS);
}

fn a_stop_between_two_chunks_keeps_what_is_done(store: &Store) {
    filled(store);
    let mut held = in_tens(store).hold_at("after-chunk");
    held.wait_until_reached();
    held.process().signal(Signal::TERM);
    held.release().wait().exits(143).says("10 orders are cancelled; the rest is not");
    assert_eq!(assert_adds_up(store, 7), 10);
    in_tens(store).run().succeeds();
    assert_eq!(assert_adds_up(store, 7), ORDERS);
}

fn a_second_retry_does_nothing_that_did_not_fail(store: &Store) {
    let retry = |more: &[&str]| store.batchctl(["--verbose", "runs", "retry"].iter().chain(more)).run();
    let status =
        |number: &str| store.scalar(&format!("SELECT status FROM orders WHERE order_no = '{number}'"));
    let spoil = |number: &str| {
        store.execute(&format!("UPDATE orders SET currency = '円' WHERE order_no = '{number}'"));
    };
    let mend = || store.execute("UPDATE orders SET currency = 'JPY'");
    for number in ["A1", "A2"] {
        store.order(store.waiting(number, None, &[]));
    }
    spoil("A1");
    store.expire().run().exits(3);
    mend();
    // One that became due since is not what failed.
    store.order(store.waiting("A3", None, &[]));
    retry(&["1"]).succeeds();
    assert_eq!((status("A1"), status("A3")), ("ORDER_CANCELLED".to_owned(), "PAYMENT_WAIT".to_owned()));
    let ran = retry(&["1"]).succeeds();
    assert_eq!(ran.stderr, "what failed in run 1 has been done by run 2 since: nothing to retry\n");
    assert_eq!((status("A3"), store.count("batch_execution")), ("PAYMENT_WAIT".to_owned(), 2));

    // The same if the next run by the clock has done it, of a run that failed with all its orders.
    spoil("A3");
    store.expire().run().exits(1);
    mend();
    store.expire().run().succeeds();
    store.order(store.waiting("A4", None, &[]));
    let ran = retry(&["3"]).succeeds();
    assert_eq!(ran.stderr, "what failed in run 3 has been done by run 4 since: nothing to retry\n");
    assert_eq!((status("A3"), status("A4")), ("ORDER_CANCELLED".to_owned(), "PAYMENT_WAIT".to_owned()));

    // Who wants the whole run again says so.
    retry(&["3", "--rerun"]).succeeds();
    assert_eq!(status("A4"), "ORDER_CANCELLED");
}
