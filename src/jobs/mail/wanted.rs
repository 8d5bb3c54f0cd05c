//! Whether a mail is still wanted: suppressions and the member's consent.

use std::collections::HashMap;

use serde_json::json;

use crate::config::ConsentRule;
use crate::db::Db;
use crate::values;

/// Why some of these mails, each with its normalised address, are no longer wanted, by mail: the address is suppressed, or
/// the member withdrew, requested erasure or refused. Checked right before sending, because much may change while a mail
/// waits.
pub(super) async fn unwanted(
    db: &mut Db,
    mails: &[(i64, String)],
    consent: ConsentRule,
) -> anyhow::Result<HashMap<i64, String>> {
    let pairs: Vec<_> = mails.iter().map(|(id, address)| json!({ "id": id, "address": address })).collect();
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
         WHERE NOT suppressed.is_held AND (suppressed.scope = 'ALL' OR mails.category = 'MARKETING')
         GROUP BY given.id
         UNION ALL
         SELECT given.id, CASE WHEN member.erasure_requested_at IS NOT NULL THEN 'the member asked to be forgotten'
                               WHEN member.status = 'WITHDRAWN' THEN 'the member has withdrawn'
                               ELSE 'the member has not agreed to advertising' END
         FROM given JOIN mails ON mails.id = given.id
         JOIN members member ON member.mall_id = mails.mall_id AND member.member_code = mails.member_code
         LEFT JOIN mail_consents consent ON consent.mall_id = mails.mall_id AND consent.member_code = mails.member_code
              AND consent.purpose = CASE WHEN mails.kind = 'digest' THEN 'DIGEST' ELSE 'MARKETING' END
         WHERE member.erasure_requested_at IS NOT NULL
            OR (mails.category = 'MARKETING'
                AND (member.status = 'WITHDRAWN' OR NOT COALESCE(consent.is_granted, $2)))"
    );
    let found: Vec<(i64, String)> = db
        .fetch_all(&sql, values![serde_json::Value::from(pairs), consent.takes_silence_for_consent()])
        .await?;
    Ok(found.into_iter().collect())
}
