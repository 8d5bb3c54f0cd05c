//! How mail programs read our mails: checked by Python's parser and dkimpy, which share no code with us.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::post_office::PostOffice;
use crate::support::{Database, Sandbox, on_both_databases};

on_both_databases![
    japanese_and_korean_mails_decode_to_the_same_text,
    a_mail_is_signed_as_another_library_expects,
    outside_prod_nobody_real_is_reached,
    a_dry_run_makes_no_folder,
];

/// The `.eml` files of a folder, in the order of their names.
fn files(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(sandbox.path(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.iter().all(|file| file.extension().is_some_and(|end| end == "eml")), "{files:?}");
    files
}

/// Runs a script of `tests/mail` on a mail.
fn judged(script: &str, arguments: &[&str], mail: &[u8]) -> Option<String> {
    let mut python = Command::new("/usr/bin/python3")
        .arg(format!("{}/tests/mail/{script}", env!("CARGO_MANIFEST_DIR")))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(mail).unwrap();
    let output = python.wait_with_output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

fn parsed(mail: &[u8]) -> Value {
    let parsed: Value = serde_json::from_str(&judged("parse.py", &[], mail).unwrap()).unwrap();
    assert_eq!(
        (&parsed["defects"], &parsed["bare_breaks"], &parsed["is_ascii"]),
        (&json!([]), &json!(0), &json!(true))
    );
    assert!(parsed["longest_line"].as_u64().unwrap() <= 998);
    parsed
}

fn header<'a>(parsed: &'a Value, name: &str) -> Option<&'a str> {
    let headers = parsed["headers"].as_array().unwrap();
    headers.iter().find(|header| header[0] == name).and_then(|header| header[1].as_str())
}

/// `mail flush` into the folder `out`.
fn flush_into_folder(office: &PostOffice, further: &str) {
    office.write("batchctl.toml", format!("[mail]\ntransport = \"folder\"\nfolder = \"out\"\n{further}"));
    office.flush("").run().succeeds();
}

fn a_dry_run_makes_no_folder(office: &PostOffice) {
    office.write("batchctl.toml", "[mail]\ntransport = \"folder\"\nfolder = \"out\"\n");
    office.sends(["mail", "flush", "--dry-run"], "").run().succeeds();
    office.flush("").run().succeeds();
    assert!(!office.path("out").exists(), "there is no mail");
}

fn japanese_and_korean_mails_decode_to_the_same_text(office: &PostOffice) {
    let mails = [
        (
            "山田 花子 <hanako@example.jp>",
            "【お花屋さん】ご注文ありがとうございます（注文番号 2026-11-20-000123）",
            "山田様\n\n合計 ¥12,800 です。\n.\n",
            "<p>山田様</p><img src=\"cid:logo\" alt=\"ロゴ\">",
            "領収書_山田花子様_2026年11月分のご利用明細（再発行）.pdf",
        ),
        (
            "김철수 <kim@example.kr>",
            "주문해 주셔서 감사합니다 🎁 결제 금액과 배송 일정을 안내해 드립니다",
            "김 님,\n감사합니다.\n",
            "<p>김 님</p><img src=\"cid:logo\" alt=\"로고\">",
            "영수증 2026년 11월.pdf",
        ),
    ];
    for (recipient, subject, text, html, file) in mails {
        let id = office.queue_with(
            recipient,
            "subject, text_body, html_body, reply_to, headers",
            &format!(
                "'{subject}', '{text}', '{html}', 'サポート <help@example.jp>', '{{\"X-Campaign\": \"秋の感謝祭\"}}'"
            ),
        );
        let content = match office.database() {
            Database::Sqlite => "x'0d0a00ff2e0a'",
            Database::Postgres => "'\\x0d0a00ff2e0a'::bytea",
        };
        office.execute(&format!(
            "INSERT INTO mail_attachments (mail_id, name, content_type, content_id, content)
             VALUES ({id}, '{file}', 'application/pdf', NULL, {content}), ({id}, 'logo.png', 'image/png', 'logo', {content})"
        ));
    }
    flush_into_folder(office, "");
    let mut found: Vec<Value> =
        files(office, "out").iter().map(|file| parsed(&std::fs::read(file).unwrap())).collect();
    found.sort_by_key(|mail| mail["to"][0][1].to_string());
    assert_eq!(found.len(), 2);
    for (mail, (recipient, subject, text, html, file)) in found.iter().zip(mails) {
        let (name, address) = recipient.trim_end_matches('>').split_once(" <").unwrap();
        assert_eq!(mail["to"], json!([[name, address]]));
        assert_eq!(mail["from"], json!([["お花屋さん", "shop@example.jp"]]));
        assert_eq!(header(mail, "Subject"), Some(subject));
        assert_eq!(header(mail, "Reply-To"), Some("サポート <help@example.jp>"));
        assert_eq!(header(mail, "X-Campaign"), Some("秋の感謝祭"));
        let body = &mail["body"];
        let alternative = &body["parts"][0];
        let related = &alternative["parts"][1];
        let types = [body, alternative, related].map(|part| part["type"].as_str().unwrap());
        assert_eq!(types, ["multipart/mixed", "multipart/alternative", "multipart/related"]);
        assert_eq!(alternative["parts"][0]["text"].as_str().unwrap().trim_end(), text.trim_end());
        assert_eq!(related["parts"][0]["text"].as_str().unwrap().trim_end(), html);
        let picture = &related["parts"][1];
        assert_eq!([&picture["id"], &picture["disposition"]], ["<logo>", "inline"]);
        let pdf = &body["parts"][1];
        assert_eq!([&pdf["name"], &pdf["disposition"], &pdf["hex"]], [file, "attachment", "0d0a00ff2e0a"]);
    }
}

