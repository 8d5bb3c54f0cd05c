use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::output::LogFormat;

fn terms() -> Terms {
    Terms {
        name: "Test",
        tries: 3,
        backoff: Duration::from_millis(1),
        longest_backoff: LONGEST_BACKOFF,
        request_timeout: Duration::from_secs(5),
        longest_wait: Duration::from_mins(10),
        calls_per_second: 0.0,
        burst: 1,
        rule: retry_after,
    }
}

fn api_at(base: &str, terms: Terms, blocks: Option<Arc<dyn Blocks>>) -> Result<Api, Failure> {
    let output = Output::new(LogFormat::Text, 0, true, Redactor::default());
    Api::new("test.base_url", base, terms, blocks, Redactor::default(), &output)
}

/// A server that gives these answers, one a connection, and counts the requests.
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

/// What comes of a call to a server with these answers, and how often it was asked.
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
        assert_eq!((error.kind(), asked), (FailureKind::Failed, 1), "{error}");
        let expected = format!("failed to ask Test for GET /things: {message}");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(!error.to_string().contains("value") && !error.to_string().contains("tries"), "{error}");
    }
}

#[tokio::test]
async fn after_the_last_try_it_is_later_and_says_how_often() {
    let (result, asked) = asked(vec![answer("503 Busy", "", b"busy"); 3]).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.status(), asked), (FailureKind::TryLater, Some(503), 3));
    assert_eq!(error.to_string(), "failed to ask Test for GET /things: HTTP 503: busy, after 3 tries");
    let error = anyhow::Error::new(error);
    assert_eq!(crate::runner::ExitCode::of(&error).number(), 75);
    assert_eq!(crate::failure::one_line(&error.context("failed to sync")).matches("HTTP 503").count(), 1);
}

#[tokio::test]
async fn nobody_there_is_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let api = api_at(&address, terms(), None).unwrap();
    let error = api.send(Call::get("things", &[]), number).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (FailureKind::TryLater, None));
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
    let endless = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MOST_BODY_BYTES + 1);
    let (result, _) = asked(vec![endless.into_bytes()]).await;
    assert!(result.unwrap_err().to_string().contains("the answer is longer than 32 MiB"));
}

