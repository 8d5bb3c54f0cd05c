//! Every setting of a run: variables, `.env` files and `batchctl.toml`, checked once at the start.
//!
//! The only place that reads the environment. Nothing here opens a connection.

mod cafe24;
mod channel;
mod customer_mail;
mod delivery;
mod document;
mod environment;
mod error;
mod file;
mod mail;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use url::Url;

pub use cafe24::Cafe24Config;
pub(crate) use cafe24::is_confidential;
pub use channel::{AlertChannel, ChannelKind, ChannelTarget, LineWorksReader, LineWorksTarget};
pub use customer_mail::{CartRemindConfig, CouponConfig, DigestConfig};
pub use delivery::{DeliveredReport, DeliveryConfig};
pub use environment::Source;
pub use error::ConfigError;
pub use file::{
    AlertRoutes, AlertsConfig, FileConfig, ImportConfig, ImportFile, JobOverride, PdfConfig, ReportConfig,
    SkipLimit,
};
pub use mail::{
    ConsentRule, DkimConfig, MailConfig, OnUnknown, SendGridConfig, SesConfig, ShopConfig, TransportKind,
    UnsubscribeConfig,
};
pub use settings::{DatabaseSettings, LeaseSettings, MailSettings, PlaceSettings, ServiceSettings};

use std::time::Duration;

use crate::locale::Locale;
use crate::mask::{MASK, Redactor, Secret, is_secret_name, mask_email, mask_url};
use crate::severity::Severity;
use document::nearest;
use environment::{Environment, PRODUCTION};

/// The file with structure when nobody names one.
const DEFAULT_FILE: &str = "batchctl.toml";

/// What every variable of ours begins with.
const PREFIX: &str = "BATCHCTL_";

/// How a variable's value is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Plain,
    /// Parts of a URL are hidden.
    Url,
    /// An address is personal.
    Address,
    Never,
}

/// Every variable of the interface, beside `BATCHCTL_ENV`.
const VARIABLES: [(&str, Shown); 14] = [
    ("BATCHCTL_DATABASE_URL", Shown::Url),
    ("BATCHCTL_CONFIG", Shown::Plain),
    ("BATCHCTL_TZ", Shown::Plain),
    ("BATCHCTL_LOCALE", Shown::Plain),
    ("BATCHCTL_SMTP_URL", Shown::Url),
    ("BATCHCTL_MAIL_FROM", Shown::Address),
    ("BATCHCTL_MAIL_REDIRECT_TO", Shown::Address),
    ("BATCHCTL_REDIS_URL", Shown::Url),
    ("BATCHCTL_KAFKA_BROKERS", Shown::Plain),
    ("BATCHCTL_SECRET_KEY", Shown::Never),
    (cafe24::CLIENT_ID_VARIABLE, Shown::Never),
    (cafe24::CLIENT_SECRET_VARIABLE, Shown::Never),
    ("BATCHCTL_LEASE_SECONDS", Shown::Plain),
    ("BATCHCTL_NOW", Shown::Plain),
];

/// The test suite's own variable; a build without the feature does not know it.
#[cfg(feature = "failpoints")]
const FAILPOINT: &str = "BATCHCTL_FAILPOINT";

/// What [`Config::load`] starts from.
#[derive(Clone)]
pub struct LoadOptions {
    /// The flag `--env`.
    pub env_flag: Option<String>,
    /// Where `.env` files, `batchctl.toml` and relative paths are.
    pub working_dir: PathBuf,
    /// The variables of the process; given, so that a test needs no real ones.
    pub process_env: BTreeMap<String, String>,
}

impl LoadOptions {
    /// The options of this process: its variables and its working directory.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_process(env_flag: Option<String>) -> Result<Self, ConfigError> {
        let working_dir = std::env::current_dir()
            .map_err(|source| ConfigError::Unreadable { path: PathBuf::from("."), source })?;
        // A value that is not UTF-8 becomes one that fails its check, rather than one that is not there.
        let process_env = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Ok(Self { env_flag, working_dir, process_env })
    }
}

