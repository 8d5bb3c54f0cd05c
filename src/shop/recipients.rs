//! Which members may receive a mail: shared by the jobs that queue mails to customers.
//!
//! The jobs' queries leave out members who withdrew, requested erasure or do not consent; this module leaves out, page
//! by page, those whose address is invalid or suppressed.

use std::collections::HashSet;

use lettre::message::Mailbox;
use serde_json::json;

use crate::address;
use crate::config::Config;
use crate::db::{Db, Problems};
use crate::locale::{Locale, locale_of};
use crate::values;

/// Members read and mails queued in one commit. With texts and HTML of a few KB each this holds a few MiB in memory,
/// and a stop takes effect within a fraction of a second.
pub const PAGE: i64 = 250;

/// The condition on a member `m` who may be sent advertising, consent aside.
pub const ACTIVE_MEMBER: &str =
    "m.status = 'ACTIVE' AND m.withdrawn_at IS NULL AND m.erasure_requested_at IS NULL AND m.email <> ''";
/// The condition on a member `m` who has to be informed about a contract.
pub const MEMBER_UNDER_CONTRACT: &str =
    "m.status <> 'WITHDRAWN' AND m.withdrawn_at IS NULL AND m.erasure_requested_at IS NULL AND m.email <> ''";

/// The condition on a member `m` who agrees to mail for this purpose; `by_silence` is the answer for one who said nothing.
/// A subquery and not a join:
/// a planner that knows nothing of the table may read all consents of the mall for each member of a page.
pub fn agrees_to(purpose: &str, by_silence: &str) -> String {
    format!(
        "COALESCE((SELECT k.is_granted FROM mail_consents k
                   WHERE k.mall_id = m.mall_id AND k.member_code = m.member_code AND k.purpose = '{purpose}'), {by_silence})"
    )
}

/// What a mail means to its recipient, which decides which suppressions stop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Something they have to know: only a suppression of all mail stops it.
    Contract,
    /// Advertising.
    Advertising,
}

/// Whether advertising goes to a member who neither agreed nor refused.
pub fn assumes_consent(config: &Config) -> bool {
    config.mail().consent.takes_silence_for_consent()
}

/// The language of a member: their own, otherwise another known one (such as their cart's), otherwise the configured
/// one.
pub fn language(config: &Config, own: Option<&str>, fallback: Option<&str>) -> Locale {
    [own, fallback].into_iter().flatten().find_map(locale_of).unwrap_or_else(|| config.locale())
}

/// The condition on a member `m` whose language, as [`language`] finds it without a fallback, is this one.
pub fn reads(wanted: Locale, configured: Locale) -> String {
    let is = |locale: Locale| {
        format!(
            "(LOWER(SUBSTR(TRIM(m.locale), 1, 2)) = '{locale}' AND SUBSTR(TRIM(m.locale), 3, 1) IN ('', '-', '_', '.', '@'))"
        )
    };
    if wanted != configured {
        return is(wanted);
    }
    let others: Vec<String> = Locale::ALL.into_iter().filter(|locale| *locale != wanted).map(is).collect();
    format!("COALESCE(NOT ({}), TRUE)", others.join(" OR "))
}

/// Somebody on a page of a job's query.
pub trait Addressed {
    /// The code of their mall.
    fn mall_code(&self) -> &str;
    /// The item's key within the mall.
    fn key(&self) -> &str;
    /// The address as stored.
    fn email(&self) -> &str;
    /// What cannot be read of its row.
    fn problems(&self) -> &Problems;
}

/// The key of an item in the history, if it is skipped.
pub fn item_key<T: Addressed>(one: &T) -> String {
    format!("{}/{}", one.mall_code(), one.key())
}

/// A page with its addresses parsed.
pub struct Parsed<T> {
    /// Those with an address.
    pub found: Vec<(T, Mailbox)>,
    /// The keys of those without, and what is wrong.
    pub unusable: Vec<(String, String)>,
}

