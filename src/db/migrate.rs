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
