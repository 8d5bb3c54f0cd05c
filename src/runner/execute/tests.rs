//! Lanes side by side, through the single entry point, with a separate database for each test.

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;

use chrono::{DateTime, Utc};
use tokio::sync::{Barrier, watch};

use super::*;
use crate::db::Db;
use crate::db::testing::{TestDb, on_both_databases};
use crate::failure::Failure;
use crate::runner::command::JobCommand;
use crate::runner::history::Status;
use crate::runner::lease::Acquired;
use crate::runner::{
    Completed, Exclusion, Freshness, Items, Job, JobSpec, OnOverlap, Planned, Run, StopSignal, minutes,
};
use crate::severity::Severity;
use crate::values;

/// What an instance does.
enum Act {
    Complete,
    Fail(Failure),
    /// One item of two fails.
    FailAnItem,
    /// Waits until as many instances as the barrier counts are running.
    Meet,
    /// The same twice.
    MeetTwice,
    /// The same once, and then the others look as if they had frozen.
    MeetAndLetLeasesExpire,
    /// Fails unless an earlier run ended after a page.
    GoOn,
    /// Waits for the others of the barrier, repeatedly checks how many runs are active, and lets none of them leave
    /// before all have looked.
    MeetAndCountRuns,
    /// Commits chunk after chunk, and sends the stop once as many as the barrier counts are doing so.
    WorkUntilStopped,
    /// Removes the history table.
    LoseDatabase,
}

/// A job whose instances are named `LANE-POSITION`, each with its act.
struct Malls {
    lanes: usize,
    acts: Vec<(&'static str, Act)>,
    barrier: Barrier,
    stop: watch::Sender<Option<StopSignal>>,
    signals: watch::Receiver<Option<StopSignal>>,
    begun: RefCell<Vec<String>>,
    delivered: RefCell<Vec<String>>,
    most_runs: Cell<i64>,
    is_freshness_unknown: bool,
}

impl Malls {
    fn new(lanes: usize, meeting: usize, acts: Vec<(&'static str, Act)>) -> JobCommand<Self> {
        let (stop, signals) = watch::channel(None);
        let job = Self {
            lanes,
            acts,
            barrier: Barrier::new(meeting),
            stop,
            signals,
            begun: RefCell::default(),
            delivered: RefCell::default(),
            most_runs: Cell::default(),
            is_freshness_unknown: false,
        };
        JobCommand::new(job, RunOptions::default())
    }
}

impl Job for Malls {
    const SPEC: JobSpec = JobSpec {
        name: "test malls",
        summary: "Do what a test asks for",
        details: "",
        page: None,
        schedule: None,
        deadline: minutes(1),
        severity: Severity::Low,
        exclusion: Exclusion::Instance,
        items: Items::new("mall", "malls", "computed"),
    };

    /// The instance's key.
    type Unit = &'static str;

    async fn plan(&self, _cx: &Context, _db: &mut Db) -> anyhow::Result<Vec<Planned<&'static str>>> {
        let planned = |key: &'static str| {
            let lane = key.split_once('-').map_or("", |(lane, _)| lane);
            Planned::new(key, key).exclusive_by(key).in_lane(lane)
        };
        Ok(self.acts.iter().map(|(key, _)| planned(key)).collect())
    }

    fn lanes(&self, _cx: &Context) -> NonZeroUsize {
        NonZeroUsize::new(self.lanes).unwrap()
    }

    async fn freshness(
        &self,
        _cx: &Context,
        _db: &mut Db,
        _completed: &Completed<'_, &'static str>,
    ) -> anyhow::Result<Freshness> {
        anyhow::ensure!(!self.is_freshness_unknown, "the freshness cannot be read");
        Ok(Freshness::Current(None))
    }