/// Parses the addresses of a page.
pub fn parse_addresses<T: Addressed>(page: Vec<T>) -> Parsed<T> {
    let mut found = Vec::with_capacity(page.len());
    let mut unusable = Vec::new();
    for one in page {
        match address::parse(one.email()) {
            Ok(mailbox) => found.push((one, mailbox)),
            Err(problem) => unusable.push((item_key(&one), problem.to_string())),
        }
    }
    Parsed { found, unusable }
}

/// Drops those whose address must get no mail for this purpose.
pub async fn drop_suppressed<T>(
    db: &mut Db,
    recipients: &mut Vec<(T, Mailbox)>,
    purpose: Purpose,
) -> anyhow::Result<()> {
    let spellings = |mailbox: &Mailbox| address::spellings(&address::normalised(mailbox));
    let addresses: Vec<String> = recipients.iter().flat_map(|(_, mailbox)| spellings(mailbox)).collect();
    let suppressed = suppressed(db, &addresses, purpose).await?;
    recipients.retain(|(_, mailbox)| !spellings(mailbox).any(|address| suppressed.contains(&address)));
    Ok(())
}

/// The addresses that must get no mail for this purpose.
async fn suppressed(db: &mut Db, addresses: &[String], purpose: Purpose) -> anyhow::Result<HashSet<String>> {
    if addresses.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = format!(
        "SELECT address FROM mail_suppressions WHERE address IN {} AND NOT is_held AND (scope = 'ALL' OR $2)",
        db.elements("$1")
    );
    let found: Vec<(String,)> =
        db.fetch_all(&sql, values![json!(addresses), purpose == Purpose::Advertising]).await?;
    Ok(found.into_iter().map(|(address,)| address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::{TestDb, now, on_both_databases};

    on_both_databases![
        who_is_suppressed_gets_nothing_unless_that_is_held,
        a_member_reads_the_same_language_in_a_query_and_in_a_program,
    ];

    async fn a_member_reads_the_same_language_in_a_query_and_in_a_program(db: &mut TestDb) {
        let locales = [
            None,
            Some(""),
            Some("ko"),
            Some(" KO "),
            Some("ko-KR"),
            Some("ko_KR.UTF-8"),
            Some("ko@hanja"),
            Some("kok-IN"),
            Some("k"),
            Some("ja_JP"),
            Some("en"),
            Some("fr"),
        ];
        for configured in Locale::ALL {
            for wanted in Locale::ALL {
                let sql = format!(
                    "SELECT COALESCE({}, FALSE) FROM (SELECT CAST($1 AS TEXT) AS locale) m",
                    reads(wanted, configured)
                );
                for locale in locales {
                    let (is_read,): (bool,) = db.fetch_one(&sql, values![locale]).await.unwrap();
                    let expected = locale.and_then(locale_of).unwrap_or(configured) == wanted;
                    assert_eq!(is_read, expected, "{locale:?} {wanted} {configured}");
                }
            }
        }
    }

    async fn who_is_suppressed_gets_nothing_unless_that_is_held(db: &mut TestDb) {
        for (address, scope, is_held) in [
            ("all@example.jp", "ALL", false),
            ("marketing@example.jp", "MARKETING", false),
            ("held@example.jp", "ALL", true),
            ("national@日本.jp", "ALL", false),
        ] {
            let sql = "INSERT INTO mail_suppressions (address, scope, reason, is_held, created_at)
                       VALUES ($1, $2, 'BOUNCE', $3, $4)";
            db.execute(sql, values![address, scope, is_held, now()]).await.unwrap();
        }
        for (purpose, left) in [
            (Purpose::Advertising, &["held@example.jp", "other@example.jp"][..]),
            (Purpose::Contract, &["marketing@example.jp", "held@example.jp", "other@example.jp"]),
        ] {
            let names = ["all", "marketing", "held", "other"].map(|name| format!("{name}@example.jp"));
            let all = names.into_iter().chain(["National@xn--wgv71a.jp".to_owned()]);
            let mut recipients: Vec<((), Mailbox)> =
                all.map(|address| ((), address::parse(&address).unwrap())).collect();
            drop_suppressed(db, &mut recipients, purpose).await.unwrap();
            let kept: Vec<String> =
                recipients.iter().map(|((), mailbox)| mailbox.email.to_string()).collect();
            assert_eq!(kept, left, "{purpose:?}");
        }
    }
}
