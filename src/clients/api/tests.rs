use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::json;

use super::*;
use crate::config::{Config, LoadOptions};
use crate::failure::FailureKind;
use crate::mask::Secret;
use crate::output::LogFormat;

fn terms() -> Terms {
    Terms {
        name: "Test",
        tries: 3,
        backoff: Backoff::doubling(Duration::from_millis(1), MAX_BACKOFF),
        request_timeout: Duration::from_secs(5),
        longest_wait: Duration::from_mins(10),
        longest_answer: MAX_PAGE,
        calls_per_second: 0.0,
        burst: 1,
        rule: retry_after,
    }
}

/// The context of a command in an empty folder with these variables.
fn context(variables: &[(&str, &str)]) -> Context {
    let options = LoadOptions {
        env_flag: None,
        working_dir: tempfile::tempdir().unwrap().path().to_owned(),
        process_env: variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        full_paths: false,
    };
    let output = Output::new(LogFormat::Text, 0, true, Redactor::default());
    Context::new(Config::load(options).unwrap(), output)
}

fn api_at(base: &str, terms: Terms, blocks: Option<Arc<dyn Blocks>>) -> Result<Api, Failure> {
    let api = Api::new(&context(&[]), Address::new("test.base_url", base)?, terms)?;
    Ok(match blocks {
        Some(blocks) => api.with_blocks(blocks),
        None => api,
    })
}

/// A server that gives these responses, one per connection, and counts the requests.
fn server(answers: Vec<Vec<u8>>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for answer in answers {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            connection.write_all(&answer).unwrap();
        }
    });
    (address, asked)
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut answer =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n")
            .into_bytes();
    answer.extend(body);
    answer
}

fn number(body: &[u8]) -> serde_json::Result<Decoded<u64>> {
    Ok(Decoded { value: serde_json::from_slice(body)?, rows: 1 })
}

