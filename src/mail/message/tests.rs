use std::io::Write as _;
use std::process::{Command, Stdio};

use chrono::DateTime;
use serde_json::{Value as Json, json};

use super::*;
use crate::config::{Config, LoadOptions};
use crate::mail::outgoing::Gate;

/// The gate of an environment: `prod` reaches people, any other only the test address.
fn gate(environment: &str) -> Gate {
    let folder = tempfile::tempdir().unwrap();
    let options = LoadOptions {
        env_flag: Some(environment.to_owned()),
        working_dir: folder.path().to_owned(),
        process_env: [("BATCHCTL_MAIL_REDIRECT_TO".to_owned(), "developer@example.jp".to_owned())].into(),
        full_paths: false,
    };
    Gate::new(&Config::load(options).unwrap()).unwrap()
}

fn content() -> Content {
    Content {
        message_id: "<01.shop@example.jp>".to_owned(),
        date: DateTime::from_timestamp(1_795_219_200, 0).unwrap(),
        from: "お花屋さん <shop@example.jp>".parse().unwrap(),
        reply_to: None,
        subject: "ご注文ありがとうございます".to_owned(),
        text: Some("山田様\n\nありがとうございました。\n".to_owned()),
        html: None,
        headers: Vec::new(),
        unsubscription: Vec::new(),
        attachments: Vec::new(),
    }
}

fn to(content: Content) -> OutgoingMail {
    OutgoingMail::new(&gate("prod"), content, "山田 花子 <hanako@example.jp>".parse().unwrap())
}

fn built(content: Content) -> Vec<u8> {
    build(&to(content), None).unwrap().bytes
}

fn problem(change: impl FnOnce(&mut Content)) -> String {
    let mut content = content();
    change(&mut content);
    build(&to(content), None).unwrap_err()
}

/// A mail as parsed by Python's own parser.
fn parsed(mail: &[u8]) -> Json {
    let mut python = Command::new("/usr/bin/python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/parse.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(mail).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let parsed: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(parsed["defects"], json!([]), "{parsed:#}");
    assert_eq!(parsed["bare_breaks"], 0);
    assert_eq!(parsed["is_ascii"], true);
    assert!(parsed["longest_line"].as_u64().unwrap() <= 998);
    parsed
}

fn header<'a>(parsed: &'a Json, name: &str) -> Option<&'a str> {
    let headers = parsed["headers"].as_array().unwrap();
    headers.iter().find(|header| header[0] == name).and_then(|header| header[1].as_str())
}

fn attachment(name: &str, content_id: Option<&str>) -> Attachment {
    Attachment {
        name: name.to_owned(),
        content_type: if content_id.is_some() { "image/png" } else { "text/csv; charset=utf-8" }.to_owned(),
        content_id: content_id.map(str::to_owned),
        // Bare line breaks and bytes that are not text in any encoding.
        bytes: b"a,b\n1,2\r\n\xff\x00".to_vec(),
    }
}

#[test]
fn japanese_and_korean_mails_read_the_same_in_another_parser() {
    for (subject, text, name) in [
        ("ご注文ありがとうございます", "山田様\r\n\r\n合計 ¥12,800 です。\r\n", "山田 花子"),
        (
            "주문해 주셔서 감사합니다 (주문번호 2026-11-20) 결제 금액과 배송 일정을 안내해 드립니다",
            "김 님,\r\n감사합니다 🎁\r\n",
            "김 \"철수\", Jr.",
        ),
        (
            "Re: 【重要】 mixed ASCII と 日本語 と  two spaces",
            "plain\r\n.\r\n..dots\r\n",
            "O'Neil, \"J\" \\ Co.",
        ),
    ] {
        let mut content = content();
        content.subject = subject.to_owned();
        content.text = Some(text.to_owned());
        content.from.name = Some(name.to_owned());
        content.html = Some(format!("<p>{text}</p>"));
        let parsed = parsed(&built(content));
        assert_eq!(header(&parsed, "Subject"), Some(subject));
        assert_eq!(parsed["from"], json!([[name, "shop@example.jp"]]));
        assert_eq!(parsed["to"], json!([["山田 花子", "hanako@example.jp"]]));
        let body = &parsed["body"];
        assert_eq!(body["type"], "multipart/alternative");
        // A part may end with one more line end than its text.
        let shown = |part: &Json| part["text"].as_str().unwrap().trim_end().to_owned();
        assert_eq!(shown(&body["parts"][0]), text.replace("\r\n", "\n").trim_end());
        assert_eq!(shown(&body["parts"][1]), format!("<p>{}</p>", text.replace("\r\n", "\n")));
        assert_eq!(body["parts"][0]["type"], "text/plain");
        assert_eq!(body["parts"][1]["type"], "text/html");
    }
}