    async fn run(&self, run: &mut Run<'_>, key: &&'static str) -> anyhow::Result<()> {
        self.begun.borrow_mut().push((*key).to_owned());
        let (_, act) = self.acts.iter().find(|(acting, _)| acting == key).unwrap();
        match act {
            Act::Complete => Ok(()),
            Act::Fail(failure) => Err(failure.clone().into()),
            Act::FailAnItem => {
                run.read(2);
                run.written(1);
                run.fail_item("item", "test", &anyhow::anyhow!("it is bad"));
                Ok(())
            }
            Act::Meet => {
                self.barrier.wait().await;
                Ok(())
            }
            Act::MeetTwice => {
                self.barrier.wait().await;
                self.barrier.wait().await;
                Ok(())
            }
            Act::MeetAndLetLeasesExpire => {
                self.barrier.wait().await;
                let sql = "UPDATE batch_execution SET lease_expires_at = $1 WHERE id <> $2";
                run.db.execute(sql, values![DateTime::<Utc>::UNIX_EPOCH, run.id()]).await?;
                Ok(())
            }
            Act::GoOn => {
                anyhow::ensure!(
                    run.checkpoint::<String>()?.as_deref() == Some("a page"),
                    "from the beginning"
                );
                Ok(())
            }
            Act::MeetAndCountRuns => {
                self.barrier.wait().await;
                for _ in 0..50 {
                    let (runs,): (i64,) = run
                        .db
                        .fetch_one("SELECT COUNT(*) FROM batch_execution WHERE status = 'RUNNING'", values![])
                        .await?;
                    self.most_runs.set(self.most_runs.get().max(runs));
                }
                self.barrier.wait().await;
                Ok(())
            }
            Act::WorkUntilStopped => {
                run.chunk(Some("a page"), async |_| Ok(())).await?;
                if self.barrier.wait().await.is_leader() {
                    self.stop.send_replace(Some(StopSignal::Terminate));
                }
                loop {
                    run.chunk(Some("a page"), async |_| Ok(())).await?;
                }
            }
            Act::LoseDatabase => {
                run.db.execute("ALTER TABLE batch_execution RENAME TO elsewhere", values![]).await?;
                Ok(())
            }
        }
    }

