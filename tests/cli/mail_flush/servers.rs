//! Real servers: Postfix's smtp-sink, and aiosmtpd with STARTTLS, TLS from the first byte, and a password.

use std::path::Path;

use serde_json::Value;

use super::post_office::PostOffice;
use crate::support::{on_both_databases, real_server};

on_both_databases![
    two_thousand_mails_reach_smtp_sink,
    a_mail_is_sent_over_starttls_and_over_tls_with_a_password,
    an_untrusted_certificate_stops_the_sending,
    a_wrong_password_is_reported_by_a_real_server_too,
];

/// The server with TLS.
struct Secure {
    starttls: String,
    implicit: String,
    authority: String,
    mails: String,
}

impl Secure {
    fn find() -> Option<Self> {
        Some(Self {
            starttls: real_server("BATCHCTL_TEST_SMTP_STARTTLS_URL")?,
            implicit: real_server("BATCHCTL_TEST_SMTPS_URL")?,
            authority: real_server("BATCHCTL_TEST_SMTP_CA")?,
            mails: real_server("BATCHCTL_TEST_SMTP_MAILS")?,
        })
    }

    /// What it has stored for a recipient: the envelope and the text. Other tests use the same server.
    fn kept_for(&self, recipient: &str) -> Vec<(Value, String)> {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&self.mails).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "json") {
                let about: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                if about["to"] == serde_json::json!([recipient]) {
                    kept.push((about, std::fs::read_to_string(path.with_extension("eml")).unwrap()));
                }
            }
        }
        kept
    }
}

/// An address that only this test uses.
fn unique(office: &PostOffice, name: &str) -> String {
    let folder = office.path("");
    let folder = folder.parent().and_then(Path::file_name).unwrap().to_string_lossy().replace(' ', "-");
    format!("{name}-{folder}@example.jp").to_lowercase()
}

fn two_thousand_mails_reach_smtp_sink(office: &PostOffice) {
    let Some(url) = real_server("BATCHCTL_TEST_SMTP_SINK_URL") else { return };
    office.execute(
        "INSERT INTO mails (kind, recipient, subject, text_body, due_at, queued_at)
         WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 2000)
         SELECT 'test', 'm' || n || '@example.jp', 'お知らせ', 'text', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00'
         FROM number",
    );
    office.flush(&url).run().succeeds();
    assert_eq!(
        office.sql("SELECT status, attempts, COUNT(*) FROM mails GROUP BY status, attempts"),
        [["SENT", "1", "2000"]]
    );
}

fn a_mail_is_sent_over_starttls_and_over_tls_with_a_password(office: &PostOffice) {
    let Some(secure) = Secure::find() else { return };
    for (url, name) in [(&secure.starttls, "starttls"), (&secure.implicit, "implicit")] {
        let recipient = unique(office, name);
        office.queue(&recipient);
        office.queue(&recipient);
        office.flush(url).env("SSL_CERT_FILE", &secure.authority).run().succeeds();
        let kept = secure.kept_for(&recipient);
        assert_eq!(kept.len(), 2);
        for (about, text) in kept {
            assert_eq!((&about["from"], &about["login"]), (&"shop@example.jp".into(), &"shop".into()));
            assert!(about["tls"].as_str().is_some_and(|version| version.starts_with("TLSv1.")), "{about}");
            assert!(text.contains(&format!("\r\nTo: {recipient}\r\n")), "{text}");
        }
    }
    assert!(office.states().iter().all(|state| state[1] == "SENT"), "{:?}", office.states());
}

fn an_untrusted_certificate_stops_the_sending(office: &PostOffice) {
    let Some(secure) = Secure::find() else { return };
    let recipient = unique(office, "untrusted");
    office.queue(&recipient);
    // Signed by an authority that the operating system does not trust, and issued for another name.
    for url in [&secure.starttls, &secure.implicit] {
        office.flush(url).run().exits(1).says("failed to encrypt").never_shows("right");
        let elsewhere = url.replace("localhost", "127.0.0.1");
        let flush = office.flush(&elsewhere).env("SSL_CERT_FILE", &secure.authority);
        flush.run().exits(1).says("failed to encrypt").never_shows("right");
    }
    assert_eq!(office.states()[0][1..], ["QUEUED", "0", "NULL"]);
    assert_eq!(secure.kept_for(&recipient).len(), 0);
}

fn a_wrong_password_is_reported_by_a_real_server_too(office: &PostOffice) {
    let Some(secure) = Secure::find() else { return };
    office.queue("nobody@example.jp");
    for url in [&secure.starttls, &secure.implicit] {
        let wrong = url.replace("right%3Apass", "hunter2hunter2");
        let flush = office.flush(&wrong).env("SSL_CERT_FILE", &secure.authority);
        flush.run().exits(1).says("refused AUTH: 535 5.7.8").never_shows("hunter2");
    }
    assert_eq!(office.states()[0][1..], ["QUEUED", "0", "NULL"]);
}
