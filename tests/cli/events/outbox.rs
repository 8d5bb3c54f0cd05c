//! The table as an interface: what an INSERT gets by itself, and what the database refuses.

use super::event;
use crate::bookkeeping::repository_file;
use crate::support::{Database, Sandbox, on_both_databases};

on_both_databases![
    the_insert_of_the_docs_is_taken_with_defaults_for_all_the_rest,
    what_could_not_be_published_is_refused,
    an_event_has_one_row,
];

/// The statements of a page.
fn statements(page: &str) -> Vec<String> {
    let page = repository_file(page);
    page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn the_insert_of_the_docs_is_taken_with_defaults_for_all_the_rest(sandbox: &Sandbox) {
    let statements = statements("docs/events.md");
    assert!(!statements.is_empty(), "the page has an INSERT");
    for statement in statements {
        sandbox.execute(&statement);
    }
    event(sandbox, "2", "{}");
    let rows = sandbox.sql("SELECT event_id, occurred_at, created_at FROM outbox_events ORDER BY id");
    for row in &rows {
        let dashes: Vec<usize> = row[0].match_indices('-').map(|(place, _)| place).collect();
        assert_eq!((row[0].len(), dashes.as_slice(), &row[0][14..15]), (36, &[8, 13, 18, 23][..], "4"));
        assert!("89ab".contains(&row[0][19..20]), "a random UUID (RFC 9562 section 5.4): {}", row[0]);
        for time in &row[1..] {
            let at: chrono::DateTime<chrono::Utc> = time.parse().unwrap();
            assert!((crate::support::machine_time() - at).num_minutes().abs() < 10, "{time}");
        }
    }
    assert_ne!(rows[0][0], rows[1][0]);
    let rest = "SELECT headers, published_at, attempts, next_attempt_at, last_error, dead_at
                FROM outbox_events ORDER BY id LIMIT 1";
    assert_eq!(sandbox.sql(rest), [["{}", "NULL", "0", "NULL", "NULL", "NULL"]]);
}

/// Writes an event with a value in the place of a column's own.
fn with(column: &str, value: &str) -> String {
    let columns = ["aggregate_type", "aggregate_id", "event_type", "payload"];
    let others: Vec<&str> = columns.into_iter().filter(|other| *other != column).collect();
    format!(
        "INSERT INTO outbox_events ({}, {column}) VALUES ({}, {value})",
        others.join(", "),
        others
            .iter()
            .map(|other| if *other == "payload" { "'{}'" } else { "'a'" })
            .collect::<Vec<_>>()
            .join(", ")
    )
}

fn what_could_not_be_published_is_refused(sandbox: &Sandbox) {
    let long = |bytes: usize| format!("'{}'", "x".repeat(bytes));
    let object_of = |bytes: usize| format!("'{{\"a\":\"{}\"}}'", "x".repeat(bytes - 8));
    for name in ["aggregate_type", "aggregate_id", "event_type"] {
        for bad in ["''", "NULL", &long(201)] {
            sandbox.refuses(&with(name, bad));
        }
        sandbox.execute(&with(name, &long(200)));
    }
    for json in ["payload", "headers"] {
        for bad in ["''", "'x'", "'[1]'", "'7'", "'null'", "'{\"a\":}'", "'{} {}'", "'{''a'':1}'", "NULL"] {
            sandbox.refuses(&with(json, bad));
        }
    }
    sandbox.execute(&with("payload", &object_of(1_048_576)));
    sandbox.refuses(&with("payload", &object_of(1_048_577)));
    sandbox.execute(&with("headers", &object_of(16_384)));
    sandbox.refuses(&with("headers", &object_of(16_385)));
    for bad in
        ["'1'", "'018F4C00-0000-4000-8000-000000000000'", "'018f4c00-0000-4000-8000-00000000000'", "NULL"]
    {
        sandbox.refuses(&with("event_id", bad));
    }
    for time in ["occurred_at", "created_at"] {
        for bad in ["'infinity'", "'2026-02-30T00:00:00+00:00'", "NULL"] {
            sandbox.refuses(&with(time, bad));
        }
    }
    for number in ["0", "-1", "9223372036854775807"] {
        sandbox.refuses(&with("id", number));
    }
    sandbox.refuses(
        "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload, published_at, dead_at)
         VALUES ('a', 'a', 'a', '{}', '2026-11-20T00:00:00+00:00', '2026-11-20T00:00:00+00:00')",
    );
    if sandbox.database() == Database::Sqlite {
        // PostgreSQL has neither.
        for text in ["aggregate_type", "aggregate_id", "event_type", "payload", "headers"] {
            sandbox.refuses(&with(text, "'{}' || char(0)"));
        }
        sandbox.refuses(&with("occurred_at", "'2026-11-20 10:00:00'"));
    }
}

fn an_event_has_one_row(sandbox: &Sandbox) {
    let id = "'018f4c00-0000-4000-8000-000000000000'";
    sandbox.execute(&with("event_id", id));
    sandbox.refuses(&with("event_id", id));
    assert_eq!(sandbox.scalar("SELECT COUNT(*) FROM outbox_events"), "1");
}