/// The result of a call to a server with these responses, and the number of requests it received.
async fn asked(answers: Vec<Vec<u8>>) -> (Result<u64, ApiError>, usize) {
    let (address, asked) = server(answers);
    let api = api_at(&address, terms(), None).unwrap();
    let result = api.send(Call::get("things", &[("secret", "value".to_owned())]), number).await;
    (result.map(|answered| answered.value), asked.load(Ordering::SeqCst))
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let good = answer("200 OK", "", b"7");
    let cut = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n[1, 2".to_vec();
    for bad in [
        answer("503 Busy", "", b"{}"),
        answer("500 No", "", b""),
        answer("408 Slow", "", b""),
        answer("429 Many", "Retry-After: 0\r\n", b""),
        answer("200 OK", "", b"<html>maintenance</html>"),
        answer("200 OK", "", b""),
        answer("200 OK", "Content-Encoding: gzip\r\n", b"no gzip"),
        cut,
        Vec::new(),
    ] {
        let (result, asked) = asked(vec![bad.clone(), bad.clone(), good.clone()]).await;
        let what = String::from_utf8_lossy(&bad).into_owned();
        assert_eq!((result.map_err(|error| error.to_string()), asked), (Ok(7), 3), "{what}");
    }
}

#[tokio::test]
async fn what_cannot_pass_is_asked_once() {
    for (bad, message) in [
        (answer("400 Bad", "", br#"{"error":{"code":400,"message":"Bad date"}}"#), "HTTP 400: Bad date"),
        (answer("422 Bad", "", br#"{"error":{"code":"422","message":"Bad"}}"#), "HTTP 422: Bad"),
        (answer("404 None", "", b"<html>\n none"), "HTTP 404: <html> none"),
        (answer("302 Found", "Location: https://elsewhere.jp/\r\n", b""), "HTTP 302"),
        (answer("200 OK", "", br#"{"a":1}"#), "the answer is not of the documented shape"),
    ] {
        let (result, asked) = asked(vec![bad]).await;
        let error = result.unwrap_err();
        assert_eq!((error.failure_kind(), asked), (FailureKind::Failed, 1), "{error}");
        let expected = format!("failed to ask Test for GET /things: {message}");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(!error.to_string().contains("value") && !error.to_string().contains("tries"), "{error}");
    }
}

#[tokio::test]
async fn after_the_last_attempt_it_is_later_and_states_the_number_of_tries() {
    let (result, asked) = asked(vec![answer("503 Busy", "", b"busy"); 3]).await;
    let error = result.unwrap_err();
    assert_eq!((error.failure_kind(), error.status(), asked), (FailureKind::TryLater, Some(503), 3));
    let said = error.to_string();
    assert!(
        said.starts_with("failed to ask Test for GET /things: HTTP 503: busy, 3 tries from 20"),
        "{said}"
    );
    assert!(said.ends_with(" JST"), "{said}");
    let error = anyhow::Error::new(error);
    assert_eq!(crate::runner::ExitCode::of(&error).number(), 75);
    assert_eq!(crate::failure::one_line(&error.context("failed to sync")).matches("HTTP 503").count(), 1);
}

#[tokio::test]
async fn an_unreachable_server_means_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let api = api_at(&address, terms(), None).unwrap();
    let error = api.send(Call::get("things", &[]), number).await.unwrap_err();
    assert_eq!((error.failure_kind(), error.status()), (FailureKind::TryLater, None));
    assert!(error.to_string().contains("failed to connect"), "{error}");
}

#[tokio::test]
async fn a_form_is_sent_once() {
    let (address, asked) = server(vec![answer("503 Busy", "", b""), answer("200 OK", "", b"7")]);
    let api = api_at(&address, terms(), None).unwrap();
    let result = api.send(Call::post("things", &[("a", "b")]), number).await;
    assert_eq!((result.unwrap_err().status(), asked.load(Ordering::SeqCst)), (Some(503), 1));
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_it() {
    let endless = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX_PAGE + 1);
    let (result, _) = asked(vec![endless.into_bytes()]).await;
    assert!(result.unwrap_err().to_string().contains("the answer is longer than 32 MiB"));
}

#[tokio::test]
async fn a_small_answer_that_unpacks_to_a_large_one_is_not_read_either() {
    // 33 MiB of blanks, compressed.
    let mut packed = gzip(&vec![b' '; 33 * 1024 * 1024]);
    let (result, _) = asked(vec![answer("200 OK", "Content-Encoding: gzip\r\n", &packed)]).await;
    assert!(result.unwrap_err().to_string().contains("the answer is longer than 32 MiB"));
    packed = gzip(b"42");
    let (result, _) = asked(vec![answer("200 OK", "Content-Encoding: gzip\r\n", &packed)]).await;
    assert_eq!(result.unwrap(), 42);
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A stored block, and the blocks and pauses that were recorded.
struct Kept(Mutex<Vec<u64>>, Option<Duration>);

impl Blocks for Kept {
    fn blocked_for(&self) -> BoxFuture<'_, Result<Option<Duration>, Failure>> {
        Box::pin(async { Ok(self.1) })
    }

    fn block<'a>(&'a self, wait: Duration, _reason: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        self.0.lock().unwrap().push(wait.as_secs());
        Box::pin(async { Ok(()) })
    }

    fn slot(&self, _interval: Duration, _burst: u32) -> BoxFuture<'_, Result<Duration, Failure>> {
        Box::pin(async { Ok(Duration::ZERO) })
    }

    fn defer(&self, wait: Duration) -> BoxFuture<'_, Result<(), Failure>> {
        self.0.lock().unwrap().push(wait.as_secs());
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn a_wait_that_is_too_long_ends_the_call_and_is_kept_for_others() {
    #[expect(clippy::unnecessary_wraps, reason = "it is a rule, and this one always asks for a wait")]
    fn block(_: StatusCode, _: &HeaderMap, _: DateTime<Utc>) -> Option<Pause> {
        Some(Pause { wait: Duration::from_hours(1), reason: "usage".to_owned(), is_block: true })
    }
    let (address, asked) = server(vec![answer("200 OK", "", b"7")]);
    let kept = Arc::new(Kept(Mutex::default(), None));
    let api =
        api_at(&address, Terms { name: "Blocked", rule: block, ..terms() }, Some(kept.clone())).unwrap();
    // The response itself is good.
    assert_eq!(api.send(Call::get("things", &[]), number).await.unwrap().value, 7);
    let error = api.send(Call::get("things", &[]), number).await.unwrap_err();
    assert_eq!(error.failure_kind(), FailureKind::TryLater);
    assert!(error.to_string().contains("Blocked asks for no calls for 59m59s: usage"), "{error}");
    // Another value with the same address, as the next job of the same mall has, reports the same.
    let other = api_at(&address, Terms { name: "Blocked", ..terms() }, None).unwrap();
    assert!(other.send(Call::get("things", &[]), number).await.is_err());
    assert_eq!(*kept.0.lock().unwrap(), [3600]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_short_pause_is_kept_for_others_and_a_long_one_is_not() {
    fn pause(wait: Duration) -> Pause {
        Pause { wait, reason: "too fast".to_owned(), is_block: false }
    }
    let short: Rule = |_, _, _| Some(pause(Duration::from_millis(20)));
    let long: Rule = |_, _, _| Some(pause(MAX_SHARED_PAUSE + Duration::from_secs(1)));
    for (rule, calls_per_second, recorded) in [(short, 1.0, &[2][..]), (long, 1.0, &[]), (short, 0.0, &[])] {
        let (address, _) = server(vec![answer("200 OK", "", b"7")]);
        let kept = Arc::new(Kept(Mutex::default(), None));
        let paced = Terms { name: "Paced", rule, calls_per_second, burst: 3, ..terms() };
        let api = api_at(&address, paced, Some(kept.clone())).unwrap();
        api.send(Call::get("things", &[]), number).await.unwrap();
        // The pause itself, and what a burst may take at once.
        assert_eq!(*kept.0.lock().unwrap(), recorded);
    }
}

#[tokio::test]
async fn a_block_of_another_process_is_known_before_the_first_call() {
    let (address, asked) = server(vec![answer("200 OK", "", b"7")]);
    let kept = Arc::new(Kept(Mutex::default(), Some(Duration::from_hours(1))));
    let api = api_at(&address, Terms { name: "Kept", ..terms() }, Some(kept)).unwrap();
    let error = api.send(Call::get("things", &[]), number).await.unwrap_err();
    assert_eq!((error.failure_kind(), asked.load(Ordering::SeqCst)), (FailureKind::TryLater, 0));
}

#[tokio::test]
async fn an_error_does_not_repeat_the_secret_that_the_server_quotes() {
    let (address, _) =
        server(vec![answer("401 No", "", br#"{"error":{"code":401,"message":"bad hunter2-token"}}"#)]);
    let api = api_at(&address, terms(), None).unwrap();
    let secret = Secret::new("hunter2-token");
    let error = api.send(Call::get("things", &[]).secret(&secret), number).await.unwrap_err();
    assert_eq!(error.to_string(), "failed to ask Test for GET /things: HTTP 401: bad ***");
    assert_eq!(error.code(), Some("401"));
}

#[tokio::test]
async fn json_is_not_quoted_when_it_breaks_off_or_is_of_another_shape() {
    let broken = br#"{"customersprivacy":[{"member_id":"canary","cellphone":"010"#;
    for (status, body, says) in [
        ("200 OK", &broken[..], "JSON that breaks off or is broken, 59 bytes"),
        ("503 Busy", broken, "HTTP 503: JSON that breaks off or is broken, 59 bytes"),
        ("400 Bad", broken, "HTTP 400: JSON that breaks off or is broken, 59 bytes"),
        ("200 OK", b"\xef\xbb\xbf \n[{\"a\":\"canary\"}", "JSON that breaks off or is broken"),
        ("200 OK", br#""canary"#, "JSON that breaks off or is broken"),
        ("200 OK", br#""canary, expected me""#, "the answer is not of the documented shape: expected u64"),
    ] {
        let (address, _) = server(vec![answer(status, "", body); 3]);
        let api = api_at(&address, terms(), None).unwrap();
        let decode = |body: &[u8]| {
            let value: serde_json::Value = serde_json::from_slice(body)?;
            Ok(Decoded { value: serde_json::from_value::<u64>(value)?, rows: 1 })
        };
        let error = api.send(Call::get("things", &[]), decode).await.unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn a_hurried_call_does_not_pause_long_before_another_attempt() {
    let (address, _) =
        server(vec![answer("503 Busy", "", b""), answer("503 Busy", "", b""), answer("200 OK", "", b"7")]);
    let hour = Duration::from_hours(1);
    let patient = Terms { backoff: Backoff::doubling(hour, hour), ..terms() };
    let api = api_at(&address, patient, None).unwrap();
    let api = api.hurried(Duration::from_secs(5), Duration::from_millis(5), MAX_REPLY);
    let answered =
        tokio::time::timeout(Duration::from_secs(4), api.send(Call::get("things", &[]), number)).await;
    assert_eq!(answered.unwrap().unwrap().value, 7);
}

#[tokio::test]
async fn an_absurd_retry_after_means_later_and_does_not_panic() {
    let (address, _) = server(vec![answer("503 Busy", "Retry-After: 18446744073709551615\r\n", b"")]);
    // A unique name: another test may get the same port, and the block with it.
    let api = api_at(&address, Terms { name: "Wild", ..terms() }, None).unwrap();
    let error = api.send(Call::get("things", &[]), number).await.unwrap_err();
    assert_eq!(error.failure_kind(), FailureKind::TryLater);
    assert!(error.to_string().contains("asks for no calls for"), "{error}");
}

#[tokio::test]
async fn an_error_says_how_far_the_call_got() {
    let cut = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n[1, 2".to_vec();
    for (given, kind, reason) in [
        (Vec::new(), ApiErrorKind::Unheard, "the connection broke before the answer: "),
        (cut, ApiErrorKind::Unheard, "the answer broke off"),
        (answer("429 Many", "", b"slow"), ApiErrorKind::Throttled, "HTTP 429: slow"),
        (answer("422 Bad", "", b"bad"), ApiErrorKind::Rejected, "HTTP 422: bad"),
        (answer("503 Busy", "", b"busy"), ApiErrorKind::Rejected, "HTTP 503: busy"),
        (answer("200 OK", "", b"<html>"), ApiErrorKind::Unreadable, "the answer is not JSON but begins"),
        (answer("200 OK", "", b"{}"), ApiErrorKind::Unreadable, "the answer is not of the documented shape"),
    ] {
        let (result, _) = asked(vec![given; 3]).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.reason().starts_with(reason), "{error}");
        assert!(error.to_string().contains(error.reason()), "{error}");
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let api = api_at(&format!("http://{address}"), terms(), None).unwrap();
    let error = api.send(Call::get("things", &[]), number).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ApiErrorKind::Unreachable, None), "{error}");
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_is_not_followed() {
    let api = api_at("http://127.0.0.1:1", terms(), None).unwrap();
    let error = api.send(Call::get("https://elsewhere.jp/", &[]), number).await.unwrap_err();
    assert_eq!(error.kind(), ApiErrorKind::Ours);
    assert_eq!(error.to_string(), "failed to follow a link of Test: it leads to another scheme");
}

/// A webhook whose server gives this response.
fn webhook(given: Vec<u8>) -> (Api, Arc<AtomicUsize>) {
    let (address, asked) = server(vec![given]);
    let terms = Terms { rule: retry_after, ..Terms::once("Hook", Duration::from_secs(5)) };
    let address = Address::webhook(&format!("{address}/services/canary?sig=canary")).unwrap();
    (Api::new(&context(&[]), address, terms).unwrap(), asked)
}

fn is_ok(answer: &Answer) -> Result<(), String> {
    if answer.text() == "ok" { Ok(()) } else { Err("the answer was not `ok`".to_owned()) }
}

#[tokio::test]
async fn of_a_chats_answer_a_few_kilobytes_are_read_whatever_it_unpacks_to() {
    // 64 MiB of blanks in 64 KiB.
    let packed = gzip(&vec![b' '; 64 * 1024 * 1024]);
    for status in ["200 OK", "500 No"] {
        let (api, asked) = webhook(answer(status, "Content-Encoding: gzip\r\n", &packed));
        let heard = api.exchange(Call::post_json("", &json!({}))).await.unwrap();
        assert_eq!((heard.body.len(), heard.is_whole()), (MAX_REPLY, false));
        assert!(heard.body.capacity() <= 2 * MAX_REPLY, "{}", heard.body.capacity());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let (api, _) = webhook(answer(status, "Content-Encoding: gzip\r\n", &packed));
        assert!(api.tell(Call::post_json("", &json!({})), is_ok).await.is_err());
    }
}

#[tokio::test]
async fn a_message_is_posted_once_and_the_caller_says_what_a_success_is() {
    for (given, kind, reason, wait) in [
        (
            answer("503 Busy", "Retry-After: 7\r\n", b"busy"),
            ApiErrorKind::Rejected,
            "HTTP 503: busy",
            Some(7),
        ),
        (
            answer("429 Many", "Retry-After: 90000\r\n", b""),
            ApiErrorKind::Throttled,
            "HTTP 429",
            Some(86_400),
        ),
        (answer("404 None", "", b"no_service"), ApiErrorKind::Rejected, "HTTP 404: no_service", None),
        (answer("200 OK", "", b"<html>"), ApiErrorKind::Unreadable, "the answer was not `ok`", None),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\no".to_vec(),
            ApiErrorKind::Unheard,
            "the answer broke off",
            None,
        ),
    ] {
        let (hook, asked) = webhook(given);
        let error = hook.tell(Call::post_json("", &json!({ "text": "x" })), is_ok).await.unwrap_err();
        let retry_after = error.retry_after().map(|wait| wait.as_secs());
        assert_eq!((error.kind(), error.reason(), retry_after), (kind, reason, wait));
        assert_eq!(error.to_string(), format!("failed to ask Hook: {reason}"));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
    let (hook, _) = webhook(answer("200 OK", "", b"ok"));
    hook.tell(Call::post_json("", &json!({})), is_ok).await.unwrap();
}

#[tokio::test]
async fn the_url_of_a_webhook_is_in_no_error() {
    let echo = answer("404 None", "", b"no such hook: /services/canary?sig=canary");
    for given in [echo, Vec::new(), b"nonsense".to_vec()] {
        let (hook, _) = webhook(given);
        let error = hook.tell(Call::post_json("", &json!({})), is_ok).await.unwrap_err();
        assert!(!format!("{error} {error:?} {hook:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn any_response_counts_for_a_caller_that_judges_it_itself() {
    for (given, quoted, is_whole) in [
        (answer("202 Accepted", "", b""), "HTTP 202", true),
        (answer("400 Bad", "", br#"{"message":"no"}"#), "HTTP 400: no", true),
        (answer("500 No", "", &b"x".repeat(2 * MAX_REPLY)), "HTTP 500: xxx", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec(), "HTTP 200: half", false),
    ] {
        let (address, _) = server(vec![given]);
        let address = Address::new("test", &address).unwrap();
        let api = Api::new(&context(&[]), address, Terms::once("Mails", Duration::from_secs(5))).unwrap();
        let heard = api.exchange(Call::post("x", &[])).await.unwrap();
        assert!(heard.quoted().starts_with(quoted), "{}", heard.quoted());
        assert_eq!(heard.is_whole(), is_whole, "{quoted}");
        assert!(heard.body.len() <= MAX_REPLY);
    }
}

#[tokio::test]
async fn nothing_of_a_secret_response_is_quoted() {
    for body in ["access_token=canary&expires_in=3600", "{\"access_token\":\"canary"] {
        let (address, _) = server(vec![answer("200 OK", "", body.as_bytes())]);
        let api = api_at(&address, terms(), None).unwrap();
        let error = api.send(Call::post("token", &[]).for_secret(), number).await.unwrap_err();
        assert_eq!(error.kind(), ApiErrorKind::Unreadable);
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn a_secret_of_the_settings_is_in_no_error() {
    let (address, _) = server(vec![answer("400 Bad", "", b"no such key: canary-key")]);
    let cx = context(&[("SHOP_API_KEY", "canary-key")]);
    let api = Api::new(&cx, Address::new("test", &address).unwrap(), terms()).unwrap();
    let error = api.send(Call::get("x", &[]), number).await.unwrap_err();
    assert_eq!(error.reason(), "HTTP 400: no such key: ***");
}
