//! `mail flush`: queued mails are sent, once.

mod apis;
mod bounces;
mod faults;
mod formats;
mod hostile;
mod interface;
mod post_office;
mod servers;
mod sharing;
mod slowness;

use std::ops::Deref;
use std::process::Command;

use crate::support::{Arranged, Batchctl, Database, Ran, Sandbox};

const FLUSH: [&str; 2] = ["mail", "flush"];

/// The unsubscription address of the tests' shop, and what the law wants to be known about it.
const UNSUBSCRIPTION: &str = "[mail.shop]
name = \"Example Shop\"
address = \"1-2-3 Minatocho, Yokohama\"
phone = \"02-1234-5678\"
[mail.unsubscribe]
url = \"https://shop.example.jp/unsubscribe?t={token}\"
mailto = \"unsubscribe@shop.example.jp\"
list_id = \"news.shop.example.jp\"
";

/// The key that signs its links.
const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef";

/// A sandbox whose mails are written to the folder `mail`, all of them addressed to developer@example.jp.
struct Post(Sandbox);

impl Arranged for Post {
    fn on(database: Database) -> Self {
        Self(Sandbox::on(database))
    }
}

impl Deref for Post {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.0
    }
}

impl Post {
    /// A batchctl that may send.
    fn batchctl<A: AsRef<str>>(&self, arguments: impl IntoIterator<Item = A>) -> Batchctl {
        self.0
            .batchctl(arguments)
            .env("BATCHCTL_MAIL_FROM", "Example Shop <shop@example.jp>")
            .env("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
            .env("BATCHCTL_SECRET_KEY", SECRET_KEY)
    }

    fn flush(&self) -> Ran {
        self.batchctl(FLUSH).run()
    }

    /// Queues a mail; `set` changes its columns (`priority = 1, …`).
    #[track_caller]
    fn mail(&self, recipient: &str, set: &str) {
        self.execute(&format!(
            "INSERT INTO mails (kind, recipient, subject, text_body, due_at, queued_at)
             VALUES ('kind', '{recipient}', '件名', '本文', '2026-11-19T00:00:00+00:00', '2026-11-19T00:00:00+00:00')"
        ));
        if !set.is_empty() {
            self.execute(&format!("UPDATE mails SET {set} WHERE id = (SELECT MAX(id) FROM mails)"));
        }
    }

    /// A mall to have members in.
    fn mall(&self) -> String {
        self.scalar(
            "INSERT INTO malls (code, name, platform, time_zone, currency, is_active, created_at, updated_at)
             VALUES ('tokyo', 'Tokyo', 'file', 'Asia/Tokyo', 'JPY', TRUE, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00')
             RETURNING id",
        )
    }

    fn set_up_unsubscription(&self) {
        self.write("batchctl.toml", format!("[mail]\ntransport = \"folder\"\n{UNSUBSCRIPTION}"));
    }

    /// The mails in the folder, in the order of their names.
    fn files(&self) -> Vec<String> {
        let Ok(folder) = std::fs::read_dir(self.path("mail")) else { return Vec::new() };
        let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| String::from_utf8(std::fs::read(path).unwrap()).unwrap()).collect()
    }

    #[track_caller]
    fn only_file(&self) -> String {
        match self.files().as_slice() {
            [file] => file.clone(),
            files => panic!("not one mail: {files:?}"),
        }
    }

    /// Whether the database refuses a statement.
    fn refuses(&self, sql: &str) -> bool {
        let executed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.execute(sql)));
        let Err(panic) = executed else { return false };
        let error = panic.downcast_ref::<String>().expect("a message");
        assert!(error.to_lowercase().contains("constraint"), "refused for another reason: {error}");
        true
    }

    /// The text for this database.
    fn pick(&self, sqlite: &str, postgres: &str) -> String {
        match self.database() {
            Database::Sqlite => sqlite.to_owned(),
            Database::Postgres => postgres.to_owned(),
        }
    }

    /// The rows of a table.
    fn dump_of(&self, table: &str) -> String {
        self.dump().lines().filter(|line| line.starts_with(&format!("{table}:"))).collect()
    }

    /// The content of a token, checked by code other than ours.
    fn python_checks_token(&self, token: &str) -> String {
        let printed = self.batchctl(["mail", "unsubscribe-key"]).run().succeeds().stdout;
        let key = printed.trim_end();
        assert!(!key.contains(SECRET_KEY), "the secret key stays here");
        let script = "
import base64, hashlib, hmac, sys
key, (claim, signature) = sys.argv[1].encode(), sys.argv[2].split('.')
pad = lambda text: text + '=' * (-len(text) % 4)
expected = hmac.new(key, claim.encode(), hashlib.sha256).digest()
assert hmac.compare_digest(expected, base64.urlsafe_b64decode(pad(signature)))
print(base64.urlsafe_b64decode(pad(claim)).decode(), end='')";
        let output = Command::new("python3").args(["-c", script, key, token]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}
