//! The schema's migrations, embedded for both databases, and the stamp that says which environment a database is.

use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::migrate::Migrator;

use super::{Conn, Db, DbError, DbErrorKind};
use crate::values;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// What a database says of itself before any work is done on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The newest migration it has; `None` if it has none of ours.
    pub version: Option<i64>,
    /// The environment it is stamped with.
    pub environment: Option<String>,
}

/// The newest migration this program carries.
pub fn latest_version() -> i64 {
    POSTGRES.iter().map(|migration| migration.version).max().unwrap_or(0)
}

impl Db {
    /// Reads the schema's version and the environment's stamp in one statement, the first on every connection.
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

    /// Applies the migrations that are missing and stamps the environment if nobody has yet. Several processes
    /// may do this at once: one works, the others wait and find it done.
    pub async fn migrate(&mut self, environment: &str, now: DateTime<Utc>) -> anyhow::Result<()> {
        match &mut self.conn {
            // The migrator's own lock is a no-op on SQLite: hold the write lock over the whole of it, so that
            // hundreds of first starts at once make one schema. Its transactions become savepoints of this one.
            Conn::Sqlite(connection) => {
                let mut transaction = connection
                    .begin_with("BEGIN IMMEDIATE")
                    .await
                    .map_err(|error| DbError::query(&error, "BEGIN IMMEDIATE"))?;
                SQLITE.run(&mut *transaction).await.map_err(|error| DbError::migration(&error))?;
                transaction.commit().await.map_err(|error| DbError::query(&error, "COMMIT"))?;
            }
            Conn::Postgres(connection) => {
                POSTGRES.run(&mut *connection).await.map_err(|error| DbError::migration(&error))?;
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
