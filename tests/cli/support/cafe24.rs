//! A local Cafe24 (`scripts/fakes/cafe24`) for one test, and its malls in a sandbox.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::Sandbox;
use super::fake::Fake;

/// The app that the server knows.
pub(crate) const CLIENT_ID: &str = "cid-of-the-app";
pub(crate) const CLIENT_SECRET: &str = "canary-client-secret";
/// The key that encrypts the tokens of [`Cafe24::configure`].
pub(crate) const SECRET_KEY: &str = "canary-secret-key-of-32-characters-and-more";

/// A running server; it ends with the test.
pub(crate) struct Cafe24 {
    fake: Fake,
}

impl Cafe24 {
    /// Starts one without throttles: `settings` of the control API turn them on.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--throttle", "none"])
    }

    /// Starts one with these arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let app = ["--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET];
        Self { fake: Fake::start("cafe24", &[&app, arguments].concat()) }
    }

    /// The value of `cafe24.base_url` for it.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{{account}}", self.fake.port())
    }

    /// `POST /_control/MALL/PATH`; returns the answer.
    #[track_caller]
    pub(crate) fn control(&self, mall: &str, path: &str, body: &Value) -> Value {
        let (status, body) = self.ask("POST", &format!("/_control/{mall}/{path}"), &body.to_string());
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or(Value::Null)
    }

    /// The requests that reached a mall, and their summary: `{"requests": […], "summary": {…}}`.
    #[track_caller]
    pub(crate) fn log(&self, mall: &str) -> Value {
        let (status, body) = self.ask("GET", &format!("/_control/{mall}/log"), "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("the log is JSON")
    }

    /// A number of the log's summary, such as `refreshes` or `blocked_calls`.
    #[track_caller]
    pub(crate) fn summary(&self, mall: &str, key: &str) -> i64 {
        let summary = &self.log(mall)["summary"];
        summary[key].as_i64().unwrap_or_else(|| panic!("no number `{key}` in {summary}"))
    }

    /// A fresh pair of tokens, as the answer of OAuth.
    #[track_caller]
    pub(crate) fn tokens(&self, mall: &str) -> Value {
        self.control(mall, "tokens", &json!({}))
    }

    /// Writes `batchctl.toml` and `.env` into the sandbox, so that its processes use this server: without a rate, and
    /// with short pauses. `more` is added below `[cafe24]`.
    pub(crate) fn configure(&self, sandbox: &Sandbox, more: &str) {
        let defaults = [("calls_per_second", "0"), ("backoff", "\"5ms\"")];
        let defaults = defaults.iter().filter(|(key, _)| !more.contains(key));
        let mut lines = vec!["[cafe24]".to_owned(), format!("base_url = \"{}\"", self.url())];
        lines.extend(defaults.map(|(key, value)| format!("{key} = {value}")));
        lines.push(more.to_owned());
        sandbox.write("batchctl.toml", lines.join("\n"));
        sandbox.write(
            ".env",
            format!(
                "BATCHCTL_SECRET_KEY={SECRET_KEY}\nBATCHCTL_CAFE24_CLIENT_ID={CLIENT_ID}\n\
                 BATCHCTL_CAFE24_CLIENT_SECRET={CLIENT_SECRET}\n"
            ),
        );
    }

    /// Adds a mall whose code is its account, in Seoul and in won, with tokens.
    #[track_caller]
    pub(crate) fn add_mall(&self, sandbox: &Sandbox, mall: &str) {
        let arguments =
            ["mall", "add", mall, "--platform", "cafe24", "--currency", "KRW", "--time-zone", "Asia/Seoul"];
        sandbox.batchctl(arguments).run().succeeds();
        set_tokens(sandbox, mall, &self.tokens(mall));
    }

    /// One request on a separate connection.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.fake.ask(method, path, body)
    }
}

/// Stores an answer of OAuth for a mall.
#[track_caller]
pub(crate) fn set_tokens(sandbox: &Sandbox, mall: &str, answer: &Value) {
    sandbox.batchctl(["mall", "token", "set", mall]).stdin(answer.to_string()).run().succeeds();
}

/// An instant this many hours from now, as Cafe24 writes the times of tokens.
pub(crate) fn korean_time(hours_from_now: i64) -> String {
    let at: DateTime<Utc> = super::machine_time() + TimeDelta::hours(hours_from_now + 9);
    at.format("%Y-%m-%dT%H:%M:%S.000").to_string()
}
