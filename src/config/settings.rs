//! The variables' values, one struct per concern, each checked once at load.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use chrono_tz::Tz;
use url::Url;

use super::environment::{Environment, PRODUCTION};
use super::error::ConfigError;
use crate::locale::Locale;
use crate::mask::Secret;

/// Where the database is when nobody says.
pub(super) const DEFAULT_DATABASE_URL: &str = "sqlite:batchctl.db";

/// The business time zone when nobody says.
pub(super) const DEFAULT_TIME_ZONE: Tz = Tz::Asia__Tokyo;

/// The lease when nobody says: six missed heartbeats.
pub(super) const DEFAULT_LEASE_SECONDS: u32 = 60;

/// A lease of more than a day would keep a crashed nightly job away from its next night.
const MAX_LEASE_SECONDS: u32 = 86_400;

/// A heartbeat at least this often, however long the lease: `runs list` shows it as the sign of life.
const MAX_HEARTBEAT: Duration = Duration::from_secs(10);

/// A shorter key for HMAC-SHA256 can be guessed.
const MIN_SECRET_KEY_BYTES: usize = 32;

/// Digits of a second that both databases keep.
const SUBSECOND_DIGITS: u16 = 6;

/// The database.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `BATCHCTL_DATABASE_URL`; may carry a password.
    pub url: Secret,
}

/// Place, language and clock.
#[derive(Debug, Clone)]
pub struct PlaceSettings {
    /// `BATCHCTL_TZ`: where business days begin and end.
    pub time_zone: Tz,
    /// `BATCHCTL_LOCALE`: the language of labels.
    pub locale: Locale,
    /// `BATCHCTL_NOW`: the fixed clock of a rehearsal, to the microsecond.
    pub now: Option<DateTime<Utc>>,
}

/// Mail.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// `BATCHCTL_SMTP_URL`; may carry a password.
    pub smtp_url: Option<Secret>,
    /// `BATCHCTL_MAIL_FROM`: the sender.
    pub from: Option<String>,
    /// `BATCHCTL_MAIL_REDIRECT_TO`: who gets every mail outside prod.
    pub redirect_to: Option<String>,
}

/// Services beside the database.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// `BATCHCTL_REDIS_URL`; may carry a password.
    pub redis_url: Option<Secret>,
    /// `BATCHCTL_KAFKA_BROKERS`, as `host:port`; none if empty.
    pub kafka_brokers: Vec<String>,
}

/// The right to run, and its renewal.
#[derive(Debug, Clone, Copy)]
pub struct LeaseSettings {
    /// `BATCHCTL_LEASE_SECONDS`, from 1 to 86,400.
    pub seconds: u32,
}

impl LeaseSettings {
    /// How long without a heartbeat until another run may take over.
    pub fn lease(self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }

    /// How often the lease is renewed: six times in its length, at least every ten seconds.
    pub fn heartbeat(self) -> Duration {
        (self.lease() / 6).min(MAX_HEARTBEAT)
    }
}

impl DatabaseSettings {
    pub(super) fn load(environment: &Environment) -> Result<Self, ConfigError> {
        const NAME: &str = "BATCHCTL_DATABASE_URL";
        const ADVICE: &str = "write sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME";
        let url = environment.get(NAME).map_or(DEFAULT_DATABASE_URL, |variable| &variable.value);
        let wrong = |problem: String| Err(ConfigError::variable(NAME, problem));
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            if !is_readable_url(url) {
                return wrong(
                    "is not a URL: percent-encode the characters @ : / ? # % of a password".to_owned(),
                );
            }
        } else if let Some(file) = url.strip_prefix("sqlite:") {
            if file.trim_start_matches('/').is_empty() {
                return wrong(format!("names no file: {ADVICE}"));
            }
        } else {
            return wrong(match shown_scheme(url) {
                Some(scheme) => format!("the scheme `{scheme}` is not supported: {ADVICE}"),
                None => format!("has no scheme: {ADVICE}"),
            });
        }
        Ok(Self { url: Secret::new(url) })
    }
}

impl PlaceSettings {
    pub(super) fn load(environment: &Environment) -> Result<Self, ConfigError> {
        let time_zone = parsed(environment, "BATCHCTL_TZ", |text| {
            Tz::from_str(text)
                .map_err(|_| format!("`{text}` is not a time zone name: write one like Asia/Tokyo"))
        })?;
        let now = parsed(environment, "BATCHCTL_NOW", |text| {
            if environment.name == PRODUCTION {
                return Err(format!("a fixed clock is refused in `{PRODUCTION}`: remove it"));
            }
            DateTime::parse_from_rfc3339(text)
                .map(|now| now.to_utc().trunc_subsecs(SUBSECOND_DIGITS))
                .map_err(|_| format!("`{text}` is not an instant: write one like 2026-11-20T01:00:00+09:00"))
        })?;
        Ok(Self {
            time_zone: time_zone.unwrap_or(DEFAULT_TIME_ZONE),
            locale: parsed(environment, "BATCHCTL_LOCALE", |text| {
                Locale::from_str(text).map_err(|error| error.to_string())
            })?
            .unwrap_or_default(),
            now,
        })
    }
}

