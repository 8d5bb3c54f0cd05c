//! Where connections to servers are worked on: on threads of their own, so that no server keeps the program from hearing that
//! it is to stop.
//!
//! One that sends interim responses (`100 Continue`) without end has its connection's task read for seconds at a time, and a
//! few of them all threads there are: no clock and no signal is looked at meanwhile.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, Request, RequestBuilder, Response};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::client::unanswered;
use super::error::{ApiErrorKind, Problem};
use crate::failure::Failure;

/// More than one, so that one server does not slow all others down.
const THREADS: usize = 2;
/// How much longer than a request may take it is waited for. It usually ends by its own clock, and says more about it.
const SLACK: Duration = Duration::from_secs(1);

/// An HTTP client whose connections are worked on elsewhere.
#[derive(Debug, Clone)]
pub(super) struct Background {
    client: Client,
    threads: Arc<Threads>,
}

/// The threads, which end with their last user. What they are doing is not waited for.
#[derive(Debug)]
struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Background {
    /// Has the connections of a client worked on by threads of their own.
    pub(super) fn of(client: Client) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::failed(format!("failed to start threads for HTTP: {error}")))?;
        let handle = runtime.handle().clone();
        Ok(Self { client, threads: Arc::new(Threads { handle, runtime: Some(runtime) }) })
    }

    /// A request to be built.
    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request and returns the head of its response, and until when its body is waited for.
    pub(super) async fn execute(&self, request: Request) -> Result<(Response, Instant), Problem> {
        let limit = request.timeout().copied().unwrap_or(super::MAX_PAUSE);
        let until = Instant::now() + limit + SLACK;
        let client = self.client.clone();
        let asking = self.threads.handle.spawn(async move { client.execute(request).await });
        match timeout_at(until, AbortOnDropHandle::new(asking)).await {
            Ok(Ok(Ok(response))) => Ok((response, until)),
            Ok(Ok(Err(error))) => Err(unanswered(error)),
            Ok(Err(panicked)) => {
                let reason = format!("failed to make a request: {panicked}");
                Err(Problem::lasting(ApiErrorKind::Unsendable, reason))
            }
            Err(_) => Err(Problem::passing(ApiErrorKind::Unheard, "no answer in time")),
        }
    }
}