#[test]
fn dates_ids_and_further_headers_are_written_as_given() {
    let mut content = content();
    content.reply_to = Some("サポート <help@example.jp>".parse().unwrap());
    content.headers = vec![
        (
            "List-Unsubscribe".to_owned(),
            format!(
                "<https://shop.example.jp/u?t={}>, <mailto:u@example.jp?subject=unsubscribe%20{}>",
                "x".repeat(200),
                "x".repeat(200)
            ),
        ),
        ("List-Unsubscribe-Post".to_owned(), "List-Unsubscribe=One-Click".to_owned()),
        ("X-Campaign".to_owned(), "秋の感謝祭".to_owned()),
    ];
    let expected = content.headers.clone();
    let bytes = built(content);
    let parsed = parsed(&bytes);
    assert_eq!(header(&parsed, "Message-ID"), Some("<01.shop@example.jp>"));
    assert_eq!(header(&parsed, "Date"), Some("Sat, 21 Nov 2026 00:00:00 +0000"));
    assert_eq!(header(&parsed, "Reply-To"), Some("サポート <help@example.jp>"));
    assert_eq!(header(&parsed, "MIME-Version"), Some("1.0"));
    for (name, value) in expected {
        assert_eq!(header(&parsed, &name), Some(value.as_str()));
    }
    assert_eq!(header(&parsed, "Bcc"), None);
}

#[test]
fn pictures_are_inside_the_html_part_and_files_outside() {
    let mut content = content();
    content.html = Some("<p><img src=\"cid:chart\" alt=\"売上\"></p>".to_owned());
    content.attachments = vec![
        attachment("売上レポート 2026年11月（確定版）株式会社お花屋さん御中.csv", None),
        attachment("chart.png", Some("<chart>")),
    ];
    let parsed = parsed(&built(content.clone()));
    let mixed = &parsed["body"];
    assert_eq!(mixed["type"], "multipart/mixed");
    let alternative = &mixed["parts"][0];
    assert_eq!(alternative["type"], "multipart/alternative");
    let related = &alternative["parts"][1];
    assert_eq!(related["type"], "multipart/related");
    assert_eq!(related["parts"][0]["type"], "text/html");
    let hex = hex::encode(b"a,b\n1,2\r\n\xff\x00");
    assert_eq!(
        related["parts"][1],
        json!({"type": "image/png", "encoding": "base64", "disposition": "inline", "name": "chart.png", "id": "<chart>", "hex": hex})
    );
    let csv = &mixed["parts"][1];
    assert_eq!(csv["name"], "売上レポート 2026年11月（確定版）株式会社お花屋さん御中.csv");
    assert_eq!((&csv["disposition"], &csv["hex"]), (&json!("attachment"), &json!(hex)));
    // Without HTML a picture is a file.
    content.html = None;
    let parsed = self::parsed(&built(content));
    let types: Vec<_> =
        parsed["body"]["parts"].as_array().unwrap().iter().map(|part| &part["disposition"]).collect();
    assert_eq!(types, [&Json::Null, &json!("attachment"), &json!("attachment")]);
}

#[test]
fn a_long_subject_arrives_whether_it_is_ascii_or_not() {
    for subject in
        ["x".repeat(2_000), format!("Order {} has left", "0123456789".repeat(120)), "word ".repeat(400)]
    {
        let mut content = content();
        content.subject = subject.trim().to_owned();
        let built = built(content);
        assert_eq!(header(&parsed(&built), "Subject"), Some(subject.trim()));
        let text = String::from_utf8(built).unwrap();
        assert!(text.lines().all(|line| line.len() <= 998));
    }
}

#[test]
fn long_lines_and_other_line_ends_are_sent_as_lines_that_every_server_accepts() {
    let mut content = content();
    content.text = Some(format!("{}\rold Mac\nunix\r\ndos", "x".repeat(5000)));
    content.html = Some(format!("<p>{}</p>", "長".repeat(3000)));
    content.subject = "件名".repeat(700);
    let parsed = parsed(&built(content));
    assert_eq!(header(&parsed, "Subject"), Some("件名".repeat(700).as_str()));
    let text = parsed["body"]["parts"][0]["text"].as_str().unwrap();
    assert_eq!(text.trim_end(), format!("{}\nold Mac\nunix\ndos", "x".repeat(5000)));
    let html = parsed["body"]["parts"][1]["text"].as_str().unwrap();
    assert_eq!(html.trim_end(), format!("<p>{}</p>", "長".repeat(3000)));
}

