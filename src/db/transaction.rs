//! Transactions: committed if their work succeeds, rolled back if it fails.

use super::{Conn, Db, DbError};

/// How often work on a snapshot is tried before the conflict with others counts as a busy database. Each of them wrote
/// something and is done, so that a few attempts are enough.
const SNAPSHOT_ATTEMPTS: u32 = 5;

impl Db {
    /// Runs `work` in one transaction: committed if it succeeds, rolled back if it fails.
    ///
    /// On SQLite the transaction takes the write lock at once (`BEGIN IMMEDIATE`), because a read that later
    /// turns into a write fails as "locked" whatever the timeout. Nesting is an error: on PostgreSQL an inner
    /// `COMMIT` would commit the outer work.
    pub async fn transaction<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.begin(self.pick("BEGIN IMMEDIATE", "BEGIN")).await?;
        let result = work(self).await;
        self.end(result).await
    }

    /// Runs `work`, which only reads, in a transaction that sees the database as it was at one moment.
    pub async fn read_on_snapshot<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.begin(self.pick("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")).await?;
        let result = work(self).await;
        self.end(result).await
    }

    /// Runs `work` like [`Self::transaction`], but all its statements see the database as it was at one moment, whatever is
    /// committed meanwhile. On SQLite those of a transaction always do. On PostgreSQL a statement then fails if it writes a
    /// row that another transaction has written since; `work` starts over, a few times at most.
    ///
    /// `confirm` runs just before the commit, in a transaction on `other` that is committed after it: for a row that
    /// another connection keeps writing, such as a run's with its heartbeat, which could not be written on the snapshot.
    /// `other` is another connection on PostgreSQL; SQLite has one writer, and needs none.
    pub async fn transaction_on_snapshot<T>(
        &mut self,
        mut other: Option<&mut Self>,
        work: impl AsyncFn(&mut Self) -> anyhow::Result<T>,
        confirm: impl AsyncFn(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<T> {
        let mut attempt = 1;
        loop {
            self.begin(self.pick("BEGIN IMMEDIATE", "BEGIN ISOLATION LEVEL REPEATABLE READ")).await?;
            let result = work(self).await;
            match (result, &mut other) {
                (Err(error), _) if is_conflict(&error) && attempt < SNAPSHOT_ATTEMPTS => {
                    self.roll_back().await;
                    if self.in_transaction {
                        return Err(error);
                    }
                    attempt += 1;
                }
                (Ok(value), Some(other)) => {
                    let confirmed = async |other: &mut Self| {
                        confirm(other).await?;
                        self.commit().await
                    };
                    let confirmed = other.transaction(confirmed).await;
                    if self.in_transaction {
                        self.roll_back().await;
                    }
                    return confirmed.map(|()| value);
                }
                (Ok(value), None) => {
                    let confirmed = confirm(self).await.map(|()| value);
                    return self.end(confirmed).await;
                }
                (Err(error), _) => return self.end(Err(error)).await,
            }
        }
    }

    async fn begin(&mut self, statement: &str) -> anyhow::Result<()> {
        anyhow::ensure!(!self.in_transaction, "a transaction is already open on this connection");
        self.script(statement).await?;
        self.in_transaction = true;
        Ok(())
    }

    /// Commits if the transaction's work succeeded, otherwise rolls back.
    async fn end<T>(&mut self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        match result {
            Ok(value) => self.commit().await.map(|()| value),
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        let committed = self.script("COMMIT").await;
        if committed.is_err() {
            // A failed commit leaves SQLite's transaction open (disk full, busy).
            self.roll_back().await;
        } else {
            self.in_transaction = false;
        }
        Ok(committed?)
    }

    /// Rolls back a failed transaction. A failure to do so adds nothing to the error that led here: the connection is
    /// lost, the database ends its transaction on its own, and the flag stays set so that the connection is not used
    /// again. SQLite rolls back automatically on a full disk; a second ROLLBACK then fails harmlessly.
    async fn roll_back(&mut self) {
        let rolled_back = self.script("ROLLBACK").await;
        self.in_transaction = match (&self.conn, rolled_back) {
            (_, Ok(())) => false,
            (Conn::Sqlite(_), Err(error)) => !error.to_string().contains("no transaction is active"),
            (Conn::Postgres(_), Err(_)) => true,
        };
    }
}

/// Whether others wrote what a transaction on a snapshot wanted to write.
fn is_conflict(error: &anyhow::Error) -> bool {
    error.downcast_ref::<DbError>().is_some_and(DbError::is_conflict)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::db::Kind;
    use crate::db::testing::{TestDb, on_both_databases};
    use crate::values;

    on_both_databases![
        work_on_a_snapshot_does_not_see_what_is_committed_meanwhile,
        work_on_a_snapshot_starts_over_if_others_wrote_the_same_row,
        what_is_not_confirmed_is_not_committed,
    ];

    const COUNT: &str = "SELECT COUNT(*) FROM report_revisions";
    const RAISE: &str = "UPDATE report_revisions SET revision = revision + 1";

    /// A revision of a report's figures of this day of November.
    fn insertion(day: u32) -> String {
        format!(
            "INSERT INTO report_revisions (report, period_day, revision, revised_at)
             VALUES ('daily-sales', '2026-11-{day}', 1, '2026-11-20T00:00:00+00:00')"
        )
    }

    async fn count(db: &mut Db) -> i64 {
        let (count,): (i64,) = db.fetch_one(COUNT, values![]).await.unwrap();
        count
    }

    async fn work_on_a_snapshot_does_not_see_what_is_committed_meanwhile(db: &mut TestDb) {
        let mut other = db.another().await;
        let counts = db
            .read_on_snapshot(async |db| {
                let before = count(db).await;
                other.script(&insertion(18)).await?;
                Ok((before, count(db).await))
            })
            .await
            .unwrap();
        assert_eq!((counts, count(db).await), ((0, 0), 1));
    }

    async fn work_on_a_snapshot_starts_over_if_others_wrote_the_same_row(db: &mut TestDb) {
        db.script(&insertion(18)).await.unwrap();
        let attempts = AtomicU32::new(0);
        let mut revised = db.another().await;
        let mut other = db.another().await;
        let revised = tokio::sync::Mutex::new(&mut revised);
        let kind = db.kind();
        let work = async |db: &mut Db| {
            let before = count(db).await;
            // SQLite has one writer at a time.
            if attempts.fetch_add(1, Ordering::Relaxed) == 0 && kind == Kind::Postgres {
                revised.lock().await.script(RAISE).await?;
            }
            db.script(RAISE).await?;
            Ok(before)
        };
        let confirming = match kind {
            Kind::Sqlite => None,
            Kind::Postgres => Some(&mut other),
        };
        let confirm = async |db: &mut Db| Ok(db.script(&insertion(19)).await?);
        db.transaction_on_snapshot(confirming, work, confirm).await.unwrap();
        let revisions = db.sql("SELECT revision FROM report_revisions ORDER BY period_day").await;
        match kind {
            Kind::Sqlite => assert_eq!(
                (attempts.into_inner(), revisions),
                (1, vec![vec!["2".to_owned()], vec!["1".to_owned()]])
            ),
            Kind::Postgres => assert_eq!(
                (attempts.into_inner(), revisions),
                (2, vec![vec!["3".to_owned()], vec!["1".to_owned()]])
            ),
        }
    }

    async fn what_is_not_confirmed_is_not_committed(db: &mut TestDb) {
        let mut other = db.another().await;
        let confirming = match db.kind() {
            Kind::Sqlite => None,
            Kind::Postgres => Some(&mut other),
        };
        let work = async |db: &mut Db| Ok(db.script(&insertion(18)).await?);
        let confirm = async |_: &mut Db| anyhow::bail!("the lease is lost");
        let refused = db.transaction_on_snapshot(confirming, work, confirm).await;
        assert_eq!(refused.unwrap_err().to_string(), "the lease is lost");
        assert!(!db.is_in_transaction());
        assert_eq!(count(db).await, 0);
    }
}