/// Every effective setting of a run.
#[derive(Debug, Clone)]
pub struct Config {
    environment: Environment,
    working_dir: PathBuf,
    database: DatabaseSettings,
    place: PlaceSettings,
    mail: MailSettings,
    services: ServiceSettings,
    lease: LeaseSettings,
    secret_key: Option<Secret>,
    file: FileConfig,
    /// The name of the file that was read, and its entries for `env show`.
    file_entries: Option<(String, toml::Table)>,
}

/// A line of `env show`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable, or the key of `batchctl.toml` with dots.
    pub name: String,
    /// Its value, secrets masked; empty if it is not set and has no default.
    pub value_for_display: String,
    /// Who set it.
    pub source: Source,
    /// Whether a part of the value is hidden.
    pub secret: bool,
}

impl Config {
    /// Reads and checks every setting: the flag `--env` or `BATCHCTL_ENV` chooses the environment; then the
    /// process, `.env.NAME` and `.env`, in this order; then `batchctl.toml`.
    pub fn load(options: LoadOptions) -> Result<Self, ConfigError> {
        let LoadOptions { env_flag, working_dir, process_env } = options;
        let environment = Environment::load(env_flag.as_deref(), &working_dir, process_env)?;
        let database = DatabaseSettings::load(&environment)?;
        let place = PlaceSettings::load(&environment)?;
        let mail = MailSettings::load(&environment)?;
        let services = ServiceSettings::load(&environment)?;
        let lease = LeaseSettings::load(&environment)?;
        let secret_key = settings::secret_key(&environment)?;
        let (file, file_entries) = load_file(&environment, &working_dir)?;
        Ok(Self {
            environment,
            working_dir,
            database,
            place,
            mail,
            services,
            lease,
            secret_key,
            file,
            file_entries,
        })
    }

    /// The settings of a process of the same environment and variables that starts in another folder; `more` are
    /// variables that it has beside them, unless it has them already.
    pub fn in_folder(&self, folder: &Path, more: &[(&str, String)]) -> Result<Self, ConfigError> {
        let variables = self.environment.variables.iter();
        let mut process_env: BTreeMap<String, String> = variables
            // What is empty counts as not set.
            .filter(|(_, variable)| variable.source == Source::Process && !variable.value.is_empty())
            .map(|(name, variable)| (name.clone(), variable.value.clone()))
            .collect();
        for (name, value) in more {
            process_env.entry((*name).to_owned()).or_insert_with(|| value.clone());
        }
        let env_flag = Some(self.environment.name.clone());
        Self::load(LoadOptions { env_flag, working_dir: folder.to_owned(), process_env })
    }

    /// The environment's name: `dev`, `prod`, …
    pub fn environment(&self) -> &str {
        &self.environment.name
    }

    /// Whether real people are reached.
    pub fn is_prod(&self) -> bool {
        self.environment.name == PRODUCTION
    }

    /// Where relative paths start.
    pub fn working_dir(&self) -> &Path {
        &self.working_dir
    }

    /// The database's URL; may carry a password.
    pub fn database_url(&self) -> &str {
        self.database.url.expose()
    }

    /// Whether anybody said where the database is.
    pub fn is_database_named(&self) -> bool {
        self.variable("BATCHCTL_DATABASE_URL").is_some()
    }

    /// The business time zone.
    pub fn time_zone(&self) -> Tz {
        self.place.time_zone
    }

    /// The language of labels.
    pub fn locale(&self) -> Locale {
        self.place.locale
    }

    /// The fixed clock of a rehearsal; never in prod.
    pub fn now(&self) -> Option<DateTime<Utc>> {
        self.place.now
    }

    /// Mail.
    pub fn mail(&self) -> &MailSettings {
        &self.mail
    }

