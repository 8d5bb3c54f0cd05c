//! A local schema registry (`scripts/fakes/schema-registry`) for one test.

use serde_json::{Value, json};

use super::fake::Fake;

/// A running registry; it ends with the test.
pub(crate) struct SchemaRegistry {
    fake: Fake,
}

impl SchemaRegistry {
    /// Starts an empty one.
    pub(crate) fn start() -> Self {
        Self { fake: Fake::start("schema-registry", &[]) }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/shop", self.fake.port())
    }

    /// `POST /_control/shop/PATH`.
    #[track_caller]
    pub(crate) fn control(&self, path: &str, body: &Value) {
        let (status, answer) = self.fake.ask("POST", &format!("/_control/shop/{path}"), &body.to_string());
        assert_eq!(status, 200, "{path}: {answer}");
    }

    /// Has the next calls meet these faults.
    #[track_caller]
    pub(crate) fn faults(&self, rules: &Value) {
        self.control("faults", &json!({ "rules": rules }));
    }

    /// Asks it as any client does; the answer has to be a success.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.fake.ask(method, &format!("/shop/{path}"), &body);
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_str(&answer).expect("it answers in JSON")
    }

    /// Registers a schema, and returns its id.
    #[track_caller]
    pub(crate) fn register(&self, subject: &str, schema: &str) -> i64 {
        let answer = self.ask("POST", &format!("subjects/{subject}/versions"), &json!({ "schema": schema }));
        answer["id"].as_i64().expect("an id")
    }

    /// The method and path of each request so far.
    #[track_caller]
    pub(crate) fn requests(&self) -> Vec<String> {
        let (status, log) = self.fake.ask("GET", "/_control/shop/log", "");
        assert_eq!(status, 200, "{log}");
        let log: Value = serde_json::from_str(&log).expect("the log is JSON");
        let shown = |entry: &Value| {
            format!("{} {}", entry["method"].as_str().unwrap(), entry["path"].as_str().unwrap())
        };
        log["requests"].as_array().expect("a list").iter().map(shown).collect()
    }
}
