//! Members: a line each.

use chrono::{DateTime, Utc};

use crate::db::Db;

use super::field::{Column, Fields, Layout, Parsed, optional, required};
use super::kind::{BadLine, FileKind, Rows, present};
use super::reader::Record;
use super::upsert::{MATCH_COLUMNS, Outcome, Upsert};

/// Members.
pub(super) struct Members;

const MEMBER_CODE: usize = 1;
const STATUS: usize = 2;
const SIGNED_UP_AT: usize = 3;
const EMAIL: usize = 4;
const NAME: usize = 5;
const PHONE: usize = 6;
const LOCALE: usize = 7;
const CHANNEL: usize = 8;
const CONFIRMED_AT: usize = 9;
const WITHDRAWN_AT: usize = 10;
const UPDATED_AT: usize = 11;

const STATUSES: &[&str] = &["UNCONFIRMED", "ACTIVE", "WITHDRAWN"];

const STAGING: &[&str] = &[
    "line_count",
    "mall_id",
    "member_code",
    "status",
    "signed_up_at",
    "email",
    "name",
    "phone",
    "locale",
    "channel",
    "confirmed_at",
    "withdrawn_at",
    "source_updated_at",
];

impl FileKind for Members {
    const COLUMNS: &'static [Column] = &[
        optional("mall"),
        required("member_code"),
        required("status"),
        required("signed_up_at"),
        optional("email"),
        optional("name"),
        optional("phone"),
        optional("locale"),
        optional("channel"),
        optional("confirmed_at"),
        optional("withdrawn_at"),
        optional("updated_at"),
    ];
    const NOUNS: (&'static str, &'static str) = ("member", "members");
    const MOST_LINES: usize = 1;
    const LOOKS_UP: bool = false;

    fn staging() -> &'static [(&'static str, &'static [&'static str])] {
        &[("import_members", STAGING)]
    }

    fn key<'r>(fields: &Fields<'r>) -> (&'r str, &'r str) {
        (fields.meant(MEMBER_CODE), "")
    }

    fn read(layout: &Layout, lines: &[Record], mut rows: Option<&mut Rows>) -> Result<(), Vec<BadLine>> {
        for record in lines {
            read_member(layout.fields(record), rows.as_deref_mut())
                .map_err(|problem| vec![BadLine { line: record.line(), problem }])?;
        }
        Ok(())
    }

    async fn prepare(db: &mut Db) -> anyhow::Result<()> {
        let (time, emptied) = db.pick(("TEXT", ""), ("TIMESTAMPTZ", "ON COMMIT DELETE ROWS"));
        Ok(db
            .script(&format!(
                "CREATE TEMP TABLE IF NOT EXISTS import_members (
                     line_count BIGINT, mall_id BIGINT, member_code TEXT, status TEXT, signed_up_at {time}, email TEXT,
                     name TEXT, phone TEXT, locale TEXT, channel TEXT, confirmed_at {time}, withdrawn_at {time},
                     source_updated_at {time}, {MATCH_COLUMNS}) {emptied}"
            ))
            .await?)
    }

    async fn store(db: &mut Db, layout: &Layout, now: DateTime<Utc>) -> anyhow::Result<Outcome> {
        let replaced = [
            (STATUS, "status"),
            (SIGNED_UP_AT, "signed_up_at"),
            (EMAIL, "email"),
            (NAME, "name"),
            (PHONE, "phone"),
            (LOCALE, "locale"),
            (CHANNEL, "channel"),
            (CONFIRMED_AT, "confirmed_at"),
            (WITHDRAWN_AT, "withdrawn_at"),
        ];
        let members = Upsert {
            table: "members",
            staging: "import_members",
            key: &["mall_id", "member_code"],
            columns: &STAGING[3..],
            replaced: present(layout, &replaced),
            has_source_time: true,
            gives_ids: false,
        };
        members.match_stored(db).await?;
        let outcome = members.count(db).await?;
        members.insert_new(db, outcome.new, now).await?;
        members.update_changed(db, outcome.changed, now).await?;
        Ok(outcome)
    }
}

fn read_member(fields: Fields<'_>, rows: Option<&mut Rows>) -> Parsed<()> {
    let shop = fields.shop()?;
    let member_code = fields.text(MEMBER_CODE)?;
    let status = fields.word(STATUS, STATUSES)?;
    let signed_up_at = fields.time(SIGNED_UP_AT, shop)?;
    let email = fields.optional_text(EMAIL)?;
    let name = fields.optional_text(NAME)?;
    let phone = fields.optional_text(PHONE)?;
    let locale = fields.optional_text(LOCALE)?;
    let channel = fields.optional_text(CHANNEL)?;
    let confirmed_at = fields.optional_time(CONFIRMED_AT, shop)?;
    let withdrawn_at = fields.optional_time(WITHDRAWN_AT, shop)?;
    let source_updated_at = fields.optional_time(UPDATED_AT, shop)?;
    let Some(rows) = rows else { return Ok(()) };
    let load = &mut rows.loads[0];
    load.int(1);
    load.int(shop.id);
    load.text(member_code);
    load.text(status);
    load.time(signed_up_at);
    load.text(email);
    load.text(name);
    load.text(phone);
    load.text(locale);
    load.text(channel);
    load.time(confirmed_at);
    load.time(withdrawn_at);
    load.time(source_updated_at);
    load.end_row();
    Ok(())
}
