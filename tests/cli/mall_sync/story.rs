//! What operators do with a night's failures: list them, pick one, retry it.

use serde_json::json;

use super::{Shops, member};
use crate::support::on_both_databases;

on_both_databases![
    an_operator_lists_what_failed_and_retries_one,
    an_admin_tool_requests_a_retry_and_the_next_round_runs_it,
];

/// A night in which two of three malls fail.
fn night(shops: &Shops) {
    for mall in ["second", "third"] {
        shops.open(mall);
    }
    for mall in ["demo", "second", "third"] {
        shops.control(mall, "data", json!({ "members": [member(mall, "2026-11-19T10:00:00+09:00")] }));
    }
    for mall in ["second", "third"] {
        shops.control(
            mall,
            "faults",
            json!({ "rules": [{ "path": "admin", "fault": "status", "status": 422 }] }),
        );
    }
    shops.batchctl(["mall", "sync", "--domain", "member", "--page-size", "500"]).run().exits(3);
}

/// The run of a mall's first attempt.
fn run_of(shops: &Shops, mall: &str) -> String {
    shops.scalar(&format!("SELECT MIN(id) FROM batch_execution WHERE instance_key LIKE '{mall} %'"))
}

fn an_operator_lists_what_failed_and_retries_one(shops: &Shops) {
    night(shops);
    let (second, third) = (run_of(shops, "second"), run_of(shops, "third"));
    // Two days later: yesterday is a different day by now.
    let later = "2026-11-22T09:00:00+09:00";

    let listed = shops.batchctl(["runs", "list", "--status", "failed"]).now(later).run().succeeds();
    listed.prints("second member 2026-11-19").prints("third member 2026-11-19").never_shows("demo member");
    shops
        .batchctl(["runs", "show", &second])
        .now(later)
        .run()
        .succeeds()
        .prints("mall sync --mall second --domain member --from 2026-11-19 --to 2026-11-19 --page-size 500");

    shops.batchctl(["runs", "retry", &second]).now(later).run().succeeds().is_silent();

    assert_eq!(
        shops.sql("SELECT attempt, status, command_line FROM batch_execution WHERE instance_key LIKE 'second %' ORDER BY id"),
        [
            ["1", "FAILED", "mall sync --mall second --domain member --from 2026-11-19 --to 2026-11-19 --page-size 500"],
            ["2", "COMPLETED", "mall sync --mall second --domain member --from 2026-11-19 --to 2026-11-19 --page-size 500"],
        ]
    );
    assert_eq!(
        shops.sql("SELECT member_code FROM members ORDER BY 1"),
        [["demo"], ["second"]],
        "only that mall"
    );
    let retried = shops.batchctl(["-v", "runs", "retry", &second]).now(later).run().succeeds();
    retried.says("nothing to retry");

    let open = shops.batchctl(["runs", "list", "--status", "failed", "--open"]).now(later).run().succeeds();
    open.prints("third member 2026-11-19").never_shows("second member");

    let asked = ["runs", "request-retry", &third, "--reason", "the shop was fixed", "--by", "kim"];
    shops.batchctl(asked).now(later).run().succeeds();
    shops.batchctl(["runs", "process-requests"]).now(later).run().succeeds().is_silent();

    assert_eq!(shops.members(), "3");
    assert_eq!(
        shops.sql("SELECT status, exit_code, requested_by FROM batch_retry_request"),
        [["DONE", "0", "kim"]]
    );
    assert_eq!(
        shops
            .sql("SELECT attempt, status FROM batch_execution WHERE instance_key LIKE 'third %' ORDER BY id"),
        [["1", "FAILED"], ["2", "COMPLETED"]]
    );
}

fn an_admin_tool_requests_a_retry_and_the_next_round_runs_it(shops: &Shops) {
    night(shops);
    let third = run_of(shops, "third");
    shops.execute(&format!(
        "INSERT INTO batch_retry_request (execution_id, reason, requested_by, requested_at, status)
         VALUES ({third}, 'from the admin page', 'admin', '2026-11-20T00:00:00+00:00', 'PENDING')"
    ));

    shops.batchctl(["runs", "process-requests"]).run().succeeds().is_silent();

    assert_eq!(shops.sql("SELECT member_code FROM members ORDER BY 1"), [["demo"], ["third"]]);
    assert_eq!(shops.sql("SELECT status FROM batch_retry_request"), [["DONE"]]);
}