fn a_mail_is_signed_as_another_library_expects(office: &PostOffice) {
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let path = office.path("dkim.pem").display().to_string();
    openssl(&["genrsa", "-out", &path, "2048"]);
    let public = STANDARD.encode(openssl(&["rsa", "-in", &path, "-pubout", "-outform", "DER"]));
    office.write("dns", format!("s2026._domainkey.example.jp v=DKIM1; k=rsa; p={public}\n"));
    office.write(
        "batchctl.toml",
        "[mail]\ntransport = \"folder\"\nfolder = \"out\"\n\n\
         [mail.dkim]\ndomain = \"example.jp\"\nselector = \"s2026\"\nkey_variable = \"DKIM_KEY\"\n",
    );
    office.queue_with(
        "hanako@example.jp",
        "subject, text_body, html_body",
        "'ご注文ありがとうございます', '山田様  \n\n\n', '<p>山田様</p>'",
    );
    // The key itself, and the name of its file.
    for key in [office.read("dkim.pem"), "dkim.pem".to_owned()] {
        office.flush("").env("DKIM_KEY", &key).run().succeeds();
        // The same mail, sent again, is the same file.
        let files = files(office, "out");
        assert_eq!(files.len(), 1);
        let mail = std::fs::read(&files[0]).unwrap();
        let dns = office.path("dns").display().to_string();
        let covered = judged("verify_dkim.py", &[&dns], &mail).expect("the signature is valid");
        assert_eq!(covered.trim_end(), "from:to:subject:date:message-id:mime-version:content-type");
        office.execute("UPDATE mails SET status = 'QUEUED', claimed_by = NULL");
    }
    assert!(!office.dump().contains("PRIVATE KEY"));
    office.write("dkim.pem", "-----BEGIN PRIVATE KEY-----\nhunter2\n");
    let ran = office.flush("").env("DKIM_KEY", "dkim.pem").run();
    ran.exits(78).says("DKIM_KEY").never_shows("hunter2");
}

fn outside_prod_nobody_real_is_reached(sandbox: &Sandbox) {
    sandbox.execute(
        "INSERT INTO mails (kind, recipient, subject, text_body, headers, due_at, queued_at)
         VALUES ('test', '山田 花子 <hanako@example.jp>', 'お知らせ', 'text', '{\"X-Original-To\": \"forged@example.jp\"}',
                 '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00')",
    );
    let flush = || sandbox.batchctl(["mail", "flush"]).env("BATCHCTL_MAIL_FROM", "shop@example.jp");
    flush().run().exits(78).says("BATCHCTL_MAIL_REDIRECT_TO");
    flush().env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp").run().succeeds();
    let mail = parsed(&std::fs::read(&files(sandbox, "mail")[0]).unwrap());
    assert_eq!(mail["to"], json!([["", "developer@example.jp"]]));
    assert_eq!(header(&mail, "Subject"), Some("[to hanako@example.jp] お知らせ"));
    assert_eq!(header(&mail, "X-Original-To"), Some("hanako@example.jp"));
}
