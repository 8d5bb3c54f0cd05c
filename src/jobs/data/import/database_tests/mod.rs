//! What an import stores in the tables: files are read and stored as a run does it, but without a process or a run.

mod contents;
mod mapping;
mod updates;

use std::collections::BTreeMap;

use super::container::Content;
use super::feed::{FeedMessage, Pass, duplicate_problem};
use super::kind::{BadLine, Rows};
use super::second_pass::Loaded;
use super::*;
use crate::config::Quotes;
use crate::db::testing::TestDb;
use chrono::{DateTime, Utc};

/// When files are imported, unless a test says otherwise.
const IMPORTED: &str = "2026-11-19T16:00:00+00:00";
/// A day after the first import.
const LATER: &str = "2026-11-21T00:00:00+00:00";

/// A file with these lines after its header.
fn file(header: &str, lines: &[&str]) -> String {
    let lines: Vec<&str> = std::iter::once(header).chain(lines.iter().copied()).collect();
    lines.join("\n") + "\n"
}

/// Imports a file: the sentence that a run ends with, or which lines are bad and why. A file without a column `mall`
/// belongs to `tokyo`, as with `--mall tokyo`.
async fn import(db: &mut TestDb, kind: &str, text: &str, now: &str) -> Result<String, Vec<String>> {
    import_as(db, kind, &ImportSection::default(), text, now).await
}

/// The same with a mapping.
async fn import_as(
    db: &mut TestDb,
    kind: &str,
    mapping: &ImportSection,
    text: &str,
    now: &str,
) -> Result<String, Vec<String>> {
    let now = crate::db::testing::at(now);
    match kind {
        "orders" => import_kind::<orders::Orders>(db, kind, mapping, text, now).await,
        "members" => import_kind::<members::Members>(db, kind, mapping, text, now).await,
        "products" => import_kind::<products::Products>(db, kind, mapping, text, now).await,
        "refunds" => import_kind::<refunds::Refunds>(db, kind, mapping, text, now).await,
        "carts" => import_kind::<carts::Carts>(db, kind, mapping, text, now).await,
        "coupons" => import_kind::<coupons::Coupons>(db, kind, mapping, text, now).await,
        "subscriptions" => import_kind::<subscriptions::Subscriptions>(db, kind, mapping, text, now).await,
        "articles" => import_kind::<articles::Articles>(db, kind, mapping, text, now).await,
        "consents" => import_kind::<consents::Consents>(db, kind, mapping, text, now).await,
        _ => panic!("`{kind}` is not a kind of file"),
    }
}

async fn import_kind<K: FileKind>(
    db: &mut TestDb,
    kind: &str,
    mapping: &ImportSection,
    text: &str,
    now: DateTime<Utc>,
) -> Result<String, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.csv");
    std::fs::write(&path, text).unwrap();
    let source = Source {
        content: Content::of(&path),
        encoding: TextEncoding::Utf8,
        delimiter: b',',
        quotes: Quotes::Enclose,
    };
    let (_, header) = source.open().unwrap();
    let malls = db.malls().await;
    let mall = (!header.iter().any(|name| name == "mall")).then(|| "tokyo".to_owned());
    let kind = Kind::ALL.iter().find(|one| one.name() == kind).unwrap();
    let mapping = Mapping::plain(*kind, mapping.clone());
    let layout = Layout::new(&mapping, "file.csv", &header, K::columns(), &malls, mall).unwrap();
    let file = ImportedFile {
        name: "file.csv".to_owned(),
        source,
        layout: Arc::new(layout),
        wanted: None,
        short_hash: String::new(),
        origin: String::new(),
        exported: now,
        interpretation: String::new(),
        noted: None,
        noted_before: None,
        other_parts_since: None,
        arriving: None,
        // Most of the files are loaded in several chunks.
        chunk_lines: 2,
    };
    prepare::<K>(db).await.unwrap();
    checked::<K>(db, &file).await?;
    Ok(loaded::<K>(db, &file, now).await.sentence::<K>())
}

/// The first pass; the bad lines, if there are any.
async fn checked<K: FileKind>(db: &mut TestDb, file: &ImportedFile) -> Result<(), Vec<String>> {
    let mut bad = Vec::new();
    let mut feed = file.feed::<K>(Pass::Check, db);
    loop {
        match feed.next().await.unwrap() {
            FeedMessage::Chunk(mut chunk) => {
                bad.extend(chunk.bad);
                if K::LOOKS_UP {
                    chunk.rows.stage(db).await.unwrap();
                    bad.extend(K::look_up(db).await.unwrap());
                }
            }
            FeedMessage::End(end) => {
                let twice = end.duplicates.iter();
                bad.extend(twice.map(|(line, other)| BadLine::new(*line, duplicate_problem::<K>(*other))));
                break;
            }
        }
    }
    if bad.is_empty() {
        return Ok(());
    }
    Err(bad.into_iter().map(|bad| format!("{}: {}", bad.line, bad.text())).collect())
}

/// The second pass, a transaction for each chunk.
async fn loaded<K: FileKind>(db: &mut TestDb, file: &ImportedFile, now: DateTime<Utc>) -> Loaded {
    let mut loaded = Loaded::default();
    let mut feed = file.feed::<K>(Pass::Load { duplicates: BTreeMap::new(), done_lines: 0 }, db);
    while let FeedMessage::Chunk(mut chunk) = feed.next().await.unwrap() {
        loaded.lines += chunk.lines;
        if chunk.rows.is_empty() {
            continue;
        }
        if K::LOOKS_UP {
            chunk.rows.stage(db).await.unwrap();
            assert_eq!(K::look_up(db).await.unwrap(), []);
        }
        let storing = db.transaction(async |db| {
            if !K::LOOKS_UP {
                chunk.rows.stage(db).await?;
            }
            K::store(db, &file.layout, now).await
        });
        loaded.outcome.add(storing.await.unwrap());
    }
    loaded
}

/// Imports a file that is good.
async fn import_good(db: &mut TestDb, kind: &str, header: &str, lines: &[&str]) {
    import(db, kind, &file(header, lines), IMPORTED).await.unwrap();
}

/// The rows of a query, one line each, in byte order: the two databases sort texts differently.
async fn rows(db: &mut TestDb, sql: &str) -> Vec<String> {
    let mut rows: Vec<String> = db.sql(sql).await.into_iter().map(|row| row.join(" | ")).collect();
    rows.sort();
    rows
}

async fn with_tokyo(db: &mut TestDb) {
    db.mall("tokyo", "Asia/Tokyo", "JPY").await;
}

/// Malls with yen, dollars and won.
async fn with_malls(db: &mut TestDb) {
    with_tokyo(db).await;
    db.mall("ny", "America/New_York", "USD").await;
    db.mall("seoul", "Asia/Seoul", "KRW").await;
}

/// The table of a kind.
fn table(kind: &str) -> &str {
    if kind == "consents" { "mail_consents" } else { kind }
}