    /// Whether mail is used at all: a shop without it needs none of its settings.
    pub fn uses_mail(&self) -> bool {
        self.file_entries.as_ref().is_some_and(|(_, entries)| entries.contains_key("mail"))
            || !self.file.report.delivery.is_empty()
            || self.mail.smtp_url.is_some()
            || self.mail.from.is_some()
    }

    /// Redis and Kafka.
    pub fn services(&self) -> &ServiceSettings {
        &self.services
    }

    /// The lease and its heartbeat.
    pub fn lease(&self) -> LeaseSettings {
        self.lease
    }

    /// The key that signs links and masks data.
    pub fn secret_key(&self) -> Result<&Secret, ConfigError> {
        self.secret_key.as_ref().ok_or_else(|| self.unset("BATCHCTL_SECRET_KEY"))
    }

    /// `batchctl.toml`.
    pub fn file(&self) -> &FileConfig {
        &self.file
    }

    /// What `batchctl.toml` changes of a job.
    pub fn job(&self, name: &str) -> Option<&JobOverride> {
        self.file.jobs.get(name)
    }

    /// A job's deadline, where `batchctl.toml` changes it.
    pub fn job_timeout(&self, name: &str) -> Option<Duration> {
        self.job(name).and_then(|job| job.timeout)
    }

    /// A job's skip limit, where `batchctl.toml` sets one.
    pub fn job_skip_limit(&self, name: &str) -> Option<SkipLimit> {
        self.job(name).and_then(|job| job.skip_limit)
    }

    /// A job's severity, where `batchctl.toml` changes it.
    pub fn job_severity(&self, name: &str) -> Option<Severity> {
        self.job(name).and_then(|job| job.severity)
    }

    /// The channels that hear of a severity: by its route in prod, the dev channel alone elsewhere.
    pub fn alert_channels(&self, severity: Severity) -> Vec<&AlertChannel> {
        self.file.alerts.channels(severity, self.is_prod())
    }

    /// The alert channel of this name.
    pub fn channel(&self, name: &str) -> Option<&AlertChannel> {
        self.file.alerts.named(name)
    }

    /// What would keep an alert from this channel, for `config check`.
    pub fn channel_problems(&self, channel: &AlertChannel) -> Vec<String> {
        let unset = channel.variables().filter_map(|(_, name)| self.secret(name).err());
        let mut problems: Vec<String> = unset.map(|error| error.to_string()).collect();
        if channel.kind == ChannelKind::Mail {
            let settings = [
                ("BATCHCTL_MAIL_FROM", self.mail.from.is_none()),
                ("BATCHCTL_MAIL_REDIRECT_TO", self.mail.redirect_to.is_none() && !self.is_prod()),
            ];
            let missing = settings.into_iter().filter(|(_, is_missing)| *is_missing);
            problems.extend(missing.map(|(name, _)| {
                format!("variable `{name}` is not set: alerts.channel `{}` needs it", channel.name)
            }));
        }
        problems
    }

    /// Whether any alert could be sent at all.
    pub fn has_alert_channels(&self) -> bool {
        Severity::ALL.iter().any(|severity| !self.alert_channels(*severity).is_empty())
    }

    /// A run that is slower than usual by less than this is no alert.
    pub fn slow_floor(&self) -> Duration {
        /// Below a second a difference is the machine's mood, not the job's.
        const SLOW_FLOOR: Duration = Duration::from_secs(1);
        self.file.alerts.slow_floor.unwrap_or(SLOW_FLOOR)
    }

    /// Folders searched for fonts before the system's.
    pub fn pdf_font_dirs(&self) -> Vec<PathBuf> {
        self.file.pdf.font_dirs.iter().map(|folder| self.working_dir.join(folder)).collect()
    }

