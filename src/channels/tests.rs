use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use chrono::DateTime;
use serde_json::{Value, json};

use super::message::tests::message;
use super::*;
use crate::config::LoadOptions;
use crate::failure::FailureKind;
use crate::mask::Redactor;
use crate::output::{LogFormat, Output};
use crate::severity::Severity;

const CHANNELS: &str = "
[[alerts.channel]]
name = \"finance\"
kind = \"slack\"
url_variable = \"FINANCE_URL\"
mention = \"<!here>\"
[[alerts.channel]]
name = \"shop\"
kind = \"webhook\"
url_variable = \"SHOP_URL\"
";

/// A service that gives these responses, one per request, and hands out what it was sent.
fn service(answers: &[(u16, &str)]) -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    let answers: Vec<(u16, String)> =
        answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (mut connection, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut request = vec![0; length];
            reader.read_exact(&mut request).unwrap();
            sender.send(serde_json::from_slice(&request).unwrap()).unwrap();
            let head =
                format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            connection.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (url, requests)
}

/// A command in this environment, with these settings and the URLs of both channels.
fn context(environment: &str, settings: &str, url: &str) -> Context {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("batchctl.toml"), format!("{settings}{CHANNELS}")).unwrap();
    let variables = [("FINANCE_URL", url), ("SHOP_URL", url), ("SHOP_API_KEY", "hunter22")];
    let config = Config::load(LoadOptions {
        env_flag: Some(environment.to_owned()),
        working_dir: folder.path().to_owned(),
        process_env: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        full_paths: false,
    });
    Context::new(config.unwrap(), Output::new(LogFormat::Text, 0, true, Redactor::default()))
}

fn delivered(channel: &str, parts: usize) -> Posted {
    Posted::Delivered { channel: channel.to_owned(), parts }
}

#[tokio::test]
async fn a_job_posts_by_the_channels_name_in_each_kinds_own_form() {
    let (url, requests) = service(&[(200, "ok"), (204, "")]);
    let cx = context("prod", "", &url);
    let summary = Message {
        lines: vec!["key hunter22".to_owned()],
        fields: vec![("net".to_owned(), "1,000".to_owned())],
        ..Message::new("finance.2026-11-19", DateTime::UNIX_EPOCH, Severity::High, "Sales of Thursday")
    };
    assert_eq!(cx.channels().post("finance", &summary).await.unwrap(), delivered("finance", 1));
    let slack = requests.recv().unwrap();
    assert_eq!(slack["text"], "<!here> Sales of Thursday");
    assert_eq!(slack["blocks"][1]["text"]["text"], "<!here> key ***\nnet: 1,000");
    assert_eq!(cx.channels().post("shop", &summary).await.unwrap(), delivered("shop", 1));
    assert_eq!(
        requests.recv().unwrap(),
        json!({
            "id": "finance.2026-11-19", "at": "1970-01-01T00:00:00Z", "environment": "prod", "severity": "high",
            "title": "Sales of Thursday", "text": "key ***", "fields": [{ "name": "net", "value": "1,000" }],
            "link": null,
        })
    );
}

#[tokio::test]
async fn outside_prod_the_dev_channel_is_used_instead_of_any_other() {
    let (url, requests) = service(&[(200, "")]);
    let cx = context("dev", "[alerts]\ndev_channel = \"shop\"\n", &url);
    let posted = cx.channels().post("finance", &message("sales", Vec::new())).await;
    assert_eq!(posted.unwrap(), delivered("shop", 1));
    assert_eq!(requests.recv().unwrap()["title"], "[to finance] sales");
    // Not even code that holds the channel itself reaches it.
    let finance = cx.config.channel("finance").unwrap();
    let told = cx
        .channels()
        .tell(finance, &message("sales", Vec::new()), &mut BTreeSet::new(), async |_| Ok::<_, Infallible>(()))
        .await;
    let Ok(refused) = told;
    assert!(refused.unwrap_err().to_string().contains("outside prod only the dev channel is used"));
}

#[tokio::test]
async fn without_a_dev_channel_nobody_is_told_outside_prod_and_a_wrong_name_is_found_there_too() {
    let cx = context("dev", "", "http://127.0.0.1:1/hook");
    let posted = cx.channels().post("finance", &message("sales", Vec::new())).await;
    assert_eq!(posted.unwrap(), Posted::Withheld);
    let failure = cx.channels().post("finances", &message("sales", Vec::new())).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Configuration);
    assert_eq!(failure.message, "there is no channel `finances` to post to");
}

#[tokio::test]
async fn after_a_fault_in_the_middle_the_error_says_how_far_it_got_and_only_the_rest_is_posted() {
    let (url, requests) = service(&[(200, "ok"), (500, "busy"), (200, "ok"), (200, "ok")]);
    let cx = context("prod", "", &url);
    let long = message("sales", vec!["x".repeat(8000)]);
    let mut delivered_parts = BTreeSet::new();
    let failure = cx.channels().post_rest("finance", &long, &mut delivered_parts).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TryLater);
    assert_eq!(failure.message, "failed to post to `finance`, 1 of 3 parts were delivered: HTTP 500: busy");
    let posted = cx.channels().post_rest("finance", &long, &mut delivered_parts).await.unwrap();
    assert_eq!((posted, delivered_parts.len()), (delivered("finance", 3), 3));
    let titles: Vec<Value> = requests.iter().map(|request| request["text"].clone()).collect();
    assert_eq!(titles, ["<!here> sales (1/3)", "sales (2/3)", "sales (2/3)", "sales (3/3)"]);
}

#[tokio::test]
async fn what_waiting_does_not_fix_fails_for_good() {
    for (answer, kind) in [
        ((404, "no_service"), FailureKind::Failed),
        ((200, "<html>"), FailureKind::Failed),
        ((429, "ratelimited"), FailureKind::TryLater),
        ((408, "slow"), FailureKind::TryLater),
    ] {
        let (url, _requests) = service(&[answer]);
        let cx = context("prod", "", &url);
        let failure = cx.channels().post("finance", &message("sales", Vec::new())).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
    }
}

#[test]
fn parts_with_the_same_text_are_told_apart_and_in_the_same_way_each_time() {
    let keys = || {
        let mut seen = HashMap::new();
        ["a", "b", "a", "a"].map(|key| told_apart(&mut seen, key.to_owned()))
    };
    assert_eq!(keys(), ["a", "b", "a#2", "a#3"]);
    assert_eq!(keys(), keys());
}
