//! Which failures a success settles: by the row of the run that made them good. What is neither settled nor dismissed is
//! open, for `runs list --open` and for the job's incident.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::db::{Db, DbError};
use crate::values;

use super::history::{self, EXECUTION_COLUMNS, Execution};

/// The rows of `batch_execution` that failed and are neither settled nor dismissed. In the words of the index that serves
/// it.
pub const UNSETTLED: &str = "settled_by IS NULL AND dismissed_at IS NULL \
                             AND status IN ('FAILED', 'PARTIAL', 'TIMED_OUT', 'CRASHED', 'STOPPED', 'REFUSED')";

/// How many open failures of a job are looked at, the newest first.
const MOST: i64 = 1_000;
/// How many times a retry may have been retried.
const LONGEST_CHAIN: usize = 100;

/// Settles what a run has made good that completed. One that was limited to some items says nothing about others than
/// those of the runs it retries. Returns how many failures it settled.
pub(super) async fn settle_by_run(
    db: &mut Db,
    done: &Execution,
    is_limited: bool,
    now: DateTime<Utc>,
) -> Result<usize, DbError> {
    let open = unsettled(db, &done.job, done.id).await?;
    if open.is_empty() {
        return Ok(0);
    }
    let chain = chain(db, done.retry_of).await?;
    // The first run of the chain had done the whole instance again, and left only what this one has done.
    let is_repeated = |failed: &Execution| {
        !done.instance_key.is_empty()
            && failed.instance_key == done.instance_key
            && chain.first().is_some_and(|first| failed.id < *first)
    };
    let is_settled = |failed: &Execution| {
        is_retried(failed, &chain, &open, Some(done))
            || is_repeated(failed)
            || (!is_limited && covers(done, failed))
    };
    let settled: Vec<&Execution> = open.iter().filter(|failed| is_settled(failed)).collect();
    settle(db, &settled, done.id, now).await
}

/// Whether a failure of a job is open.
pub(super) async fn has_open(db: &mut Db, job: &str) -> Result<bool, DbError> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM batch_execution WHERE job = $1 AND {UNSETTLED})");
    let (has_open,): (bool,) = db.fetch_one(&sql, values![job]).await?;
    Ok(has_open)
}

/// Settles what a command has made good that ended well: the failures of the same command that belong to no instance, and
/// what it retried. `lines` are the command lines that mean the same on any day.
pub(super) async fn settle_by_command(
    db: &mut Db,
    job: &str,
    lines: &[String],
    retry_of: Option<i64>,
    now: DateTime<Utc>,
) -> Result<usize, DbError> {
    let open = unsettled(db, job, i64::MAX).await?;
    if open.is_empty() {
        return Ok(0);
    }
    let chain = chain(db, retry_of).await?;
    let is_settled = |failed: &Execution| {
        is_retried(failed, &chain, &open, None)
            || (failed.instance_key.is_empty() && lines.contains(&failed.command_line))
    };
    let settled: Vec<&Execution> = open.iter().filter(|failed| is_settled(failed)).collect();
    let sql = "SELECT MAX(id) FROM batch_execution WHERE job = $1 AND status = 'COMPLETED'";
    let (by,): (Option<i64>,) = db.fetch_one(sql, values![job]).await?;
    match (by, settled.last()) {
        (Some(by), Some(_)) => settle(db, &settled, by, now).await,
        // Nothing was to be done, as after the last mall was removed: it settles itself.
        (None, Some(own)) => settle(db, &settled, own.id, now).await,
        (_, None) => Ok(0),
    }
}

async fn unsettled(db: &mut Db, job: &str, before: i64) -> Result<Vec<Execution>, DbError> {
    let sql = format!(
        "SELECT {EXECUTION_COLUMNS} FROM batch_execution
         WHERE job = $1 AND id < $2 AND {UNSETTLED} ORDER BY id DESC LIMIT $3"
    );
    db.fetch_all(&sql, values![job, before, MOST]).await
}

