//! A shop whose customers get mails: members, and short templates that show every value of a mail.

use std::ops::Deref;

use super::as_text::literal;
use super::database::Database;
use super::process::Batchctl;
use super::rows::{Mall, Member};
use super::sandbox::Arranged;
use super::shop::Shop;

/// A text that shows the values of a mail on one line; the subject names the language.
const TEMPLATES: [(&str, &str); 4] = [
    (
        "cart-reminder",
        "{{ member_name or '-' }}: {% for item in items %}{{ item.quantity }} {{ item.name }} at {{ item.unit_price_amount }} \
         {{ item.currency }}, {% endfor %}{{ coupon.code ~ ' ' ~ coupon.description ~ ' ' ~ (coupon.expires_day or '-') if coupon \
         else 'no coupon' }}, {{ cart_url or '-' }}\n{{ unsubscribe_url }}\n",
    ),
    (
        "payment-notice",
        "{{ member_name or '-' }}: {{ plan_name }}, {{ amount }} {{ currency }} on {{ charge_day }}, {{ days_left }} left, \
         {{ card_last4 or '-' }} {{ payment_method or '-' }}, {{ manage_url or '-' }} {{ cancel_by_day or '-' }}\n",
    ),
    (
        "digest",
        "{{ member_name or '-' }}: {% for article in articles %}{{ article.title }} = {{ article.summary }} {{ article.url }}, \
         {% endfor %}{{ subscribe_url if is_free else 'subscriber' }}\n{{ unsubscribe_url }}\n",
    ),
    (
        "consent-notice",
        "{{ member_name or '-' }}: {% for consent in consents %}{{ consent.purpose }} {{ consent.day }}, {% endfor %}\
         {{ years }} years\n{{ shop.name }}, 수신 거부, unsubscribe: {{ unsubscribe_url }}\n",
    ),
];

const CONFIG: &str = "[mail]\ntemplate_dir = 'mails'\n\
                      [mail.shop]\naddress = '1-2-3 Minatocho, Yokohama'\nphone = '02-1234-5678'\n\
                      [mail.unsubscribe]\nurl = 'https://shop.example.jp/unsubscribe?t={token}'\n\
                      [digest]\nsubscribe_url = 'https://shop.example.jp/subscribe'\n";

/// Members who get no advertising, whatever they agreed to.
pub(crate) const UNREACHABLE: [&str; 7] = [
    "withdrawn",
    "withdrawn-at",
    "unconfirmed",
    "to-be-forgotten",
    "without-address",
    "suppressed",
    "unsubscribed",
];

/// A shop with the mall `tokyo`.
pub(crate) struct Customers {
    shop: Shop,
    pub(crate) mall: Mall,
}

impl Deref for Customers {
    type Target = Shop;

    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl Arranged for Customers {
    fn on(database: Database) -> Self {
        let shop = Shop::on(database);
        let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
        for (name, text) in TEMPLATES {
            let category = if name.ends_with("-notice") { "transactional" } else { "marketing" };
            for locale in ["en", "ja", "ko"] {
                let front = format!(
                    "+++\nsubject = \"{name} in {locale}\"\ndescription = \"a test\"\ncategory = \"{category}\"\n\
                     owner = \"tests\"\n+++\n"
                );
                shop.write(&format!("mails/{name}.{locale}.txt"), front + text);
            }
        }
        shop.write("batchctl.toml", CONFIG);
        Self { shop, mall }
    }
}

impl Customers {
    /// A command with the secret that signs unsubscription links.
    pub(crate) fn job(&self, words: &[&str]) -> Batchctl {
        self.batchctl(words).env("BATCHCTL_SECRET_KEY", "a key of this test, 32 bytes long")
    }

    /// Appends further sections to the configuration.
    pub(crate) fn configure(&self, more: &str) {
        self.write("batchctl.toml", format!("{CONFIG}{more}"));
    }

    /// An active member of `tokyo` whose address is CODE@example.jp.
    #[track_caller]
    pub(crate) fn member(&self, code: &str) {
        self.member_of(self.mall, code);
    }

    /// An active member of a mall.
    #[track_caller]
    pub(crate) fn member_of(&self, mall: Mall, code: &str) {
        let email = format!("{code}@example.jp");
        let (name, email) = (Some(code), Some(email.as_str()));
        self.shop.member(Member {
            mall,
            code,
            name,
            email,
            signed_up_at: "2020-01-01T00:00:00Z",
            ..Member::default()
        });
    }

    /// Members `M1` to `Mn`.
    #[track_caller]
    pub(crate) fn members(&self, count: usize) {
        let id = self.mall.id;
        self.execute(&format!(
            "INSERT INTO members (mall_id, member_code, status, email, name, signed_up_at, created_at, updated_at)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             SELECT {id}, 'M' || i, 'ACTIVE', 'm' || i || '@example.jp', 'M' || i, {LONG_AGO}, {LONG_AGO}, {LONG_AGO}
             FROM n"
        ));
    }

    /// Changes a member: `status = 'WITHDRAWN'`.
    #[track_caller]
    pub(crate) fn change_member(&self, code: &str, change: &str) {
        self.execute(&format!("UPDATE members SET {change} WHERE member_code = {}", literal(code)));
    }

    /// What a member decided about advertising or digests.
    #[track_caller]
    pub(crate) fn consent(&self, code: &str, purpose: &str, is_granted: bool) {
        self.execute(&format!(
            "INSERT INTO mail_consents (mall_id, member_code, purpose, is_granted, created_at, updated_at)
             VALUES ({}, {}, {}, {is_granted}, {LONG_AGO}, {LONG_AGO})",
            self.mall.id,
            literal(code),
            literal(purpose)
        ));
    }

    /// Suppresses an address.
    #[track_caller]
    pub(crate) fn suppress(&self, address: &str, scope: &str) {
        self.execute(&format!(
            "INSERT INTO mail_suppressions (address, scope, reason, created_at)
             VALUES ({}, {}, 'MANUAL', {LONG_AGO})",
            literal(address),
            literal(scope)
        ));
    }

    /// Makes the members [`UNREACHABLE`], who exist already, what their codes say.
    #[track_caller]
    pub(crate) fn make_unreachable(&self) {
        self.change_member("withdrawn", "status = 'WITHDRAWN'");
        self.change_member("withdrawn-at", &format!("withdrawn_at = {LONG_AGO}"));
        self.change_member("unconfirmed", "status = 'UNCONFIRMED'");
        self.change_member("to-be-forgotten", &format!("erasure_requested_at = {LONG_AGO}"));
        self.change_member("without-address", "email = NULL");
        // As the shop writes it; suppressions are stored in lower case.
        self.change_member("suppressed", "email = 'Suppressed@Example.JP'");
        self.suppress("suppressed@example.jp", "ALL");
        self.suppress("unsubscribed@example.jp", "MARKETING");
    }

    /// The first line of each mail's text, in byte order: its recipient and its values.
    #[track_caller]
    pub(crate) fn mails(&self) -> Vec<String> {
        let rows = self.sql("SELECT text_body FROM mails").concat();
        let mut lines: Vec<String> =
            rows.iter().map(|text| text.lines().next().unwrap_or_default().to_owned()).collect();
        lines.sort();
        lines
    }

    /// The recipients of the mails, in byte order.
    #[track_caller]
    pub(crate) fn recipients(&self) -> Vec<String> {
        let mut recipients = self.sql("SELECT recipient FROM mails").concat();
        recipients.sort();
        recipients
    }
}

/// An instant before everything else, as an SQL literal.
const LONG_AGO: &str = "'2020-01-01T00:00:00+00:00'";
