//! `[mail]` of `batchctl.toml`: how mails are sent, how often, and what every mail states about its sender.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::error::ConfigError;
use super::section::{NamedVariable, Place, Section, duration, named_by_keys};
use super::variables::Variables;
use crate::mask::Secret;

/// `[mail]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailConfig {
    /// `BATCHCTL_SMTP_URL`; may contain a password.
    #[serde(skip)]
    pub smtp_url: Option<Secret>,
    /// `BATCHCTL_MAIL_FROM`: the sender.
    #[serde(skip)]
    pub from: Option<String>,
    /// `BATCHCTL_MAIL_REDIRECT_TO`: who gets every mail outside prod.
    #[serde(skip)]
    pub redirect_to: Option<String>,
    /// How mails are sent; by default by SMTP if `BATCHCTL_SMTP_URL` is set, otherwise, outside prod, to files.
    pub transport: Option<TransportKind>,
    /// Where `.eml` files go; `mail` by default. Relative to the working directory.
    pub folder: Option<PathBuf>,
    /// A folder whose templates replace the built-in ones of the same name.
    pub template_dir: Option<PathBuf>,
    /// The number of concurrent connections; 8 by default.
    pub connections: Option<usize>,
    /// The number of attempts before a mail is given up; 3 by default.
    pub attempts: Option<u32>,
    /// The pause before the second attempt; it grows fourfold with each. 5 minutes by default.
    #[serde(deserialize_with = "duration")]
    pub backoff: Option<Duration>,
    /// How long a mail alone may be told to wait while the server takes others; 5 days by default.
    #[serde(deserialize_with = "duration")]
    pub give_up_after: Option<Duration>,
    /// How long any one step of SMTP may take; by default as long as RFC 5321 allows a server, up to 10 minutes.
    #[serde(deserialize_with = "duration")]
    pub smtp_timeout: Option<Duration>,
    /// What happens to a mail whose acceptance was never confirmed.
    pub on_unknown: OnUnknown,
    /// At most this many mails a second, over all processes; no limit by default.
    pub rate_per_second: Option<f64>,
    /// At most this many mails a second to one recipient domain, over all processes; no limit by default.
    pub rate_per_domain: Option<f64>,
    /// `[mail.domain_rates]`: other rates for some domains.
    pub domain_rates: BTreeMap<String, f64>,
    /// Whether advertising needs a consent on record, or only the absence of a refusal.
    pub consent: ConsentRule,
    /// `[mail.shop]`: the sender.
    pub shop: ShopConfig,
    /// `[mail.unsubscribe]`: how a recipient of advertising unsubscribes.
    pub unsubscribe: UnsubscribeConfig,
    /// `[mail.ses]`
    pub ses: SesConfig,
    /// `[mail.sendgrid]`
    pub sendgrid: SendGridConfig,
    /// `[mail.dkim]`
    pub dkim: Option<DkimConfig>,
}

/// How mails are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportKind {
    /// The server of `BATCHCTL_SMTP_URL`.
    Smtp,
    /// Amazon SES, API version 2.
    Ses,
    /// `SendGrid`, API version 3.
    Sendgrid,
    /// A folder of `.eml` files.
    Folder,
}

/// What happens to a mail whose acceptance was never confirmed: the connection broke between its end and the reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// It is sent again, with the same Message-ID.
    #[default]
    Resend,
    /// It waits for a person: `mail requeue` or `mail cancel`.
    Hold,
}

/// Who may be sent advertising.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsentRule {
    /// Those who have not refused.
    #[default]
    OptOut,
    /// Those who have agreed.
    OptIn,
}

impl ConsentRule {
    /// Whether advertising goes to a member who has expressed no preference.
    pub fn takes_silence_for_consent(self) -> bool {
        self == Self::OptOut
    }
}

/// `[mail.shop]`: what templates show about the sender, as `shop.name`, `shop.url`, `shop.address`, `shop.phone`,
/// `shop.support`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShopConfig {
    /// The shop's name; by default the sender's display name.
    pub name: Option<String>,
    /// Its web address.
    pub url: Option<String>,
    /// The sender's postal address, which the law requires in advertising (Japan, Korea, USA).
    pub address: Option<String>,
    /// The sender's telephone number, which the law requires in advertising (Korea).
    pub phone: Option<String>,
    /// Where customers get help: a mail address or a page.
    pub support: Option<String>,
}

/// `[mail.unsubscribe]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnsubscribeConfig {
    /// The URL that accepts the POST of RFC 8058 and shows people a page, with `{token}` in it. HTTPS only.
    pub url: Option<String>,
    /// An address that accepts unsubscriptions by mail, in addition to the URL.
    pub mailto: Option<String>,
    /// The List-Id (RFC 2919) without brackets, such as `news.shop.example.jp`.
    pub list_id: Option<String>,
}