/// The run that is retried, the one that this was a retry of, and so on.
async fn chain(db: &mut Db, retried: Option<i64>) -> Result<BTreeSet<i64>, DbError> {
    let mut chain = BTreeSet::new();
    let mut next = retried;
    while let Some(id) = next
        && chain.len() < LONGEST_CHAIN
        && chain.insert(id)
    {
        next = history::find(db, id).await?.and_then(|run| run.retry_of);
    }
    Ok(chain)
}

/// Whether a failure is one of those that were retried, or an earlier retry of one. One before its instances were known
/// stands for all of them: it is settled by a run only if none of the others that it led to is open.
fn is_retried(failed: &Execution, chain: &BTreeSet<i64>, open: &[Execution], by: Option<&Execution>) -> bool {
    let is_in_chain = chain.contains(&failed.id);
    if !is_in_chain && !failed.retry_of.is_some_and(|retried| chain.contains(&retried)) {
        return false;
    }
    let Some(by) = by else { return true };
    if failed.instance_key.is_empty() && !by.instance_key.is_empty() {
        let leads_to =
            |run: &Execution| run.retry_of == Some(failed.id) && run.instance_key != by.instance_key;
        return !open.iter().any(leads_to);
    }
    is_in_chain || is_same_thing(by, failed)
}

/// Whether two runs are of one instance, or of two states of one file.
fn is_same_thing(one: &Execution, other: &Execution) -> bool {
    let is_of_one_file =
        one.title.is_some() && (&one.title, &one.exclusion_key) == (&other.title, &other.exclusion_key);
    one.instance_key == other.instance_key || is_of_one_file
}

/// Whether a run that completed has done what failed: the same instance, another state of the same file, or the sweep of
/// at least the same malls.
fn covers(done: &Execution, failed: &Execution) -> bool {
    if done.instance_key.is_empty() != failed.instance_key.is_empty() {
        return false;
    }
    if !done.instance_key.is_empty() {
        return is_same_thing(done, failed);
    }
    done.command_line == failed.command_line || done.command_line == without_malls(&failed.command_line)
}

/// A sweep's command line without its choice of malls.
fn without_malls(line: &str) -> String {
    let mut words = Vec::new();
    let mut rest = line.split(' ');
    while let Some(word) = rest.next() {
        match word {
            "--mall" => drop(rest.next()),
            word if word.starts_with("--mall=") => {}
            word => words.push(word),
        }
    }
    words.join(" ")
}

