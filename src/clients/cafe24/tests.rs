use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::config::{Config, LoadOptions};
use crate::failure::FailureKind;
use crate::mask::Redactor;
use crate::output::{LogFormat, Output};

/// A server that gives these responses, one per connection, and keeps the requests' heads.
fn server(answers: &[&str]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/{{account}}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (kept, answers) =
        (Arc::clone(&requests), answers.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
    std::thread::spawn(move || {
        for answer in answers {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = [0; 8192];
            let length = connection.read(&mut request).unwrap();
            kept.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
            let (head, body) = answer.split_once('\n').unwrap();
            let text = format!(
                "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                head.replace('|', "\r\n"),
                body.len()
            );
            connection.write_all(text.as_bytes()).unwrap();
        }
    });
    (address, requests)
}

/// Token `AT1`, `AT2` once that was rejected, and then `AT3`.
#[derive(Default)]
struct Account {
    blocks: Mutex<Vec<u64>>,
    rejections: Mutex<Vec<String>>,
}

impl Blocks for Account {
    fn blocked_for(&self) -> BoxFuture<'_, Result<Option<Duration>, Failure>> {
        Box::pin(async { Ok(None) })
    }

    fn block<'a>(&'a self, wait: Duration, _reason: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        self.blocks.lock().unwrap().push(wait.as_secs());
        Box::pin(async { Ok(()) })
    }

    fn slot(&self, _interval: Duration, _burst: u32) -> BoxFuture<'_, Result<Duration, Failure>> {
        Box::pin(async { Ok(Duration::ZERO) })
    }

    fn defer(&self, _wait: Duration) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
}

impl AccountState for Account {
    fn access_token(&self) -> BoxFuture<'_, Result<Secret, Failure>> {
        Box::pin(async { Ok(Secret::new("AT1-canary")) })
    }

    fn after_rejection<'a>(&'a self, rejected: &'a Secret) -> BoxFuture<'a, Result<Secret, Failure>> {
        self.rejections.lock().unwrap().push(rejected.expose().to_owned());
        let next = if rejected.expose() == "AT1-canary" { "AT2-canary" } else { "AT3-canary" };
        Box::pin(async move { Ok(Secret::new(next)) })
    }
}

fn cafe24(base_url: &str, account: &Arc<Account>) -> Cafe24 {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("[cafe24]\nbase_url = '{base_url}'\ncalls_per_second = 0\nbackoff = '1ms'\n");
    std::fs::write(folder.path().join("batchctl.toml"), file).unwrap();
    let options = LoadOptions {
        env_flag: None,
        working_dir: folder.path().to_owned(),
        process_env: std::collections::BTreeMap::new(),
        full_paths: false,
    };
    let config = Config::load(options).unwrap();
    let output = Output::new(LogFormat::Text, 0, true, Redactor::default());
    Cafe24::new(&Context::new(config, output), "demo", Arc::clone(account) as Arc<dyn AccountState>).unwrap()
}