    /// The folder whose templates replace the built-in ones.
    pub fn pdf_template_dir(&self) -> Option<PathBuf> {
        self.file.pdf.template_dir.as_ref().map(|folder| self.working_dir.join(folder))
    }

    /// Where a test wants this process to die.
    #[cfg(feature = "failpoints")]
    pub fn failpoint(&self) -> Option<&str> {
        self.variable(FAILPOINT)
    }

    /// Any variable that is set and not empty, for what other tools define (`JOB_COMPLETION_INDEX`, `NO_COLOR`).
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|variable| variable.value.as_str())
    }

    /// The value of a variable that holds a secret, such as one that `batchctl.toml` names.
    pub fn secret(&self, name: &str) -> Result<String, ConfigError> {
        self.variable(name).map(str::to_owned).ok_or_else(|| self.unset(name))
    }

    /// A private key as PEM: the variable holds it, its line breaks perhaps written as `\n`, or names its file. What is
    /// wrong is said without the value: it is the key, or was meant to be.
    pub fn private_key(&self, name: &str) -> Result<Secret, ConfigError> {
        let value = self.secret(name)?;
        if value.contains("-----BEGIN") {
            return Ok(Secret::new(value.replace("\\n", "\n")));
        }
        std::fs::read_to_string(self.working_dir.join(&value)).map(Secret::new).map_err(|error| {
            let problem = format!("is neither a PEM nor the name of a readable file: {}", error.kind());
            ConfigError::variable(name, problem)
        })
    }

    /// The variables that `batchctl.toml` names, each once.
    fn named_variables(&self) -> BTreeSet<&str> {
        self.file.named_variables().map(|(name, _)| name).collect()
    }

    fn unset(&self, name: &str) -> ConfigError {
        let needed_by =
            self.file.named_variables().filter(|(named, _)| *named == name).map(|(_, by)| by).collect();
        ConfigError::Unset { name: name.to_owned(), needed_by }
    }

    /// Every setting of the interface, those that `batchctl.toml` names, and its entries; secrets masked.
    pub fn effective(&self) -> Vec<Setting> {
        let mut settings = vec![Setting {
            name: "BATCHCTL_ENV".to_owned(),
            value_for_display: self.environment.name.clone(),
            source: self.environment.name_source.clone(),
            secret: false,
        }];
        settings.extend(known_variables().map(|(name, shown)| self.setting(name, shown)));
        let named = self.named_variables();
        settings.extend(
            named.into_iter().filter(|name| !is_known(name)).map(|name| self.setting(name, Shown::Never)),
        );
        if let Some((file, entries)) = &self.file_entries {
            let source = Source::File(file.clone());
            flatten(entries, "", &mut |name, value| {
                settings.push(Setting {
                    name,
                    value_for_display: value,
                    source: source.clone(),
                    secret: false,
                });
            });
        }
        settings
    }

    fn setting(&self, name: &str, shown: Shown) -> Setting {
        let (value, source) = match self.environment.get(name) {
            Some(variable) => (variable.value.clone(), variable.source.clone()),
            None => (self.default_of(name), Source::Default),
        };
        let value_for_display = match shown {
            _ if value.is_empty() => String::new(),
            Shown::Plain => value.clone(),
            Shown::Url => mask_url(&value),
            Shown::Address => mask_email(&value),
            Shown::Never => MASK.to_owned(),
        };
        let secret = shown == Shown::Never || value_for_display != value;
        Setting { name: name.to_owned(), value_for_display, source, secret }
    }

    fn default_of(&self, name: &str) -> String {
        match name {
            "BATCHCTL_DATABASE_URL" => settings::DEFAULT_DATABASE_URL.to_owned(),
            "BATCHCTL_CONFIG" => {
                self.file_entries.as_ref().map_or_else(String::new, |(file, _)| file.clone())
            }
            "BATCHCTL_TZ" => settings::DEFAULT_TIME_ZONE.name().to_owned(),
            "BATCHCTL_LOCALE" => Locale::default().to_string(),
            "BATCHCTL_LEASE_SECONDS" => settings::DEFAULT_LEASE_SECONDS.to_string(),
            _ => String::new(),
        }
    }

    /// Names and real values for `env export`: the environment, each variable of ours or of `batchctl.toml` that
    /// is set, and all of the `.env` files. Defaults are left out.
    pub fn exports(&self) -> Vec<(String, String)> {
        let named = self.named_variables();
        let variables = self.environment.variables.iter().filter(|(name, variable)| {
            matches!(variable.source, Source::File(_)) || is_known(name) || named.contains(name.as_str())
        });
        std::iter::once(("BATCHCTL_ENV".to_owned(), self.environment.name.clone()))
            .chain(variables.map(|(name, variable)| (name.clone(), variable.value.clone())))
            .collect()
    }

    /// Knows every secret of this configuration. Of the process's own variables those count whose name has the
    /// word of a secret in it (`AWS_SECRET_ACCESS_KEY`): in a container nothing comes from a `.env` file.
    pub fn redactor(&self) -> Redactor {
        let mut secrets = Vec::new();
        let urls = [Some(&self.database.url), self.mail.smtp_url.as_ref(), self.services.redis_url.as_ref()];
        for url in urls.into_iter().flatten() {
            secrets.extend(secrets_of_url(url.expose()));
        }
        secrets.extend(self.mail.smtp_url.iter().flat_map(|url| secrets_of_login(url.expose())));
        secrets.extend(self.secret_key.as_ref().map(|key| key.expose().to_owned()));
        for name in self.named_variables() {
            if let Some(value) = self.variable(name) {
                secrets.push(value.to_owned());
                secrets.extend(secrets_of_webhook(value));
            }
        }
        for (name, variable) in &self.environment.variables {
            let holds_secret = match variable.source {
                Source::File(_) => is_secret_name(name),
                // Whole words only: the process has many variables that are not ours, such as XKB_KEYBOARD.
                _ => name.split('_').any(is_secret_word),
            };
            if holds_secret {
                secrets.push(variable.value.clone());
            }
        }
        Redactor::new(secrets)
    }

    /// What is odd but no error, for `config check`: unknown variables of ours, names set twice in one file.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.environment.warnings.clone();
        let named = self.named_variables();
        for (name, variable) in &self.environment.variables {
            let Some(end) = name.strip_prefix(PREFIX) else { continue };
            if is_known(name) || named.contains(name.as_str()) {
                continue;
            }
            // Compared without the prefix, which would make all of them alike.
            let known = known_variables().filter_map(|(name, _)| name.strip_prefix(PREFIX));
            let advice = nearest(end, known)
                .map_or_else(String::new, |known| format!(": did you mean {PREFIX}{known}?"));
            warnings.push(format!("{name} ({}) is not a variable of batchctl{advice}", variable.source));
        }
        warnings
    }

    /// Sections `[jobs."…"]` of jobs that do not exist, for `config check`; the jobs' names are given, since the
    /// configuration knows no job.
    pub fn unknown_jobs(&self, known: &[&str]) -> Vec<String> {
        let unknown = self.file.jobs.keys().filter(|name| !known.contains(&name.as_str()));
        unknown
            .map(|name| {
                let advice = nearest(name, known.iter().copied())
                    .map_or_else(String::new, |known| format!(": did you mean `{known}`?"));
                format!("jobs.\"{name}\" is not a job{advice}")
            })
            .collect()
    }
}

