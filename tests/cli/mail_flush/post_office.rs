//! A sandbox in prod: elsewhere every mail goes to one test address. The servers are all on this machine.

use std::ops::Deref;

use chrono::{DateTime, TimeDelta};

use crate::support::{Arranged, Batchctl, Database, Sandbox};

/// A sandbox whose database is stamped `prod`, and a queue to be filled.
pub(super) struct PostOffice(Sandbox);

impl Arranged for PostOffice {
    fn on(database: Database) -> Self {
        Self(Sandbox::of_environment(database, "prod"))
    }
}

impl Deref for PostOffice {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.0
    }
}

impl PostOffice {
    /// Queues a mail by plain SQL, as any web application may, and returns its id.
    pub(super) fn queue(&self, recipient: &str) -> String {
        self.queue_with(recipient, "", "")
    }

    /// The same, with further columns and their values as SQL.
    pub(super) fn queue_with(&self, recipient: &str, columns: &str, values: &str) -> String {
        let (columns, values) = if columns.is_empty() {
            ("subject, text_body".to_owned(), "'お知らせ', 'text'".to_owned())
        } else {
            (columns.to_owned(), values.to_owned())
        };
        self.scalar(&format!(
            "INSERT INTO mails (kind, recipient, due_at, queued_at, {columns})
             VALUES ('test', '{recipient}', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', {values})
             RETURNING id"
        ))
    }

    /// Makes what waits for another attempt due at once.
    pub(super) fn make_due(&self) {
        self.execute("UPDATE mails SET due_at = queued_at");
    }

    /// `mail flush` against a server, not started yet.
    pub(super) fn flush(&self, url: &str) -> Batchctl {
        self.sends(["mail", "flush"], url)
    }

    /// Any command against a server, not started yet.
    pub(super) fn sends<'a>(&self, arguments: impl IntoIterator<Item = &'a str>, url: &str) -> Batchctl {
        self.batchctl(["--env", "prod"].into_iter().chain(arguments))
            .real_clock()
            .env("BATCHCTL_SMTP_URL", url)
            .env("BATCHCTL_MAIL_FROM", "お花屋さん <shop@example.jp>")
    }

    /// Recipient, status, attempts and last reply of every mail, in the order of queueing.
    pub(super) fn states(&self) -> Vec<[String; 4]> {
        let rows = self.sql("SELECT recipient, status, attempts, last_reply FROM mails ORDER BY id");
        rows.into_iter().map(|row| row.try_into().expect("four columns")).collect()
    }

    /// Suppressed addresses with scope and reason.
    pub(super) fn suppressions(&self) -> Vec<Vec<String>> {
        self.sql("SELECT address, scope, reason FROM mail_suppressions ORDER BY address")
    }

    /// Checks that a mail that waits for another attempt is due about five minutes after the last run.
    #[track_caller]
    pub(super) fn next_try_is_in_five_minutes(&self, recipient: &str) {
        let instant = |text: &str| DateTime::parse_from_rfc3339(text).unwrap();
        let due = self.scalar(&format!("SELECT due_at FROM mails WHERE recipient = '{recipient}'"));
        let run = self.sql("SELECT started_at, ended_at FROM batch_execution ORDER BY id DESC LIMIT 1");
        // 5 minutes, and up to 20 % more or less.
        let (earliest, latest) =
            (instant(&run[0][0]) + TimeDelta::minutes(4), instant(&run[0][1]) + TimeDelta::minutes(6));
        assert!((earliest..=latest).contains(&instant(&due)), "{recipient}: {due}, run {run:?}");
    }
}
