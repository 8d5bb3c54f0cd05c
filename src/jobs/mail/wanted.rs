//! Whether a mail is still wanted: suppressions and the member's consent.

use std::collections::HashMap;

use serde_json::json;

use crate::address::spellings;
use crate::config::ConsentRule;
use crate::db::Db;
use crate::mail::advertising::CONSENT_NOTICE;
use crate::values;

/// Why some of these mails, each with its normalised address, are no longer wanted, by mail: the address is suppressed, or
/// the member withdrew, requested erasure or refused; a notice that confirms a consent is pointless without one. Checked
/// right before sending, because much may change while a mail waits.
pub(super) async fn unwanted(
    db: &mut Db,
    mails: &[(i64, String)],
    consent: ConsentRule,
) -> anyhow::Result<HashMap<i64, String>> {
    let spelled =
        mails.iter().flat_map(|(id, address)| spellings(address).map(move |address| (*id, address)));
    let pairs: Vec<_> = spelled.map(|(id, address)| json!({ "id": id, "address": address })).collect();
    let given = db.pick(
        "SELECT value ->> 'id' AS id, value ->> 'address' AS address FROM json_each($1)",
        "SELECT CAST(value ->> 'id' AS BIGINT) AS id, value ->> 'address' AS address FROM jsonb_array_elements($1)",
    );
    // The address may be suppressed for several reasons, of which one is enough.
    let sql = format!(
        "WITH given AS ({given})
         SELECT given.id, 'suppressed: ' || MIN(suppressed.reason) AS because
         FROM given JOIN mails ON mails.id = given.id
         JOIN mail_suppressions suppressed ON suppressed.address = given.address
         WHERE NOT suppressed.is_held
           AND (suppressed.scope = 'ALL' OR mails.category = 'MARKETING' OR mails.kind = '{CONSENT_NOTICE}')
         GROUP BY given.id
         UNION ALL
         SELECT given.id, CASE WHEN member.erasure_requested_at IS NOT NULL THEN 'the member asked to be forgotten'
                               WHEN member.status = 'WITHDRAWN' THEN 'the member has withdrawn'
                               WHEN mails.category <> 'MARKETING' THEN 'the member has withdrawn the consent'
                               ELSE 'the member has not agreed to advertising' END
         FROM given JOIN mails ON mails.id = given.id
         JOIN members member ON member.mall_id = mails.mall_id AND member.member_code = mails.member_code
         LEFT JOIN mail_consents consent ON consent.mall_id = mails.mall_id AND consent.member_code = mails.member_code
              AND consent.purpose = CASE WHEN mails.kind = 'digest' THEN 'DIGEST' ELSE 'MARKETING' END
         WHERE member.erasure_requested_at IS NOT NULL
            OR (mails.category = 'MARKETING'
                AND (member.status = 'WITHDRAWN' OR NOT COALESCE(consent.is_granted, $2)))
            OR (mails.kind = '{CONSENT_NOTICE}'
                AND (member.status = 'WITHDRAWN'
                     OR NOT EXISTS (SELECT 1 FROM mail_consents agreed
                                    JOIN consent_notices named
                                      ON named.mall_id = agreed.mall_id AND named.member_code = agreed.member_code
                                         AND named.purpose = agreed.purpose AND named.created_at = mails.queued_at
                                    WHERE agreed.mall_id = mails.mall_id AND agreed.member_code = mails.member_code
                                      AND agreed.is_granted)))"
    );
    let found: Vec<(i64, String)> = db
        .fetch_all(&sql, values![serde_json::Value::from(pairs), consent.takes_silence_for_consent()])
        .await?;
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address;
    use crate::db::testing::{TestDb, now, on_both_databases};

    on_both_databases![
        a_suppression_counts_however_its_domain_is_written,
        a_suppressed_address_has_no_white_space_around_it
    ];

    /// What docs/mail.md tells the shop's web application to do.
    async fn suppress(db: &mut TestDb, address: &str) -> Result<u64, crate::db::DbError> {
        let sql = "INSERT INTO mail_suppressions (address, scope, reason, created_at) VALUES ($1, 'ALL', 'UNSUBSCRIBE', $2)";
        db.execute(sql, values![address, now()]).await
    }

    async fn a_suppression_counts_however_its_domain_is_written(db: &mut TestDb) {
        for (recipient, suppressed) in [
            ("one@日本.jp", "one@日本.jp"),
            ("two@xn--wgv71a.jp", "two@日本.jp"),
            ("three@日本.jp", "three@xn--wgv71a.jp"),
            ("Four@Example.JP", "four@example.jp"),
            ("five@example.jp", "other@example.jp"),
        ] {
            suppress(db, suppressed).await.unwrap();
            let sql = "INSERT INTO mails (kind, recipient, subject, text_body, due_at, queued_at)
                       VALUES ('notice', $1, 's', 't', $2, $2) RETURNING id";
            let (id,): (i64,) = db.fetch_one(sql, values![recipient, now()]).await.unwrap();
            let mails = [(id, address::normalised(&address::parse(recipient).unwrap()))];
            let because = unwanted(db, &mails, ConsentRule::OptOut).await.unwrap().remove(&id);
            let expected = (recipient != "five@example.jp").then(|| "suppressed: UNSUBSCRIBE".to_owned());
            assert_eq!(because, expected, "{recipient}");
        }
    }

    async fn a_suppressed_address_has_no_white_space_around_it(db: &mut TestDb) {
        for address in [" a@example.jp", "a@example.jp\n", "\u{3000}a@example.jp", "\ta@example.jp"] {
            let error = suppress(db, address).await.unwrap_err();
            assert_eq!(error.kind(), crate::db::DbErrorKind::Constraint, "{address:?}");
        }
        suppress(db, "\"hanako yamada\"@example.jp").await.unwrap();
    }
}
