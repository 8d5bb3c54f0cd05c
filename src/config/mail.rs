//! `[mail]` of `batchctl.toml`: how mails leave, how often, and what every mail says of its sender.

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
    /// `BATCHCTL_SMTP_URL`; may carry a password.
    #[serde(skip)]
    pub smtp_url: Option<Secret>,
    /// `BATCHCTL_MAIL_FROM`: the sender.
    #[serde(skip)]
    pub from: Option<String>,
    /// `BATCHCTL_MAIL_REDIRECT_TO`: who gets every mail outside prod.
    #[serde(skip)]
    pub redirect_to: Option<String>,
    /// How mails leave; without it by SMTP where `BATCHCTL_SMTP_URL` is set, and outside prod else into files.
    pub transport: Option<TransportKind>,
    /// Where `.eml` files go; `mail` without it. Relative to the working directory.
    pub folder: Option<PathBuf>,
    /// A folder whose templates replace the built-in ones of the same name.
    pub template_dir: Option<PathBuf>,
    /// How many connections send side by side; 8 without it.
    pub connections: Option<usize>,
    /// How often a mail is tried before it is given up; 3 without it.
    pub attempts: Option<u32>,
    /// The pause before the second try; it grows fourfold with each. 5 minutes without it.
    #[serde(deserialize_with = "duration")]
    pub backoff: Option<Duration>,
    /// How long any one step of SMTP may take; without it as long as RFC 5321 gives a server, up to 10 minutes.
    #[serde(deserialize_with = "duration")]
    pub smtp_timeout: Option<Duration>,
    /// What becomes of a mail whose acceptance was not heard.
    pub on_unknown: OnUnknown,
    /// At most this many mails a second, over all processes; no limit without it.
    pub rate_per_second: Option<f64>,
    /// At most this many mails a second to one recipient domain, over all processes; no limit without it.
    pub rate_per_domain: Option<f64>,
    /// `[mail.domain_rates]`: other rates for some domains.
    pub domain_rates: BTreeMap<String, f64>,
    /// Whether advertising needs a consent on record, or only the absence of a refusal.
    pub consent: ConsentRule,
    /// `[mail.shop]`: who writes.
    pub shop: ShopConfig,
    /// `[mail.unsubscribe]`: how a recipient of advertising ends it.
    pub unsubscribe: UnsubscribeConfig,
    /// `[mail.ses]`
    pub ses: SesConfig,
    /// `[mail.sendgrid]`
    pub sendgrid: SendGridConfig,
    /// `[mail.dkim]`
    pub dkim: Option<DkimConfig>,
}

/// How mails leave.
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

/// What becomes of a mail whose acceptance was not heard: the connection broke between its end and the reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// It is sent once more, with the same Message-ID.
    #[default]
    Resend,
    /// It waits for a person: `mail requeue` or `mail cancel`.
    Hold,
}

/// Who may be sent advertising.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsentRule {
    /// Who has not refused.
    #[default]
    OptOut,
    /// Who has agreed.
    OptIn,
}

impl ConsentRule {
    /// Whether advertising goes to a member who never said a word about it.
    pub fn takes_silence_for_consent(self) -> bool {
        self == Self::OptOut
    }
}

/// `[mail.shop]`: what templates say of the sender, as `shop.name`, `shop.url`, `shop.address`, `shop.support`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShopConfig {
    /// The shop's name; the sender's display name without it.
    pub name: Option<String>,
    /// Its web address.
    pub url: Option<String>,
    /// The sender's postal address, which the law wants in advertising (Japan, Korea, USA).
    pub address: Option<String>,
    /// Where customers ask: a mail address or a page.
    pub support: Option<String>,
}

/// `[mail.unsubscribe]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnsubscribeConfig {
    /// The address that takes the POST of RFC 8058 and shows people a page, with `{token}` in it. HTTPS only.
    pub url: Option<String>,
    /// An address that takes unsubscriptions by mail, in addition to the URL.
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
    /// Another endpoint than `https://email.REGION.amazonaws.com`.
    pub endpoint: Option<String>,
    /// The configuration set that collects bounces and complaints.
    pub configuration_set: Option<String>,
    /// The variable of the access key's id; `AWS_ACCESS_KEY_ID` without it.
    pub access_key_id_variable: Option<String>,
    /// The variable of the secret key; `AWS_SECRET_ACCESS_KEY` without it.
    pub secret_access_key_variable: Option<String>,
    /// The variable of the token of temporary credentials; `AWS_SESSION_TOKEN` without it.
    pub session_token_variable: Option<String>,
}

/// `[mail.sendgrid]`: SendGrid, API version 3.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SendGridConfig {
    /// Another endpoint than `https://api.sendgrid.com`, such as `https://api.eu.sendgrid.com`.
    pub endpoint: Option<String>,
    /// The variable of the API key; `SENDGRID_API_KEY` without it.
    pub api_key_variable: Option<String>,
}

/// `[mail.dkim]`: signing by ourselves, for servers that do not.
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
            let problem =
                "`mail.unsubscribe.url` is not one for RFC 8058: write https://… with {token} in it";
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
