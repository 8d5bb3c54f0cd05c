//! History rows for tests of steps and queries.

use std::time::Duration;

use crate::db::testing::{TestDb, now};

use super::history::{self, Execution, Status};
use super::lease::{Request, new_execution};
use super::process::ProcessIdentity;

/// How long a lease lasts in tests.
pub(crate) const LEASE: Duration = Duration::from_mins(1);

/// A process on a host of its own: no other process can tell whether it is alive.
pub(super) fn elsewhere(number: i64) -> ProcessIdentity {
    ProcessIdentity {
        host: format!("host-{number}"),
        pid: number,
        started_ticks: 1,
        boot_id: "boot".to_owned(),
    }
}

/// The first run of an instance, running since [`now`] on another host. A test changes what matters to it.
pub(crate) fn execution(job: &str, instance_key: &str) -> Execution {
    let request = Request {
        job,
        instance_key,
        title: None,
        exclusion_key: None,
        command_line: "a command",
        command_seal: None,
        rerun: false,
        waited_for: None,
        retry_of: None,
        now: now(),
        lease: LEASE,
        identity: &elsewhere(1),
        environment: "dev",
        time_zone: chrono_tz::Tz::UTC,
    };
    new_execution(&request, now(), 1, 1)
}

impl TestDb {
    /// Adds a run and returns its id.
    pub(crate) async fn run(&mut self, execution: &Execution) -> i64 {
        history::insert(self, execution, None).await.unwrap()
    }

    /// Adds runs of a job, each of an instance of its own, that completed with an item that failed.
    pub(crate) async fn completed_runs(&mut self, count: u32) {
        let at = "'2026-11-19T00:00:00+00:00'";
        let rows = "batch_execution (job, instance_key, command_line, attempt, status, started_at, heartbeat_at,
                        lease_expires_at, epoch, host, pid, pid_started_ticks, boot_id, items_read, items_written,
                        items_skipped, items_failed, version, environment)
                    SELECT 'a job', 'day ' || n, 'a job', 1, 'COMPLETED', {at}, {at}, {at}, 1, 'host', 1, 1, 'boot',
                        1, 1, 0, 1, '0', 'dev'";
        self.fill(count, &rows.replace("{at}", at)).await;
    }

    /// Adds a run of a job with this status and returns its id.
    pub(crate) async fn run_that_is(&mut self, status: Status) -> i64 {
        self.run(&Execution { status: status.word().to_owned(), ..execution("a job", "") }).await
    }
}