    async fn deliver(&self, _cx: &Context, _db: &mut Db, completed: &[&&'static str]) -> anyhow::Result<()> {
        self.delivered.borrow_mut().extend(completed.iter().map(|key| (**key).to_owned()));
        Ok(())
    }
}

on_both_databases![
    lanes_run_side_by_side,
    the_instances_of_a_lane_run_in_their_order,
    no_more_lanes_run_at_once_than_the_job_says,
    a_lane_that_fails_leaves_the_others_and_the_result_is_partial,
    where_nothing_completed_the_worst_code_wins,
    failed_items_of_one_instance_are_partial_too,
    an_outside_system_that_is_down_ends_neither_its_lane_nor_the_others,
    without_lanes_an_outside_system_that_is_down_ends_the_command,
    a_lane_that_another_run_holds_ends_and_the_others_go_on,
    a_stop_ends_all_lanes_and_nothing_new_starts,
    a_stop_is_never_a_partial_success,
    a_database_that_is_gone_ends_the_command_and_is_not_a_partial_success,
    a_start_does_not_bury_the_lane_beside_it,
    an_instance_that_fails_before_its_run_leaves_the_others_and_stays_complete,
    a_retry_of_a_run_that_never_started_resumes_where_the_last_one_ended,
];

/// Runs the job on an empty database and returns its exit code and how each run ended, by instance.
async fn ran(
    db: &TestDb,
    job: &JobCommand<Malls>,
    options: &RunOptions,
) -> (ExitCode, Vec<(String, String)>) {
    let fresh = db.fresh().await;
    let result = ran_again(&fresh.context(), job, options).await;
    fresh.close().await;
    result
}

/// The same on an existing database.
async fn ran_again(
    cx: &Context,
    job: &JobCommand<Malls>,
    options: &RunOptions,
) -> (ExitCode, Vec<(String, String)>) {
    let code = Box::pin(execute_under(cx, job, options, Signals::of(job.job().signals.clone()))).await;
    let mut db = cx.db_unchecked(false).await.unwrap();
    let sql = "SELECT instance_key, status FROM batch_execution ORDER BY instance_key, id";
    let runs = db.fetch_all(sql, values![]).await.unwrap_or_default();
    (code, runs)
}

fn statuses(runs: &[(String, String)]) -> Vec<(&str, &str)> {
    runs.iter().map(|(key, status)| (key.as_str(), status.as_str())).collect()
}

fn outside_is_down() -> Act {
    Act::Fail(Failure::try_later("the shop does not answer"))
}

fn defect() -> Act {
    Act::Fail(Failure::failed("the shop speaks nonsense"))
}

async fn lanes_run_side_by_side(db: &mut TestDb) {
    // None gets past the barrier unless all three run at once.
    let job = Malls::new(3, 3, vec![("a-1", Act::Meet), ("b-1", Act::Meet), ("c-1", Act::Meet)]);
    let (code, runs) = ran(db, &job, &RunOptions::default()).await;
    assert_eq!(code, ExitCode::Completed);
    assert_eq!(statuses(&runs), [("a-1", "COMPLETED"), ("b-1", "COMPLETED"), ("c-1", "COMPLETED")]);
    assert_eq!(*job.job().delivered.borrow(), ["a-1", "b-1", "c-1"]);
}

async fn the_instances_of_a_lane_run_in_their_order(db: &mut TestDb) {
    let acts = vec![
        ("a-1", Act::Complete),
        ("b-1", Act::Complete),
        ("a-3", Act::Complete),
        ("b-0", Act::Complete),
        ("a-2", Act::Complete),
    ];
    let job = Malls::new(2, 1, acts);
    assert_eq!(ran(db, &job, &RunOptions::default()).await.0, ExitCode::Completed);
    let begun = job.job().begun.borrow();
    let of = |lane: &str| begun.iter().filter(|key| key.starts_with(lane)).cloned().collect::<Vec<_>>();
    assert_eq!(of("a"), ["a-1", "a-3", "a-2"]);
    assert_eq!(of("b"), ["b-1", "b-0"]);
    assert_eq!(*job.job().delivered.borrow(), ["a-1", "a-3", "a-2", "b-1", "b-0"]);
}

async fn no_more_lanes_run_at_once_than_the_job_says(db: &mut TestDb) {
    // Two at a time must meet, and a third would be seen: six, so that nobody is left alone.
    let acts = ["a-1", "b-1", "c-1", "d-1", "e-1", "f-1"].map(|key| (key, Act::MeetAndCountRuns));
    let job = Malls::new(2, 2, acts.into());
    assert_eq!(ran(db, &job, &RunOptions::default()).await.0, ExitCode::Completed);
    assert_eq!(job.job().most_runs.get(), 2);
    assert_eq!(job.job().begun.borrow().len(), 6);
}

async fn a_lane_that_fails_leaves_the_others_and_the_result_is_partial(db: &mut TestDb) {
    let acts = || {
        vec![
            ("a-1", Act::Complete),
            ("b-1", Act::Fail(Failure::configuration("no key"))),
            ("c-1", Act::Complete),
        ]
    };
    for lanes in [1, 3] {
        let job = Malls::new(lanes, 1, acts());
        let (code, runs) = ran(db, &job, &RunOptions::default()).await;
        assert_eq!(code, ExitCode::Partial);
        assert_eq!(statuses(&runs), [("a-1", "COMPLETED"), ("b-1", "FAILED"), ("c-1", "COMPLETED")]);
        assert_eq!(*job.job().delivered.borrow(), ["a-1", "c-1"]);
    }
    let tolerant = RunOptions { allow_partial: true, ..RunOptions::default() };
    assert_eq!(ran(db, &Malls::new(3, 1, acts()), &tolerant).await.0, ExitCode::Completed);
}

async fn where_nothing_completed_the_worst_code_wins(db: &mut TestDb) {
    let job = Malls::new(2, 1, vec![("a-1", outside_is_down()), ("b-1", defect())]);
    assert_eq!(ran(db, &job, &RunOptions::default()).await.0, ExitCode::Failed);
    let job = Malls::new(2, 1, vec![("a-1", outside_is_down()), ("b-1", outside_is_down())]);
    assert_eq!(ran(db, &job, &RunOptions::default()).await.0, ExitCode::TryLater);
    let job = Malls::new(2, 1, vec![("a-1", outside_is_down())]);
    assert_eq!(ran(db, &job, &RunOptions::default()).await.0, ExitCode::TryLater);
}

async fn failed_items_of_one_instance_are_partial_too(db: &mut TestDb) {
    let job = Malls::new(2, 1, vec![("a-1", Act::FailAnItem), ("b-1", Act::Complete)]);
    let (code, runs) = ran(db, &job, &RunOptions::default()).await;
    assert_eq!(code, ExitCode::Partial);
    assert_eq!(statuses(&runs), [("a-1", "PARTIAL"), ("b-1", "COMPLETED")]);
}

async fn an_outside_system_that_is_down_ends_neither_its_lane_nor_the_others(db: &mut TestDb) {
    let acts =
        vec![("a-1", outside_is_down()), ("a-2", Act::Complete), ("b-1", defect()), ("b-2", Act::Complete)];
    let job = Malls::new(2, 1, acts);
    let (code, runs) = ran(db, &job, &RunOptions::default()).await;
    assert_eq!(code, ExitCode::Partial);
    assert_eq!(
        statuses(&runs),
        [("a-1", "FAILED"), ("a-2", "COMPLETED"), ("b-1", "FAILED"), ("b-2", "COMPLETED")]
    );
}

async fn without_lanes_an_outside_system_that_is_down_ends_the_command(db: &mut TestDb) {
    let job = Malls::new(1, 1, vec![("1", Act::Complete), ("2", outside_is_down()), ("3", Act::Complete)]);
    let (code, runs) = ran(db, &job, &RunOptions::default()).await;
    assert_eq!(code, ExitCode::TryLater);
    assert_eq!(statuses(&runs), [("1", "COMPLETED"), ("2", "FAILED")]);
}

async fn a_lane_that_another_run_holds_ends_and_the_others_go_on(db: &mut TestDb) {
    let cx = db.context();
    let options = RunOptions { on_overlap: Some(OnOverlap::Fail), ..RunOptions::default() };
    for (lanes, has_other) in [(1, false), (1, true), (2, true)] {
        let held = Malls::new(1, 1, vec![("a-1", Act::Complete)]);
        let session = Session::new(&cx, &held, &options, Signals::of(held.job().signals.clone()));
        let mut worker = Worker::connect(&session).await.unwrap();
        let instances = AnyJob::plan(&held, &cx, &mut worker.db).await.unwrap();
        assert!(matches!(worker.acquire(&instances[0], true).await.unwrap(), Acquired::Granted(_)));

        let mut acts = vec![("a-1", Act::Complete), ("a-2", Act::Complete)];
        if has_other {
            acts.push(("b-1", Act::Complete));
        }
        let job = Malls::new(lanes, 1, acts);
        let again = RunOptions { rerun: true, ..options.clone() };
        let code = execute_under(&cx, &job, &again, Signals::of(job.job().signals.clone())).await;
        assert_eq!(code, if has_other { ExitCode::Partial } else { ExitCode::TryLater });
        assert_eq!(*job.job().begun.borrow(), if has_other { vec!["b-1"] } else { vec![] });
        let sql = "UPDATE batch_execution SET status = 'STOPPED' WHERE status = 'RUNNING'";
        worker.db.execute(sql, values![]).await.unwrap();
        worker.close().await;
    }
}

async fn a_stop_ends_all_lanes_and_nothing_new_starts(db: &mut TestDb) {
    let acts = vec![
        ("a-1", Act::WorkUntilStopped),
        ("b-1", Act::WorkUntilStopped),
        ("c-1", Act::WorkUntilStopped),
        ("a-2", Act::Complete),
        ("d-1", Act::Complete),
    ];
    let job = Malls::new(3, 3, acts);
    let (code, runs) = ran(db, &job, &RunOptions::default()).await;
    assert_eq!(code, ExitCode::Terminated);
    assert_eq!(statuses(&runs), [("a-1", "STOPPED"), ("b-1", "STOPPED"), ("c-1", "STOPPED")]);
    assert!(job.job().delivered.borrow().is_empty());
}

async fn a_stop_is_never_a_partial_success(db: &mut TestDb) {
    let acts = vec![("a-1", Act::Complete), ("a-2", Act::WorkUntilStopped), ("b-1", Act::Complete)];
    let tolerant = RunOptions { allow_partial: true, ..RunOptions::default() };
    let (code, runs) = ran(db, &Malls::new(1, 1, acts), &tolerant).await;
    assert_eq!(code, ExitCode::Terminated);
    assert_eq!(statuses(&runs), [("a-1", "COMPLETED"), ("a-2", "STOPPED")]);
}

async fn a_database_that_is_gone_ends_the_command_and_is_not_a_partial_success(db: &mut TestDb) {
    let acts = vec![("a-1", Act::Complete), ("b-1", Act::LoseDatabase), ("c-1", Act::Complete)];
    let job = Malls::new(1, 1, acts);
    let tolerant = RunOptions { allow_partial: true, ..RunOptions::default() };
    assert_eq!(ran_again(&db.context(), &job, &tolerant).await.0, ExitCode::TryLater);
    assert_eq!(*job.job().begun.borrow(), ["a-1", "b-1"]);
    // The next test expects it.
    db.script("ALTER TABLE elsewhere RENAME TO batch_execution").await.unwrap();
}

async fn a_start_does_not_bury_the_lane_beside_it(db: &mut TestDb) {
    let acts = vec![("a-1", Act::MeetAndLetLeasesExpire), ("a-2", Act::Meet), ("b-1", Act::MeetTwice)];
    let (code, runs) = ran(db, &Malls::new(2, 2, acts), &RunOptions::default()).await;
    assert_eq!(code, ExitCode::Completed);
    assert_eq!(statuses(&runs), [("a-1", "COMPLETED"), ("a-2", "COMPLETED"), ("b-1", "COMPLETED")]);
}

async fn an_instance_that_fails_before_its_run_leaves_the_others_and_stays_complete(db: &mut TestDb) {
    let cx = db.context();
    let done = Malls::new(1, 1, vec![("a-1", Act::Complete)]);
    assert_eq!(ran_again(&cx, &done, &RunOptions::default()).await.0, ExitCode::Completed);

    for lanes in [1, 2] {
        let mut job = Malls::new(lanes, 1, vec![("a-1", Act::Complete), ("b-1", Act::Complete)]);
        job.job_mut().is_freshness_unknown = true;
        let (code, _) = ran_again(&cx, &job, &RunOptions::default()).await;
        // The first time b-1 is new; the second time its freshness cannot be read either.
        assert_eq!(code, if lanes == 1 { ExitCode::Partial } else { ExitCode::Failed });
    }
    let again = Malls::new(1, 1, vec![("a-1", Act::Complete), ("b-1", Act::Complete)]);
    let (code, runs) = ran_again(&cx, &again, &RunOptions::default()).await;
    assert_eq!(code, ExitCode::Completed);
    assert!(again.job().begun.borrow().is_empty());
    assert_eq!(
        statuses(&runs),
        [("a-1", "COMPLETED"), ("a-1", "FAILED"), ("a-1", "FAILED"), ("b-1", "COMPLETED"), ("b-1", "FAILED")]
    );
}

async fn a_retry_of_a_run_that_never_started_resumes_where_the_last_one_ended(db: &mut TestDb) {
    let cx = db.context();
    let stopped = Malls::new(1, 1, vec![("a-1", Act::WorkUntilStopped)]);
    assert_eq!(ran_again(&cx, &stopped, &RunOptions::default()).await.0, ExitCode::Terminated);

    let again = Malls::new(1, 1, vec![("a-1", Act::GoOn)]);
    let options = RunOptions::default();
    let session = Session::new(&cx, &again, &options, Signals::of(again.job().signals.clone()));
    let mut worker = Worker::connect(&session).await.unwrap();
    let instances = AnyJob::plan(&again, &cx, &mut worker.db).await.unwrap();
    let subject = worker.subject(&instances[0]);
    let (never_began, _) =
        worker.insert_ended(&subject, Status::Failed, ExitCode::Failed, "no way there").await.unwrap();
    worker.close().await;
    let retry = RunOptions { retry_of: Some(never_began), ..RunOptions::default() };
    let (code, runs) = ran_again(&cx, &again, &retry).await;
    assert_eq!(code, ExitCode::Completed);
    assert_eq!(statuses(&runs), [("a-1", "STOPPED"), ("a-1", "FAILED"), ("a-1", "COMPLETED")]);
}