#[tokio::test]
async fn a_page_is_requested_as_the_documentation_says() {
    let date =
        (Api::machine_time() - chrono::TimeDelta::minutes(1)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let (url, requests) =
        server(&[&format!("200 OK|Date: {date}\n{{\"orders\":[{{\"a\":1}},7],\"links\":[]}}")]);
    let cafe24 = cafe24(&url, &Arc::default());
    let query = [("start_date", "2026-11-01 00:00:00".to_owned()), ("q", "a+b&한".to_owned())];
    let answer = cafe24.list("orders", "orders", &query).await.unwrap();
    assert_eq!(answer.records.iter().map(|record| record.get()).collect::<Vec<_>>(), ["{\"a\":1}", "7"]);
    assert_eq!(answer.as_of.format("%a, %d %b %Y %H:%M:%S GMT").to_string(), date);
    let request = requests.lock().unwrap()[0].to_lowercase();
    let line =
        "get /demo/api/v2/admin/orders?start_date=2026-11-01%2000%3a00%3a00&q=a%2bb%26%ed%95%9c http/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
    for header in [
        "authorization: bearer at1-canary",
        "content-type: application/json",
        "x-cafe24-api-version: 2026-03-01",
        "accept-encoding: gzip",
        "user-agent: batchctl/",
    ] {
        assert!(request.contains(&format!("\r\n{header}")), "{header} in {request}");
    }
}

#[tokio::test]
async fn a_rejected_token_is_replaced_and_so_is_one_that_another_process_replaced() {
    let rejection =
        "401 No\n{\"error\":{\"code\":401,\"message\":\"access_token time expired. (invalid_token)\"}}";
    let account = Arc::default();
    let (url, requests) = server(&[rejection, "200 OK\n{\"count\":\"12\"}"]);
    assert_eq!(cafe24(&url, &account).count("orders", &[]).await.unwrap(), 12);
    assert!(requests.lock().unwrap()[1].contains("AT2-canary"));
    let (url, requests) = server(&[rejection, rejection, "200 OK\n{\"count\":\"12\"}"]);
    assert_eq!(cafe24(&url, &account).count("orders", &[]).await.unwrap(), 12);
    assert!(requests.lock().unwrap()[2].contains("AT3-canary"));
    let account = Arc::default();
    let (url, requests) = server(&[rejection, rejection, rejection]);
    let error = cafe24(&url, &account).count("orders", &[]).await.unwrap_err();
    assert_eq!((error.status(), requests.lock().unwrap().len()), (Some(401), 3));
    assert_eq!(*account.rejections.lock().unwrap(), ["AT1-canary", "AT2-canary"]);
    let failure = Failure::from(error);
    assert_eq!(failure.kind, FailureKind::Failed);
    assert!(failure.hint.unwrap().contains("batchctl mall token authorize demo"));
}

#[tokio::test]
async fn a_missing_scope_is_reported_with_a_hint() {
    let (url, _) = server(&["403 No\n{\"error\":{\"code\":\"403\",\"message\":\"Insufficient scope\"}}"]);
    let account = Arc::default();
    let failure = Failure::from(cafe24(&url, &account).list("orders", "orders", &[]).await.unwrap_err());
    assert!(failure.message.contains("HTTP 403: Insufficient scope") && failure.hint.is_some(), "{failure}");
    assert!(account.rejections.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_record_that_is_not_there_is_none() {
    let (url, _) = server(&[
        "404 None\n{\"error\":{\"code\":404,\"message\":\"none\"}}",
        "200 OK\n{\"customer\":{\"a\":1}}",
    ]);
    let cafe24 = cafe24(&url, &Arc::default());
    assert!(cafe24.one("customersprivacy/kim", "customer", &[]).await.unwrap().is_none());
    let found = cafe24.one("customersprivacy/kim", "customer", &[]).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.value.get(), "{\"a\":1}");
    assert!((Api::machine_time() - found.as_of).num_seconds() < 60);
}

#[tokio::test]
async fn a_block_that_is_too_long_keeps_the_next_call_from_being_made() {
    let (url, requests) = server(&["200 OK|X-Cafe24-Time-Remain: 900\n{\"orders\":[]}"]);
    let account = Arc::default();
    let cafe24 = cafe24(&url, &account);
    assert!(cafe24.list("orders", "orders", &[]).await.unwrap().records.is_empty());
    let error = cafe24.clone().list("refunds", "refunds", &[]).await.unwrap_err();
    assert_eq!((error.failure_kind(), requests.lock().unwrap().len()), (FailureKind::TryLater, 1));
    assert_eq!(*account.blocks.lock().unwrap(), [901]);
}

#[test]
fn an_account_that_would_change_the_host_is_refused() {
    for wrong in ["evil.jp/", "a@evil", "", "한"] {
        let config = Config::load(LoadOptions {
            env_flag: None,
            working_dir: tempfile::tempdir().unwrap().path().to_owned(),
            process_env: std::collections::BTreeMap::new(),
            full_paths: false,
        });
        let output = Output::new(LogFormat::Text, 0, true, Redactor::default());
        let cx = Context::new(config.unwrap(), output);
        let refused = Cafe24::new(&cx, wrong, Arc::new(Account::default()));
        assert_eq!(refused.err().unwrap().kind, FailureKind::Configuration, "{wrong}");
    }
}