/// Reads the file that `BATCHCTL_CONFIG` names, which must exist, or the default one if it exists.
fn load_file(
    environment: &Environment,
    working_dir: &Path,
) -> Result<(FileConfig, Option<(String, toml::Table)>), ConfigError> {
    let named = environment.get("BATCHCTL_CONFIG").map(|variable| variable.value.as_str());
    let name = named.unwrap_or(DEFAULT_FILE);
    let path = working_dir.join(name);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match named {
                Some(_) => {
                    Err(ConfigError::variable("BATCHCTL_CONFIG", format!("there is no file `{name}`")))
                }
                None => Ok((FileConfig::default(), None)),
            };
        }
        Err(source) => return Err(ConfigError::Unreadable { path, source }),
    };
    let file = FileConfig::parse(name, &text)?;
    // What serde took is a table too; an empty one would only shorten `env show`.
    let entries = text.parse().unwrap_or_default();
    Ok((file, Some((name.to_owned(), entries))))
}

fn known_variables() -> impl Iterator<Item = (&'static str, Shown)> {
    let known = VARIABLES.into_iter();
    #[cfg(feature = "failpoints")]
    let known = known.chain(std::iter::once((FAILPOINT, Shown::Plain)));
    known
}

fn is_known(name: &str) -> bool {
    known_variables().any(|(known, _)| known == name)
}

