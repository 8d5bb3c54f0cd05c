//! The embedded migrations of both databases, and the stamp that records which environment a database belongs to.

use chrono::{DateTime, Utc};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection, SqlStr};

use super::{Conn, Db, DbError, DbErrorKind};
use crate::values;

/// A file of `migrations/`.
struct Embedded {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

// `SQLITE` and `POSTGRES`, written by `build.rs`.
include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// What a database reports about itself before any work is done on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The newest of our migrations that it has, if any.
    pub version: Option<i64>,
    /// The environment it is stamped with.
    pub environment: Option<String>,
}

/// The newest migration in this program.
pub fn latest_version() -> i64 {
    POSTGRES.iter().map(|migration| migration.version).max().unwrap_or(0)
}

fn migrator(migrations: &[Embedded]) -> Migrator {
    let migrations = migrations.iter().map(|Embedded { version, name, sql }| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    });
    Migrator::with_migrations(migrations.collect())
}

impl Db {
    /// Reads the schema's version and the environment stamp in one statement, the first on every connection.
    pub async fn readiness(&mut self) -> Result<Readiness, DbError> {
        let stamp = "SELECT (SELECT MAX(version) FROM _sqlx_migrations WHERE success), \
                     (SELECT name FROM batch_environment WHERE id = 1)";
        match self.fetch_one::<(Option<i64>, Option<String>)>(stamp, vec![]).await {
            Ok((version, environment)) => Ok(Readiness { version, environment }),
            Err(error) if error.kind() == DbErrorKind::MissingTable => {
                Ok(Readiness { version: None, environment: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Applies the missing migrations and stamps the environment if that has not been done yet. Several processes may do
    /// this at once: one does the work, the others wait and find it done.
    pub async fn migrate(&mut self, environment: &str, now: DateTime<Utc>) -> anyhow::Result<()> {
        match &mut self.conn {
            // The migrator's own lock is a no-op on SQLite: hold the write lock throughout, so that hundreds of
            // simultaneous first starts create one schema. Its transactions become savepoints of this one.
            Conn::Sqlite(connection) => {
                let mut transaction = connection
                    .begin_with("BEGIN IMMEDIATE")
                    .await
                    .map_err(|error| DbError::query(&error, "BEGIN IMMEDIATE", &self.place))?;
                migrator(SQLITE)
                    .run(&mut *transaction)
                    .await
                    .map_err(|error| DbError::migration(&error, &self.place))?;
                transaction.commit().await.map_err(|error| DbError::query(&error, "COMMIT", &self.place))?;
            }
            Conn::Postgres(connection) => {
                migrator(POSTGRES)
                    .run(&mut *connection)
                    .await
                    .map_err(|error| DbError::migration(&error, &self.place))?;
            }
        }
        self.execute(
            "INSERT INTO batch_environment (id, name, stamped_at) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING",
            values![environment, now],
        )
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Kind;
    use crate::db::testing::{TestDb, now, on_both_databases};
    use crate::failure::FailureKind;

    on_both_databases![
        suppressions_keep_their_reasons_and_can_have_more,
        rows_without_a_proper_time_keep_no_database_from_being_migrated,
        what_changed_before_the_triggers_is_computed_once_more,
        a_number_has_one_release_and_what_was_told_is_kept,
        a_notice_is_known_by_the_number_of_its_mall,
        a_table_that_somebody_holds_keeps_nobody_else_waiting,
    ];

    impl Db {
        /// Applies the migrations before this one.
        pub(in crate::db) async fn migrate_before(&mut self, version: i64) {
            fn earlier(migrations: &[Embedded], version: i64) -> Migrator {
                let earlier = migrations.iter().filter(|migration| migration.version < version);
                let earlier =
                    earlier.map(|Embedded { version, name, sql }| Embedded { version: *version, name, sql });
                migrator(&earlier.collect::<Vec<_>>())
            }
            match &mut self.conn {
                Conn::Sqlite(connection) => earlier(SQLITE, version).run(connection).await.unwrap(),
                Conn::Postgres(connection) => earlier(POSTGRES, version).run(connection).await.unwrap(),
            }
        }
    }

    /// What 0011 does to suppressions, of which until then each address had one: the last reason overwrote the others.
    async fn suppressions_keep_their_reasons_and_can_have_more(db: &mut TestDb) {
        let mut old = db.before_migration(11).await;
        old.script(
            "INSERT INTO mail_suppressions (address, scope, reason, detail, mail_id, created_at) VALUES
                 ('bounced@example.jp', 'ALL', 'BOUNCE', '550 5.1.1 unknown', 7, '2026-11-01T00:00:00+00:00'),
                 ('left@example.jp', 'MARKETING', 'UNSUBSCRIBE', NULL, NULL, '2026-11-02T00:00:00.123456+00:00'),
                 ('angry@example.jp', 'ALL', 'COMPLAINT', 'abuse', 8, '2026-11-03T00:00:00+00:00'),
                 ('vip@example.jp', 'MARKETING', 'MANUAL', 'asked by phone', NULL, '2026-11-04T00:00:00+00:00')",
        )
        .await
        .unwrap();
        let rows = "SELECT address, scope, reason, detail, mail_id, created_at FROM mail_suppressions";
        let before = old.lines(rows).await;

        old.migrate("dev", now()).await.unwrap();

        assert_eq!(old.lines(rows).await, before);
        assert_eq!(before.len(), 4);
        // None is a run's, and all are in force.
        let held = "SELECT COUNT(*) FROM mail_suppressions WHERE is_held OR run_id IS NOT NULL";
        assert_eq!(old.scalar(held).await, "0");
        // As docs/mail.md says to insert one: it counts beside the bounce, and a second time changes nothing.
        for _ in 0..2 {
            old.script(
                "INSERT INTO mail_suppressions (address, scope, reason, created_at)
                 VALUES ('bounced@example.jp', 'MARKETING', 'UNSUBSCRIBE', '2026-11-20T00:00:00+00:00')
                 ON CONFLICT (address, reason) DO NOTHING",
            )
            .await
            .unwrap();
        }
        old.script(
            "DELETE FROM mail_suppressions WHERE address = 'bounced@example.jp' AND reason = 'BOUNCE'",
        )
        .await
        .unwrap();
        let left = old
            .lines("SELECT scope, reason FROM mail_suppressions WHERE address = 'bounced@example.jp'")
            .await;
        assert_eq!(left, ["MARKETING UNSUBSCRIBE"]);
        old.close().await;
    }

    /// What 0015 finds when it comes, where 0013 could do nothing.
    async fn rows_without_a_proper_time_keep_no_database_from_being_migrated(db: &mut TestDb) {
        if db.kind() == Kind::Postgres {
            return;
        }
        let mut old = db.before_migration(15).await;
        old.script(
            "INSERT INTO malls (id, code, name, platform, time_zone, currency, is_active, created_at, updated_at)
                 VALUES (1, 'tokyo', 'Tokyo', 'csv', 'Asia/Tokyo', 'JPY', 1, 'x', 'x');
             INSERT INTO members (mall_id, member_code, status, signed_up_at, created_at, updated_at)
                 SELECT 1, 'M' || key, 'ACTIVE', value, 'x', 'x'
                 FROM json_each('[\"now\", \"infinity\", \"2026-02-30T00:00:00+00:00\", \"\", \"2461000.5\",
                                  \"2026-11-20T10:00:00+00:00\", \"2026-11-20T10:00:00.5+00:00\"]');
             INSERT INTO members (mall_id, member_code, status, signed_up_at, created_at, updated_at)
                 VALUES (1, 'M7', 'ACTIVE', CAST(x'32ff' AS TEXT), 'x', 'x')",
        )
        .await
        .unwrap();

        old.migrate("dev", now()).await.unwrap();

        let mall = crate::shop::malls::all_malls(&mut old).await.unwrap().remove(0);
        let found =
            crate::shop::times::misdated(&mut old, &mall, &crate::shop::times::Dated::MEMBERS).await.unwrap();
        let keys: Vec<&str> = found.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["M0", "M1", "M2", "M3", "M4", "M7"]);
        assert_eq!(old.scalar("SELECT COUNT(*) FROM members").await, "8");
        old.close().await;
    }

    /// What 0021 knows of the time before it: the newest periods may have changed.
    async fn what_changed_before_the_triggers_is_computed_once_more(db: &mut TestDb) {
        let mut old = db.before_migration(21).await;
        let at = "'2026-11-20T00:00:00+00:00'";
        old.script(&format!(
            "INSERT INTO malls (id, code, name, platform, time_zone, currency, is_active, created_at, updated_at)
                 VALUES (1, 'tokyo', 'Tokyo', 'csv', 'Asia/Tokyo', 'JPY', TRUE, {at}, {at})"
        ))
        .await
        .unwrap();
        for day in ["2026-11-04", "2026-11-05", "2026-11-19"] {
            old.script(&format!(
                "INSERT INTO daily_cancellations (business_day, mall_id, currency, cancelled_orders, cancelled_amount,
                     execution_id, computed_at)
                 VALUES ('{day}', 1, 'JPY', 0, 0, 1, {at}), ('{day}', 1, 'USD', 0, 0, 1, {at});
                 INSERT INTO weekly_signups (week_day, mall_id, min_cell, signups, active, unconfirmed, withdrawn,
                     execution_id, computed_at)
                 VALUES ('{day}', 1, 5, 0, 0, 0, 0, 1, {at})"
            ))
            .await
            .unwrap();
        }
        if db.kind() == Kind::Sqlite {
            old.script(
                "INSERT INTO daily_cancellations (business_day, mall_id, currency, cancelled_orders, cancelled_amount,
                     execution_id, computed_at)
                 VALUES ('infinity', 1, 'JPY', 0, 0, 1, 'x'), (CAST(x'ff' AS TEXT), 1, 'JPY', 0, 0, 1, 'x')",
            )
            .await
            .unwrap();
        }

        old.migrate("dev", now()).await.unwrap();

        assert_eq!(
            old.lines("SELECT report, period_day, mall_id FROM stale_periods").await,
            [
                "daily-cancellations 2026-11-05 1",
                "daily-cancellations 2026-11-19 1",
                "weekly-signups 2026-11-05 1",
                "weekly-signups 2026-11-19 1",
            ]
        );
        old.close().await;
    }

    /// What 0030 makes of rows of the same number, and of figures that others were told.
    async fn a_number_has_one_release_and_what_was_told_is_kept(db: &mut TestDb) {
        let mut old = db.before_migration(30).await;
        let at = "'2026-11-20T00:00:00+00:00'";
        old.script(&format!(
            "INSERT INTO malls (id, code, name, platform, time_zone, currency, is_active, created_at, updated_at)
                 VALUES (1, 'tokyo', 'Tokyo', 'app', 'Asia/Tokyo', 'JPY', TRUE, {at}, {at})"
        ))
        .await
        .unwrap();
        for (order, number, state) in [
            (1, "A", "RELEASED"),
            (2, "A", "WAITING"),
            (3, "A", "RELEASED"),
            (4, "B", "RELEASED"),
            (5, "B", "RELEASED"),
            (6, "C", "WAITING"),
        ] {
            old.script(&format!(
                "INSERT INTO stock_releases (order_id, mall_id, order_no, state, attempts, due_at, created_at, updated_at)
                 VALUES ({order}, 1, '{number}', '{state}', 0, {at}, {at}, {at})"
            ))
            .await
            .unwrap();
        }
        for (currency, awaited) in [("JPY", "NULL"), ("USD", "'ORDER'")] {
            old.script(&format!(
                "INSERT INTO daily_statistics (business_day, mall_id, currency, orders, sales_amount, average_order_amount,
                     cancelled_orders, refunded_amount, awaited_subject, execution_id, computed_at)
                 VALUES ('2026-11-19', 1, '{currency}', 1, 2, 3, 4, 5, {awaited}, 1, {at})"
            ))
            .await
            .unwrap();
        }

        old.migrate("dev", now()).await.unwrap();

        let releases = "SELECT order_no, order_id, state FROM stock_releases ORDER BY order_no";
        assert_eq!(old.lines(releases).await, ["A 2 WAITING", "B 5 RELEASED", "C 6 WAITING"]);
        assert_eq!(old.scalar("SELECT COUNT(DISTINCT id) FROM stock_releases").await, "3");
        assert_eq!(
            old.lines("SELECT * FROM daily_statistics_told").await,
            ["2026-11-19 1 JPY 1 2 3 4 5 2026-11-20T00:00:00+00:00"]
        );
        old.close().await;
    }

    /// What 0033 makes of the keys of notices.
    async fn a_notice_is_known_by_the_number_of_its_mall(db: &mut TestDb) {
        let mut old = db.before_migration(33).await;
        let at = "'2026-11-20T00:00:00+00:00'";
        let mall = |id: i64, code: &str| {
            format!(
                "INSERT INTO malls (id, code, name, platform, time_zone, currency, is_active, created_at, updated_at)
                 VALUES ({id}, '{code}', 'Mall', 'app', 'Asia/Tokyo', 'JPY', TRUE, {at}, {at})"
            )
        };
        // The code of one is the number of the other.
        for sql in [mall(1, "2"), mall(2, "1")] {
            old.script(&sql).await.unwrap();
        }
        for (mall, key) in [
            (1, "order-expired/2/A1"),
            (2, "order-expired/1/A1"),
            (1, "order-expired/1/A1/x"),
            (1, "own/2/A1"),
        ] {
            let kind = key.split('/').next().unwrap();
            for sql in [
                format!(
                    "INSERT INTO notifications (mall_id, member_code, channel, kind, data, dedup_key, due_at, queued_at)
                     VALUES ({mall}, 'M1', 'PUSH', '{kind}', '{{}}', '{key}', {at}, {at})"
                ),
                format!(
                    "INSERT INTO mails (kind, mall_id, recipient, subject, text_body, dedup_key, due_at, queued_at)
                     VALUES ('{kind}', {mall}, 'a@example.jp', 's', 't', '{key}', {at}, {at})"
                ),
            ] {
                old.script(&sql).await.unwrap();
            }
        }

        old.migrate("dev", now()).await.unwrap();

        let keys = ["1 order-expired:1/A1", "2 order-expired:2/A1", "3 order-expired/1/A1/x", "4 own/2/A1"];
        for table in ["notifications", "mails"] {
            assert_eq!(old.lines(&format!("SELECT id, dedup_key FROM {table} ORDER BY id")).await, keys);
        }
        old.close().await;
    }

    /// A migration that waits for a lock has everybody else wait behind it.
    async fn a_table_that_somebody_holds_keeps_nobody_else_waiting(db: &mut TestDb) {
        if db.kind() == Kind::Sqlite {
            return;
        }
        let mut old = db.before_migration(21).await;
        let mut application = old.another().await;
        application.script("BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE").await.unwrap();
        // What somebody has set is not overridden; a test does not wait for five seconds.
        old.script("SET lock_timeout = '1ms'").await.unwrap();
        let error = old.migrate("dev", now()).await.unwrap_err();
        let error = error.downcast_ref::<DbError>().unwrap();
        assert_eq!(
            (FailureKind::from(error.kind()), error.is_busy(), error.to_string().as_str()),
            (
                FailureKind::TryLater,
                true,
                "failed to migrate the database: another transaction holds a table for too long: canceling statement due to \
                 lock timeout"
            )
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("pg_stat_activity")), "{error:?}");
        application.script("ROLLBACK").await.unwrap();
        old.script("RESET lock_timeout").await.unwrap();
        old.migrate("dev", now()).await.unwrap();
        assert_eq!(old.scalar("SELECT current_setting('lock_timeout')").await, "0");
        application.close().await;
        old.close().await;
    }
}