/// `[mail.ses]`: Amazon SES, API version 2.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SesConfig {
    /// The region, such as `ap-northeast-1`.
    pub region: Option<String>,
    /// An endpoint other than `https://email.REGION.amazonaws.com`.
    pub endpoint: Option<String>,
    /// The configuration set that collects bounces and complaints.
    pub configuration_set: Option<String>,
    /// The variable of the access key's id; `AWS_ACCESS_KEY_ID` by default.
    pub access_key_id_variable: Option<String>,
    /// The variable of the secret key; `AWS_SECRET_ACCESS_KEY` by default.
    pub secret_access_key_variable: Option<String>,
    /// The variable of the token of temporary credentials; `AWS_SESSION_TOKEN` by default.
    pub session_token_variable: Option<String>,
}

/// `[mail.sendgrid]`: SendGrid, API version 3.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SendGridConfig {
    /// An endpoint other than `https://api.sendgrid.com`, such as `https://api.eu.sendgrid.com`.
    pub endpoint: Option<String>,
    /// The variable of the API key; `SENDGRID_API_KEY` by default.
    pub api_key_variable: Option<String>,
}

/// `[mail.dkim]`: our own signature, for servers that do not sign.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DkimConfig {
    /// The signing domain (`d=`).
    pub domain: String,
    /// The selector (`s=`): the key's public half is in the TXT record of `SELECTOR._domainkey.DOMAIN`.
    pub selector: String,
    /// The variable that holds the private RSA key as PEM (PKCS #1 or #8, 2048 bits or more), or the name of the file
    /// that does.
    pub key_variable: String,
}

impl Section for MailConfig {
    fn read(&mut self, variables: &mut Variables<'_>) -> Result<(), ConfigError> {
        variables.url(&mut self.smtp_url, "BATCHCTL_SMTP_URL", &["smtp", "smtps"])?;
        variables.mail_address(&mut self.from, "BATCHCTL_MAIL_FROM", "Example Shop <shop@example.jp>")?;
        variables.mail_address(&mut self.redirect_to, "BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")
    }

    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        let error = |path: &[&str], problem: String| Err(place.error(path, problem));
        if let Some(connections) = self.connections.filter(|count| !(1..=100).contains(count)) {
            return error(
                &["connections"],
                format!("`mail.connections`: {connections} is not from 1 to 100"),
            );
        }
        if let Some(attempts) = self.attempts.filter(|count| !(1..=100).contains(count)) {
            return error(&["attempts"], format!("`mail.attempts`: {attempts} is not from 1 to 100"));
        }
        if self.smtp_timeout.is_some_and(|limit| limit.is_zero()) {
            let problem = "`mail.smtp_timeout` is zero: no server answers that fast".to_owned();
            return error(&["smtp_timeout"], problem);
        }
        let is_rate = |rate: f64| rate.is_finite() && rate > 0.0;
        for (key, rate) in
            [("rate_per_second", self.rate_per_second), ("rate_per_domain", self.rate_per_domain)]
        {
            if rate.is_some_and(|rate| !is_rate(rate)) {
                return error(&[key], format!("`mail.{key}` is not a number of mails a second above 0"));
            }
        }
        for (domain, rate) in &self.domain_rates {
            if !is_rate(*rate) {
                let problem =
                    format!("`mail.domain_rates.\"{domain}\"` is not a number of mails a second above 0");
                return error(&["domain_rates", domain], problem);
            }
        }
        if let Some(url) = &self.unsubscribe.url
            && (!url.starts_with("https://") || !url.contains("{token}"))
        {
            // RFC 8058 section 3.1: one-click needs HTTPS.
            let problem = "`mail.unsubscribe.url` does not suit RFC 8058: write https://… with {token} in it";
            return error(&["unsubscribe", "url"], problem.to_owned());
        }
        Ok(())
    }

    fn named_variables(&self) -> Vec<NamedVariable<'_>> {
        let keys = [
            ("ses.access_key_id_variable", self.ses.access_key_id_variable.as_deref()),
            ("ses.secret_access_key_variable", self.ses.secret_access_key_variable.as_deref()),
            ("ses.session_token_variable", self.ses.session_token_variable.as_deref()),
            ("sendgrid.api_key_variable", self.sendgrid.api_key_variable.as_deref()),
            ("dkim.key_variable", self.dkim.as_ref().map(|dkim| dkim.key_variable.as_str())),
        ];
        named_by_keys("mail", keys)
    }
}