fn is_secret_word(word: &str) -> bool {
    matches!(
        word.to_ascii_uppercase().as_str(),
        "SECRET" | "TOKEN" | "PASSWORD" | "PASSWD" | "KEY" | "APIKEY"
    )
}

/// What SMTP makes of a name and a password (AUTH PLAIN and LOGIN): a server may quote it in its refusal.
fn secrets_of_login(url: &str) -> Vec<String> {
    let Ok(url) = Url::parse(url) else { return Vec::new() };
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let Some(password) = url.password().map(decoded) else { return Vec::new() };
    let user = decoded(url.username());
    [format!("\0{user}\0{password}"), password].iter().map(|login| BASE64.encode(login)).collect()
}

/// The passwords in a URL, encoded and plain: a driver may print either.
fn secrets_of_url(text: &str) -> Vec<String> {
    let Ok(url) = Url::parse(text) else { return Vec::new() };
    let mut secrets = Vec::new();
    if let Some(password) = url.password() {
        // A form's pair is read back percent-decoded; a `+` of a password is no space, a `&` no second pair.
        let pair = format!("p={}", password.replace('+', "%2B").replace('&', "%26"));
        secrets.extend(url::form_urlencoded::parse(pair.as_bytes()).map(|(_, value)| value.into_owned()));
        secrets.push(password.to_owned());
    }
    secrets.extend(
        url.query_pairs().filter(|(name, _)| is_secret_name(name)).map(|(_, value)| value.into_owned()),
    );
    secrets
}

/// The path of a webhook's URL, which is the secret itself, as a client's error may print it alone.
fn secrets_of_webhook(text: &str) -> Vec<String> {
    /// Shorter ones, such as `/alerts`, guard nothing and would only garble messages.
    const MIN_SECRET_LENGTH: usize = 16;
    let Ok(url) = Url::parse(text) else { return Vec::new() };
    // A parameter is there to be secret; the redactor itself leaves out what is too short to be one.
    let parameters = url.query_pairs().map(|(_, value)| value.into_owned());
    std::iter::once(url.path().to_owned())
        .filter(|path| path.len() >= MIN_SECRET_LENGTH)
        .chain(parameters)
        .chain(std::iter::once(url.to_string()))
        .collect()
}

/// Calls `each` with the dotted key and the value of every entry; tables in arrays are numbered from 1.
fn flatten(table: &toml::Table, prefix: &str, each: &mut impl FnMut(String, String)) {
    for (key, value) in table {
        let bare = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let key = if bare { key.clone() } else { format!("\"{key}\"") };
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(table, &name, each),
            toml::Value::Array(array) if array.iter().all(toml::Value::is_table) && !array.is_empty() => {
                for (place, table) in array.iter().filter_map(toml::Value::as_table).enumerate() {
                    flatten(table, &format!("{name}[{}]", place + 1), each);
                }
            }
            toml::Value::String(text) => each(name, text.clone()),
            other => each(name, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