async fn settle(db: &mut Db, settled: &[&Execution], by: i64, now: DateTime<Utc>) -> Result<usize, DbError> {
    if settled.is_empty() {
        return Ok(0);
    }
    let ids = |runs: &[&Execution]| json!(runs.iter().map(|run| run.id).collect::<Vec<_>>());
    let sql = format!(
        "UPDATE batch_execution SET settled_by = $1 WHERE id IN {} AND settled_by IS NULL",
        db.numbers("$2")
    );
    db.execute(&sql, values![by, ids(settled)]).await?;
    // A sweep that succeeds may have passed over what an earlier one gave up on.
    let of_instances: Vec<&Execution> =
        settled.iter().filter(|run| !run.instance_key.is_empty()).copied().collect();
    let sql = format!(
        "UPDATE batch_error_log SET resolved_at = $1 WHERE execution_id IN {} AND resolved_at IS NULL",
        db.numbers("$2")
    );
    db.execute(&sql, values![now, ids(&of_instances)]).await?;
    Ok(settled.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, now, on_both_databases};
    use crate::runner::testing::execution;

    on_both_databases![
        a_success_settles_its_own_instance_and_the_same_file,
        a_sweep_settles_what_it_covers,
        a_retry_settles_the_whole_chain,
        a_retry_of_the_last_failure_settles_those_that_it_repeated,
        a_command_settles_itself_and_what_it_retried,
    ];

    fn failed(key: &str) -> Execution {
        Execution { status: "FAILED".to_owned(), ..execution("a job", key) }
    }

    async fn settled(db: &mut TestDb, done: Execution, is_limited: bool) -> Vec<String> {
        let id = db.run(&done).await;
        settle_by_run(db, &Execution { id, ..done }, is_limited, now()).await.unwrap();
        db.lines(&format!("SELECT id FROM batch_execution WHERE settled_by = {id} ORDER BY id")).await
    }

    async fn a_success_settles_its_own_instance_and_the_same_file(db: &mut TestDb) {
        let file = |hash: &str, title: &str| Execution { title: Some(title.to_owned()), ..failed(hash) };
        for run in [failed("1"), failed("2"), file("3", "a.csv"), file("4", "b.csv"), failed("")] {
            db.run(&run).await;
        }
        let done = |run: Execution| Execution { status: "COMPLETED".to_owned(), ..run };
        assert_eq!(settled(db, done(failed("1")), false).await, ["1"]);
        assert_eq!(settled(db, done(file("9", "b.csv")), false).await, ["4"]);
        assert_eq!(settled(db, done(failed("2")), true).await, [""; 0]);
    }

    async fn a_sweep_settles_what_it_covers(db: &mut TestDb) {
        let sweep = |line: &str, status: &str| Execution {
            command_line: line.to_owned(),
            status: status.to_owned(),
            ..execution("a job", "")
        };
        for line in ["a job --all", "a job --mall a --all", "a job --mall b --all", "a job --all --min 3"] {
            db.run(&sweep(line, "PARTIAL")).await;
        }
        assert_eq!(settled(db, sweep("a job --mall a --all", "COMPLETED"), false).await, ["2"]);
        assert_eq!(settled(db, sweep("a job --all", "COMPLETED"), false).await, ["1", "3"]);
    }

    async fn a_retry_of_the_last_failure_settles_those_that_it_repeated(db: &mut TestDb) {
        let retry = |of: i64| Execution { retry_of: Some(of), ..failed("18") };
        // Runs of the whole day, of which the third repeated the others; and the retry of the third.
        for run in [failed("18"), failed("17"), failed("18"), retry(3)] {
            db.run(&run).await;
        }
        assert_eq!(settled(db, retry(4), true).await, ["1", "3", "4"]);
        // The retry of an older one says nothing about what failed after it.
        for run in [failed("19"), failed("19")] {
            db.run(&run).await;
        }
        assert_eq!(settled(db, Execution { retry_of: Some(6), ..failed("19") }, true).await, ["6"]);
    }

    async fn a_retry_settles_the_whole_chain(db: &mut TestDb) {
        let retry = |key: &str, of: i64| Execution { retry_of: Some(of), ..failed(key) };
        // A command before its days were known, two days of it, and two failed retries of one.
        for run in [failed(""), retry("18", 1), retry("19", 1), retry("18", 2), retry("18", 2)] {
            db.run(&run).await;
        }
        let done = |run: Execution| Execution { status: "COMPLETED".to_owned(), ..run };
        assert_eq!(settled(db, done(retry("18", 5)), true).await, ["2", "4", "5"]);
        assert_eq!(settled(db, done(retry("19", 3)), true).await, ["1", "3"]);
    }

    async fn a_command_settles_itself_and_what_it_retried(db: &mut TestDb) {
        let of_line = |line: &str| Execution { command_line: line.to_owned(), ..failed("") };
        for run in [of_line("a job --date 18"), of_line("a job --date 19"), of_line("other"), failed("18")] {
            db.run(&run).await;
        }
        let settled = "SELECT id FROM batch_execution WHERE settled_by IS NOT NULL ORDER BY id";
        assert_eq!(
            settle_by_command(db, "a job", &["a job --date 18".to_owned()], None, now()).await.unwrap(),
            1
        );
        assert_eq!(db.lines(settled).await, ["1"]);
        assert_eq!(
            settle_by_command(db, "a job", &["a job --date 20".to_owned()], Some(4), now()).await.unwrap(),
            1
        );
        assert_eq!(db.lines(settled).await, ["1", "4"]);
    }
}
