//! Work that must finish before the process exits.
//!
//! A stop signal and a deadline end a run by dropping its work wherever it waits. Some work must not be dropped there:
//! a response that replaced a refresh token is the only copy until it is stored. Such work runs as a separate task and
//! is registered here; the process waits for it in one place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::output::Output;

/// How long an ending process waits for work that must not be cut off. Whoever registers such work gives it a shorter
/// limit.
pub const MAX_END: Duration = Duration::from_secs(65);
/// How long it waits for connections to close cleanly.
const MAX_FAREWELL: Duration = Duration::from_secs(1);

/// Work that must not be cut off.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unfinished {
    /// What the process waits for, as shown to people: `a new pair of tokens`.
    pub what: &'static str,
    /// What it means if it is lost after all.
    pub if_lost: &'static str,
}

/// The work and the connections of one process.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tracker: TaskTracker,
    /// The work in progress, and how many times each.
    under_way: Mutex<BTreeMap<&'static Unfinished, usize>>,
    farewells: Mutex<Vec<BoxFuture<'static, ()>>>,
}

/// Registers one piece of work for as long as it lives.
struct Registered {
    ending: Ending,
    unfinished: &'static Unfinished,
    _token: TaskTrackerToken,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut under_way = self.ending.under_way();
        if let Some(count) = under_way.get_mut(self.unfinished) {
            *count -= 1;
        }
        under_way.retain(|_, count| *count > 0);
    }
}

impl Ending {
    /// Does work that the process waits for before it exits; `None`, without starting it, if the process is already
    /// ending.
    pub(super) async fn keep<T>(
        &self,
        unfinished: &'static Unfinished,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let _registered = self.register(unfinished)?;
        Some(work.await)
    }

    fn register(&self, unfinished: &'static Unfinished) -> Option<Registered> {
        // The token first: an ending process that does not see it yet has closed the tracker by the time it is
        // checked.
        let token = self.0.tracker.token();
        if self.0.tracker.is_closed() {
            return None;
        }
        *self.under_way().entry(unfinished).or_default() += 1;
        Some(Registered { ending: self.clone(), unfinished, _token: token })
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<&'static Unfinished, usize>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `farewell` at the end.
    pub(super) fn at_end(&self, farewell: BoxFuture<'static, ()>) {
        self.0.farewells.lock().unwrap_or_else(PoisonError::into_inner).push(farewell);
    }

    /// Waits for the work, then closes the connections; both within a limit. No further work starts.
    pub(super) async fn finish(&self, output: &Output) {
        self.finish_within(MAX_END, output).await;
    }

    async fn finish_within(&self, longest: Duration, output: &Output) {
        self.0.tracker.close();
        let under_way: Vec<String> = self
            .under_way()
            .iter()
            .map(|(unfinished, count)| match count {
                1 => unfinished.what.to_owned(),
                count => format!("{} ({count} times)", unfinished.what),
            })
            .collect();
        if !under_way.is_empty() {
            output.status(&format!("Waiting for {}; a second signal loses it", under_way.join(" and ")));
        }
        if timeout(longest, self.0.tracker.wait()).await.is_err() {
            for unfinished in self.under_way().keys() {
                output.warn(&format!("ended without {}: {}", unfinished.what, unfinished.if_lost));
            }
        }
        let farewells = std::mem::take(&mut *self.0.farewells.lock().unwrap_or_else(PoisonError::into_inner));
        // All that matters is done, even if a connection does not close cleanly.
        let _ = timeout(MAX_FAREWELL, join_all(farewells)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;
    use crate::mask::Redactor;
    use crate::output::LogFormat;

    const WORK: Unfinished = Unfinished { what: "work", if_lost: "it is done again" };

    fn output() -> Output {
        Output::new(LogFormat::Text, 0, true, Redactor::default())
    }

    #[tokio::test]
    async fn the_end_waits_for_work_and_lets_none_start() {
        let ending = Ending::default();
        let (go, has_gone) = oneshot::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let work = tokio::spawn({
            let ending = ending.clone();
            async move {
                let work = async {
                    begun.send(()).unwrap();
                    has_gone.await.is_ok()
                };
                ending.keep(&WORK, work).await
            }
        });
        has_begun.await.unwrap();
        let (end, other) = (ending.clone(), ending.clone());
        let finishing = tokio::spawn(async move { end.finish(&output()).await });
        while !ending.0.tracker.is_closed() {
            tokio::task::yield_now().await;
        }
        assert!(!finishing.is_finished());
        assert_eq!(other.keep(&WORK, async { panic!("it must not begin") }).await, None::<()>);
        go.send(()).unwrap();
        assert_eq!(work.await.unwrap(), Some(true));
        finishing.await.unwrap();
        assert!(ending.under_way().is_empty());
    }

    #[tokio::test]
    async fn endless_work_is_waited_for_no_longer_than_the_limit() {
        let ending = Ending::default();
        let _registered = ending.register(&WORK).unwrap();
        let output = output();
        let end = ending.finish_within(Duration::from_millis(10), &output);
        timeout(Duration::from_secs(5), end).await.unwrap();
        assert_eq!(ending.under_way().get(&WORK), Some(&1));
    }

    #[tokio::test]
    async fn work_that_is_dropped_is_not_waited_for() {
        let ending = Ending::default();
        drop(Box::pin(ending.keep(&WORK, std::future::pending::<()>())));
        let mut half_done = Box::pin(ending.keep(&WORK, std::future::pending::<()>()));
        assert!((&mut half_done).now_or_never().is_none());
        drop(half_done);
        timeout(Duration::from_secs(5), ending.finish(&output())).await.unwrap();
    }

    #[tokio::test]
    async fn connections_are_closed_at_the_end_and_one_that_hangs_does_not_delay_it() {
        let ending = Ending::default();
        let is_closed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_closed);
        ending.at_end(Box::pin(std::future::pending()));
        ending.at_end(Box::pin(async move { seen.store(true, Ordering::SeqCst) }));
        timeout(Duration::from_secs(10), ending.finish(&output())).await.unwrap();
        assert!(is_closed.load(Ordering::SeqCst));
    }
}