impl MailSettings {
    pub(super) fn load(environment: &Environment) -> Result<Self, ConfigError> {
        let address = |name, example: &str| {
            parsed(environment, name, |text| {
                if is_mail_address(text) {
                    Ok(text.to_owned())
                } else {
                    // Not shown: an address is personal, and a wrong paste may be anything.
                    Err(format!("is not a mail address: write one like {example}"))
                }
            })
        };
        Ok(Self {
            smtp_url: url(environment, "BATCHCTL_SMTP_URL", &["smtp", "smtps"])?,
            from: address("BATCHCTL_MAIL_FROM", "Example Shop <shop@example.jp>")?,
            redirect_to: address("BATCHCTL_MAIL_REDIRECT_TO", "developer@example.jp")?,
        })
    }
}

/// Reads `BATCHCTL_SECRET_KEY`. What is wrong with it never shows it.
pub(super) fn secret_key(environment: &Environment) -> Result<Option<Secret>, ConfigError> {
    parsed(environment, "BATCHCTL_SECRET_KEY", |text| {
        if text.len() < MIN_SECRET_KEY_BYTES {
            return Err(format!(
                "is shorter than {MIN_SECRET_KEY_BYTES} bytes: make one with `openssl rand -base64 32`"
            ));
        }
        Ok(Secret::new(text))
    })
}

impl ServiceSettings {
    pub(super) fn load(environment: &Environment) -> Result<Self, ConfigError> {
        let brokers = parsed(environment, "BATCHCTL_KAFKA_BROKERS", |text| {
            text.split(',')
                .map(|broker| match broker.trim().rsplit_once(':') {
                    Some((host, port))
                        if !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok() =>
                    {
                        Ok(broker.trim().to_owned())
                    }
                    _ => Err("is not a list of brokers: write host:port, with commas between".to_owned()),
                })
                .collect()
        })?;
        Ok(Self {
            redis_url: url(environment, "BATCHCTL_REDIS_URL", &["redis", "rediss", "redis+unix", "unix"])?,
            kafka_brokers: brokers.unwrap_or_default(),
        })
    }
}

impl LeaseSettings {
    pub(super) fn load(environment: &Environment) -> Result<Self, ConfigError> {
        let seconds = parsed(environment, "BATCHCTL_LEASE_SECONDS", |text| {
            text.parse()
                .ok()
                .filter(|seconds| (1..=MAX_LEASE_SECONDS).contains(seconds))
                .ok_or_else(|| format!("`{text}` is not a number of seconds from 1 to {MAX_LEASE_SECONDS}"))
        })?;
        Ok(Self { seconds: seconds.unwrap_or(DEFAULT_LEASE_SECONDS) })
    }
}

/// The variable's value, if it is set, as what it means.
fn parsed<T>(
    environment: &Environment,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    let Some(variable) = environment.get(name) else { return Ok(None) };
    parse(&variable.value).map(Some).map_err(|problem| ConfigError::variable(name, problem))
}

/// A URL of one of these schemes. It may carry a password, so an error shows the scheme at most.
fn url(environment: &Environment, name: &str, schemes: &[&str]) -> Result<Option<Secret>, ConfigError> {
    parsed(environment, name, |text| match shown_scheme(text) {
        Some(scheme) if schemes.contains(&scheme) => {
            if is_readable_url(text) {
                Ok(Secret::new(text))
            } else {
                Err("is not a URL: percent-encode the characters @ : / ? # % of a password".to_owned())
            }
        }
        Some(scheme) => {
            Err(format!("the scheme `{scheme}` is not supported: write {}://…", schemes.join(":// or ")))
        }
        None => Err(format!("has no scheme: write {}://…", schemes.join(":// or "))),
    })
}

/// The scheme, if the text is built like a URL; anything else may be a bare password.
fn shown_scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let plain = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    (plain && !scheme.is_empty()).then_some(scheme)
}

/// Whether the parts of a URL are where they seem: an unencoded `/`, `?` or `#` in a password ends the host early,
/// and what follows, with the `@`, passes for a path.
fn is_readable_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        !url.path().contains('@')
            && url.fragment().is_none()
            && !url.query().is_some_and(|query| query.contains('@'))
    })
}

/// `local@domain` or `Name <local@domain>`. Only what would certainly fail is refused; a line break would be a
/// second header.
pub(super) fn is_mail_address(text: &str) -> bool {
    let bare = match text.rsplit_once('<') {
        Some((_, rest)) => match rest.strip_suffix('>') {
            Some(bare) => bare,
            None => return false,
        },
        None => text,
    };
    let parts = bare.rsplit_once('@');
    parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !bare.contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '<' | '>'))
        && !text.contains(|c: char| c.is_control())
}
