//! A local Cafe24 (`scripts/fakes/cafe24`) for one test, and its malls in a sandbox.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Sandbox, eventually};

/// The app that the server knows.
pub(crate) const CLIENT_ID: &str = "cid-of-the-app";
pub(crate) const CLIENT_SECRET: &str = "canary-client-secret";
/// The key that encrypts the tokens of [`Cafe24::configure`].
pub(crate) const SECRET_KEY: &str = "canary-secret-key-of-32-characters-and-more";

/// A running server; it ends with the test.
pub(crate) struct Cafe24 {
    server: Child,
    port: u16,
    _folder: TempDir,
}

impl Cafe24 {
    /// Starts one without throttles: `settings` of the control API turn them on.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--throttle", "none"])
    }

    /// Starts one with these arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fakes/cafe24");
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port_file = folder.path().join("port");
        let server = Command::new(program)
            .args(["--port", "0", "--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET])
            .arg("--port-file")
            .arg(&port_file)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut cafe24 = Self { server, port: 0, _folder: folder };
        let port = || std::fs::read_to_string(&port_file).ok()?.trim().parse().ok();
        eventually(|| port().is_some(), "the local Cafe24 listens");
        cafe24.port = port().expect("it listens");
        cafe24
    }

    /// The value of `cafe24.base_url` for it.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{{account}}", self.port)
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
        let mut connection =
            TcpStream::connect(("127.0.0.1", self.port)).expect("the server takes a connection");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).expect("the server reads");
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).expect("the server answers");
        let answer = String::from_utf8(answer).expect("the answer is text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, format!("{}{body}", location(head)))
    }
}

/// Stores an answer of OAuth for a mall.
#[track_caller]
pub(crate) fn set_tokens(sandbox: &Sandbox, mall: &str, answer: &Value) {
    sandbox.batchctl(["mall", "token", "set", mall]).stdin(answer.to_string()).run().succeeds();
}

/// The target of a redirect, instead of its empty body.
fn location(head: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix("Location: "));
    line.unwrap_or_default().to_owned()
}

impl Drop for Cafe24 {
    fn drop(&mut self) {
        // Both fail only if it has just ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// An instant this many hours from now, as Cafe24 writes the times of tokens.
pub(crate) fn korean_time(hours_from_now: i64) -> String {
    let at: DateTime<Utc> = super::machine_time() + TimeDelta::hours(hours_from_now + 9);
    at.format("%Y-%m-%dT%H:%M:%S.000").to_string()
}