#[test]
fn an_injected_header_is_refused() {
    for bad in ["a\r\nBcc: all@example.jp", "a\nb", "a\rb", "a\0b"] {
        assert_eq!(
            problem(|content| content.subject = bad.to_owned()),
            "the subject contains a line break or a NUL"
        );
        assert_eq!(
            problem(|content| content.from.name = Some(bad.to_owned())),
            "the name of the sender contains a line break or a NUL"
        );
        assert_eq!(
            problem(|content| content.headers = vec![("X-Tag".to_owned(), bad.to_owned())]),
            "the header `X-Tag` contains a line break or a NUL"
        );
        assert_eq!(
            problem(|content| content.headers = vec![(bad.to_owned(), "x".to_owned())]),
            "the name of a header is not valid (RFC 5322)"
        );
        assert_eq!(
            problem(|content| content.attachments = vec![attachment(bad, None)]),
            "the name of an attachment contains a line break or a NUL"
        );
        assert_eq!(
            problem(|content| content.message_id = format!("<{bad}@x>")),
            "the Message-ID is not of the form `<left@right>`"
        );
        let mut picture = attachment("a.png", Some(bad));
        assert!(
            problem(|content| {
                content.html = Some("<p>".to_owned());
                content.attachments = vec![picture.clone()];
            })
            .starts_with("the content id")
        );
        picture.content_type = bad.to_owned();
        assert!(problem(|content| content.attachments = vec![picture]).starts_with("the media type"));
    }
    let recipient =
        Mailbox::new(Some("a\r\nBcc: all@example.jp".to_owned()), "a@example.jp".parse().unwrap());
    let mail = OutgoingMail::new(&gate("prod"), content(), recipient);
    assert_eq!(build(&mail, None).unwrap_err(), "the name of the recipient contains a line break or a NUL");
}

#[test]
fn headers_that_batchctl_writes_cannot_be_set() {
    for name in [
        "From",
        "to",
        "CC",
        "Bcc",
        "Subject",
        "Date",
        "Message-ID",
        "Content-Type",
        "Content-Anything",
        "MIME-Version",
        "Sender",
        "Return-Path",
        "DKIM-Signature",
        "X-Original-To",
        "Reply-To",
    ] {
        assert_eq!(
            problem(|content| content.headers = vec![(name.to_owned(), "x".to_owned())]),
            format!("the header `{name}` is written by batchctl itself")
        );
    }
    for name in ["", "X Y", "X:Y", "Ü", &"X".repeat(77)] {
        let problem = problem(|content| content.headers = vec![(name.to_owned(), "x".to_owned())]);
        assert_eq!(problem, "the name of a header is not valid (RFC 5322)", "{name}");
    }
    // A rehearsal drops most headers, and refuses what prod would.
    let mut rehearsed = content();
    rehearsed.headers = vec![("Bcc".to_owned(), "all@example.jp".to_owned())];
    let rehearsed = OutgoingMail::new(&gate("dev"), rehearsed, "hanako@example.jp".parse().unwrap());
    assert_eq!(build(&rehearsed, None), Err("the header `Bcc` is written by batchctl itself".to_owned()));
    let twice = vec![("X-A".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())];
    assert_eq!(problem(|content| content.headers = twice), "the header `x-a` occurs twice");
}

#[test]
fn outside_prod_only_the_gate_names_the_intended_recipient() {
    let mut content = content();
    content.headers = vec![("X-Original-To".to_owned(), "forged@example.jp".to_owned())];
    let mail = OutgoingMail::new(&gate("dev"), content, "hanako@example.jp".parse().unwrap());
    let built = build(&mail, None).unwrap();
    assert_eq!(
        built.envelope.to().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["developer@example.jp"]
    );
    let parsed = parsed(&built.bytes);
    assert_eq!(parsed["to"], json!([["", "developer@example.jp"]]));
    assert_eq!(header(&parsed, "X-Original-To"), Some("hanako@example.jp"));
    assert_eq!(header(&parsed, "Subject"), Some("[to hanako@example.jp] ご注文ありがとうございます"));
}

#[test]
fn an_invalid_mail_is_reported_without_its_contents() {
    assert_eq!(problem(|content| content.text = None), "it has neither a text nor an HTML part");
    assert_eq!(problem(|content| content.text = Some("a\0b".to_owned())), "the text part contains a NUL");
    assert_eq!(
        problem(|content| content.subject = "x".repeat(9000)),
        "the subject has 9000 bytes; a header holds at most 8000"
    );
    // One word that cannot be folded.
    let unbreakable = vec![("X-Tag".to_owned(), "x".repeat(2000))];
    assert_eq!(
        problem(|content| content.headers = unbreakable),
        "it has a line of 2007 octets; at most 998 are allowed"
    );
    for id in ["01@example.jp", "<01>", "<@x>", "<a@>", "<a b@x>", "<a@b@c>", "<あ@x>"] {
        let problem = problem(|content| content.message_id = id.to_owned());
        assert_eq!(problem, "the Message-ID is not of the form `<left@right>`", "{id}");
    }
}

#[test]
fn an_internationalised_domain_is_sent_in_ascii() {
    let mail = OutgoingMail::new(&gate("prod"), content(), "hanako@日本語.jp".parse().unwrap());
    let built = build(&mail, None).unwrap();
    assert_eq!(built.envelope.to()[0].to_string(), "hanako@xn--wgv71a119e.jp");
    assert_eq!(parsed(&built.bytes)["to"], json!([["", "hanako@xn--wgv71a119e.jp"]]));
}
