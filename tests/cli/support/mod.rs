//! The harness: sandboxes, processes, both databases, and those parts of outside systems that tests need.

mod as_text;
pub(crate) mod cafe24;
pub(crate) mod chatwork;
mod customers;
mod database;
pub(crate) mod exports;
mod fake;
pub(crate) mod google_chat;
mod kafka;
pub(crate) mod line_works;
mod process;
pub(crate) mod redis;
mod rows;
mod sandbox;
mod schema_registry;
pub(crate) mod sendgrid;
pub(crate) mod ses;
mod shop;
mod smtp;
pub(crate) mod teams;
mod webhook;

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) use cafe24::Cafe24;
pub(crate) use customers::{Customers, UNREACHABLE};
pub(crate) use database::Database;
pub(crate) use kafka::{Kafka, Message, RealKafka};
pub(crate) use process::{Batchctl, Held, Ran, Running};
pub(crate) use rows::{Line, Mall, Member, Order, Refund};
pub(crate) use sandbox::{Arranged, NOW, Sandbox};
pub(crate) use schema_registry::SchemaRegistry;
pub(crate) use shop::Shop;
pub(crate) use smtp::{Fate, Greeting, MailServer, Manners};
pub(crate) use webhook::{Answer, Request, Webhook};

/// The machine's time, by which the program judges tokens and leases.
#[expect(clippy::disallowed_methods, reason = "a test has no context")]
pub(crate) fn machine_time() -> chrono::DateTime<chrono::Utc> {
    batchctl::clock::machine_time()
}

/// How long a test waits for something to happen. Generous: two cores may be shared by hundreds of processes.
const LIMIT: Duration = Duration::from_mins(1);

/// Makes tests for SQLite and PostgreSQL: `on_both_databases![a_run_leaves_a_row, …]` turns each function `fn
/// a_run_leaves_a_row(sandbox: &Sandbox)` (or `shop: &Shop`) into the tests `a_run_leaves_a_row::sqlite` and
/// `a_run_leaves_a_row::postgres`.
///
/// It takes names rather than the functions themselves, because rustfmt does not format the inside of a macro; a
/// function that is missing from the list is unused, which the lints refuse.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn sqlite() {
                $crate::support::run_on($crate::support::Database::Sqlite, super::$name);
            }

            #[test]
            fn postgres() {
                $crate::support::run_on($crate::support::Database::Postgres, super::$name);
            }
        }
    )+};
}
pub(crate) use on_both_databases;

/// Runs a test on a database, if that database is available.
pub(crate) fn run_on<T: Arranged>(database: Database, test: impl FnOnce(&T)) {
    if database.is_available() {
        test(&T::on(database));
    }
}

/// Waits until a condition is true; if that does not happen, fails the test and says what was expected.
#[track_caller]
pub(crate) fn eventually(mut condition: impl FnMut() -> bool, what: &str) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < LIMIT, "waited {} s in vain: {what}", LIMIT.as_secs());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a test can mount a small disk of its own, as root can; if not, it is skipped with a notice.
#[expect(clippy::disallowed_methods, reason = "the test program would swallow a notice that is `eprint`ed")]
pub(crate) fn can_mount() -> bool {
    let probe = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    let can = probe.is_ok_and(|probe| probe.status.success());
    if !can {
        let notice = "note: the tests of a really full disk are skipped: they need to mount one (root)";
        writeln!(std::io::stderr(), "{notice}").expect("stderr is there");
    }
    can
}

/// The value of a variable about a real server that `scripts/servers` starts. Without it the test is skipped; in CI it
/// fails.
pub(crate) fn real_server(name: &str) -> Option<String> {
    let found = variable(name);
    assert!(
        found.is_some() || variable("CI").is_none(),
        "{name} is not set, and CI skips no test: use scripts/test"
    );
    found
}

/// A variable of the test run itself.
#[expect(clippy::disallowed_methods, reason = "how scripts/test and CI configure the tests")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