#[tokio::test]
async fn a_small_answer_that_unpacks_to_a_large_one_is_not_read_either() {
    // 33 MiB of blanks, packed.
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

#[test]
fn only_own_links_are_followed() {
    let api = api_at("https://shop.example.jp/base", terms(), None).unwrap();
    let own = |href: &str| api.own_link(href).map(|url| url.to_string()).map_err(|error| error.to_string());
    assert_eq!(own("orders?offset=10").unwrap(), "https://shop.example.jp/base/orders?offset=10");
    assert_eq!(own("https://SHOP.example.jp:443/base/x").unwrap(), "https://shop.example.jp/base/x");
    for (href, what) in [
        ("https://shop.example.jp.evil.jp/base/x", "another host"),
        ("https://evil.jp/base/x", "another host"),
        ("//evil.jp/base/x", "another host"),
        ("https://shop.example.jp:8443/base/x", "another host"),
        ("https://shop.example.jp@evil.jp/base/x", "another host"),
        ("https://evil.jp\\@shop.example.jp/base/x", "another host"),
        ("https://me:pw@shop.example.jp/base/x", "a login"),
        ("https://me@shop.example.jp/base/x", "a login"),
        ("http://shop.example.jp/base/x", "another scheme"),
        ("file:///etc/passwd", "another scheme"),
        ("javascript:alert(1)", "another scheme"),
        ("/other/x", "another part"),
        ("../other/x", "another part"),
        ("/base/../other", "another part"),
        ("https://[::1", "no address"),
    ] {
        let error = own(href).unwrap_err();
        assert!(error.contains(what) && !error.contains("evil"), "{href}: {error}");
    }
}

#[test]
fn an_address_is_encrypted_unless_it_is_on_this_machine() {
    for local in ["http://127.0.0.1:8024/a", "http://localhost:1", "http://[::1]:1/"] {
        assert!(api_at(local, terms(), None).is_ok(), "{local}");
    }
    for wrong in ["http://shop.example.jp", "ftp://localhost", "shop", "https://me:hunter22@shop.example.jp"]
    {
        let failure = api_at(wrong, terms(), None).err().unwrap();
        assert_eq!(failure.kind, FailureKind::Configuration, "{wrong}");
        assert!(failure.message.starts_with("`test.base_url`: ") && !failure.message.contains("hunter"));
    }
}

#[test]
fn the_backoff_doubles_up_to_its_end_and_jitters_over_all_of_it() {
    let most: Vec<u64> = (1..9)
        .map(|tries| {
            u64::try_from(backoff(Duration::from_secs(1), LONGEST_BACKOFF, tries, 1.0).as_millis()).unwrap()
        })
        .collect();
    assert_eq!(most, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    assert_eq!(backoff(Duration::from_secs(1), LONGEST_BACKOFF, 3, 0.0), Duration::ZERO);
    assert_eq!(backoff(Duration::from_secs(1), LONGEST_BACKOFF, 3, 0.25), Duration::from_secs(1));
    assert_eq!(backoff(Duration::from_secs(1), LONGEST_BACKOFF, 1000, 1.0), LONGEST_BACKOFF);
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = http_date("Fri, 20 Nov 2026 01:00:00 GMT").unwrap();
    let wait = |status: u16, value: &str| {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        retry_after(StatusCode::from_u16(status).unwrap(), &headers, now).map(|pause| pause.wait.as_secs())
    };
    assert_eq!(wait(429, " 120"), Some(120));
    assert_eq!(wait(503, "Fri, 20 Nov 2026 01:02:00 GMT"), Some(120));
    assert_eq!(wait(503, "Fri, 20 Nov 2026 00:00:00 GMT"), Some(0));
    assert_eq!(wait(503, "soon"), None);
    assert_eq!(wait(200, "120"), None);
}

/// Blocks that are kept, and those that were noted.
struct Kept(Mutex<Vec<u64>>, Option<Duration>);

impl Blocks for Kept {
    fn blocked_for(&self) -> BoxFuture<'_, Result<Option<Duration>, Failure>> {
        Box::pin(async { Ok(self.1) })
    }

    fn block<'a>(&'a self, wait: Duration, _reason: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
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
    // The answer itself is good.
    assert_eq!(api.send(Call::get("things", &[]), number).await.unwrap().value, 7);
    let error = api.send(Call::get("things", &[]), number).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::TryLater);
    assert!(error.to_string().contains("Blocked wants no call for 59m59s: usage"), "{error}");
    // So says another value of the same address, as the next job of the same mall has.
    let other = api_at(&address, Terms { name: "Blocked", ..terms() }, None).unwrap();
    assert!(other.send(Call::get("things", &[]), number).await.is_err());
    assert_eq!(*kept.0.lock().unwrap(), [3600]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_block_of_another_process_is_known_before_the_first_call() {
    let (address, asked) = server(vec![answer("200 OK", "", b"7")]);
    let kept = Arc::new(Kept(Mutex::default(), Some(Duration::from_hours(1))));
    let api = api_at(&address, Terms { name: "Kept", ..terms() }, Some(kept)).unwrap();
    let error = api.send(Call::get("things", &[]), number).await.unwrap_err();
    assert_eq!((error.kind(), asked.load(Ordering::SeqCst)), (FailureKind::TryLater, 0));
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

#[test]
fn the_time_of_an_answer_is_never_later_than_its_question_nor_far_from_it() {
    let asked_at = http_date("Fri, 20 Nov 2026 01:00:00 GMT").unwrap();
    let of = |date: &str| as_of(http_date(date), asked_at).to_rfc2822();
    for (date, expected) in [
        ("Fri, 20 Nov 2026 00:59:30 GMT", "Fri, 20 Nov 2026 00:59:30 +0000"),
        ("Fri, 20 Nov 2026 01:00:01 GMT", "Fri, 20 Nov 2026 01:00:00 +0000"),
        ("Fri, 20 Nov 2026 02:00:00 GMT", "Fri, 20 Nov 2026 01:00:00 +0000"),
        ("Thu, 20 Nov 2025 01:00:00 GMT", "Fri, 20 Nov 2026 01:00:00 +0000"),
        ("soon", "Fri, 20 Nov 2026 01:00:00 +0000"),
    ] {
        assert_eq!(of(date), expected, "{date}");
    }
}

#[tokio::test]
async fn who_hurries_does_not_pause_long_before_a_further_try() {
    let (address, _) =
        server(vec![answer("503 Busy", "", b""), answer("503 Busy", "", b""), answer("200 OK", "", b"7")]);
    let patient =
        Terms { backoff: Duration::from_hours(1), longest_backoff: Duration::from_hours(1), ..terms() };
    let api = api_at(&address, patient, None).unwrap();
    let api = api.hurried(Duration::from_secs(5), Duration::from_millis(5));
    let answered =
        tokio::time::timeout(Duration::from_secs(4), api.send(Call::get("things", &[]), number)).await;
    assert_eq!(answered.unwrap().unwrap().value, 7);
}

#[tokio::test]
async fn a_wild_time_to_come_back_at_is_later_and_no_panic() {
    let (address, _) = server(vec![answer("503 Busy", "Retry-After: 18446744073709551615\r\n", b"")]);
    // A name of its own: the port may come back for another test, and the block with it.
    let api = api_at(&address, Terms { name: "Wild", ..terms() }, None).unwrap();
    let error = api.send(Call::get("things", &[]), number).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::TryLater);
    assert!(error.to_string().contains("wants no call for"), "{error}");
}
