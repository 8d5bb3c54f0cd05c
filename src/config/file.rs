//! `batchctl.toml`: what has structure. Never a secret: it names the variable that holds one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::format::{Item, StrftimeItems};
use serde::{Deserialize, Deserializer, de};

use super::cafe24::Cafe24Config;
use super::channel::AlertChannel;
use super::customer_mail::{CartRemindConfig, DigestConfig};
use super::delivery::DeliveryConfig;
use super::document::{Document, nearest};
use super::error::ConfigError;
use super::mail::MailConfig;
use crate::locale::Locale;
use crate::period::parse_duration;
use crate::severity::Severity;
use crate::text_encoding::TextEncoding;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// `[pdf]`
    pub pdf: PdfConfig,
    /// `[report]`
    pub report: ReportConfig,
    /// `[alerts]`
    pub alerts: AlertsConfig,
    /// `[import]`
    pub import: ImportConfig,
    /// `[mail]`
    pub mail: MailConfig,
    /// `[cart_remind]`
    pub cart_remind: CartRemindConfig,
    /// `[digest]`
    pub digest: DigestConfig,
    /// `[cafe24]`
    pub cafe24: Cafe24Config,
    /// `[jobs."GROUP JOB"]`, by the job's name.
    pub jobs: BTreeMap<String, JobOverride>,
}

/// `[pdf]`: where fonts and templates come from, beside the built-in ones.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PdfConfig {
    /// Folders searched for fonts; relative ones start at the working directory.
    pub font_dirs: Vec<PathBuf>,
    /// A folder whose templates replace the built-in ones of the same name.
    pub template_dir: Option<PathBuf>,
}

/// `[report]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    /// The language of labels; without it that of `BATCHCTL_LOCALE`.
    pub locale: Option<Locale>,
    /// `[[report.delivery]]`: who gets which report by mail.
    pub delivery: Vec<DeliveryConfig>,
}

/// `[alerts]`: who hears of a failure.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// `[[alerts.channel]]`
    pub channel: Vec<AlertChannel>,
    /// `[alerts.routes]`: which channels hear of which severity.
    pub routes: AlertRoutes,
    /// Outside prod every alert goes to this channel only; without it nowhere.
    pub dev_channel: Option<String>,
    /// A run that is slower than usual by less than this is the machine's mood; a second without it.
    #[serde(deserialize_with = "duration")]
    pub slow_floor: Option<Duration>,
}

/// Names of channels by severity; none by default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertRoutes {
    /// For `low`.
    pub low: Vec<String>,
    /// For `medium`.
    pub medium: Vec<String>,
    /// For `high`.
    pub high: Vec<String>,
    /// For `critical`.
    pub critical: Vec<String>,
}

impl AlertRoutes {
    /// The channels' names for a severity.
    pub fn of(&self, severity: Severity) -> &[String] {
        match severity {
            Severity::Low => &self.low,
            Severity::Medium => &self.medium,
            Severity::High => &self.high,
            Severity::Critical => &self.critical,
        }
    }
}

impl AlertsConfig {
    /// The channel of this name.
    pub fn named(&self, name: &str) -> Option<&AlertChannel> {
        self.channel.iter().find(|channel| channel.name == name)
    }

    /// Where an alert goes: by its route in prod, elsewhere to the dev channel alone.
    pub fn channels(&self, severity: Severity, is_prod: bool) -> Vec<&AlertChannel> {
        if is_prod {
            self.routes.of(severity).iter().filter_map(|name| self.named(name)).collect()
        } else {
            self.dev_channel.iter().filter_map(|name| self.named(name)).collect()
        }
    }
}

/// `[import]`: how shops without an API write their files.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportConfig {
    /// `[import.orders]`
    pub orders: ImportFile,
    /// `[import.members]`
    pub members: ImportFile,
    /// `[import.products]`
    pub products: ImportFile,
    /// `[import.refunds]`
    pub refunds: ImportFile,
    /// `[import.carts]`
    pub carts: ImportFile,
    /// `[import.coupons]`
    pub coupons: ImportFile,
    /// `[import.subscriptions]`
    pub subscriptions: ImportFile,
    /// `[import.articles]`
    pub articles: ImportFile,
    /// `[import.consents]`
    pub consents: ImportFile,
}

/// How one kind of file is written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportFile {
    /// Our column to the header in the file; a column that is left out has our name there too.
    pub columns: BTreeMap<String, String>,
    /// How times are written (strftime); RFC 3339 without it.
    pub time_format: Option<String>,
    /// The mall that the rows belong to, unless the file or a flag says.
    pub mall: Option<String>,
    /// How the file is encoded.
    pub encoding: TextEncoding,
    /// What stands between two fields; a comma without it. One ASCII character.
    pub delimiter: Option<char>,
    /// Our column to its values: that in the file to ours.
    pub values: BTreeMap<String, BTreeMap<String, String>>,
}

impl ImportFile {
    /// What fits no column of the kind or no word of its `status`, and what was meant. The columns and words are
    /// given, since the configuration knows no job.
    pub fn problems(&self, kind: &str, columns: &[&str], statuses: &[&str]) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(format) = self.time_format.as_ref().filter(|format| !format.contains('%')) {
            problems.push(format!(
                "[import.{kind}] time_format: `{format}` has no `%`: write one like %Y/%m/%d %H:%M"
            ));
        }
        let unknown = |section: &str, name: &str, advice: &str| {
            format!("[import.{kind}.{section}] names `{name}`, which is no column of {kind}: {advice}")
        };
        let near = |name: &str| {
            nearest(name, columns.iter().copied()).map_or_else(
                || format!("the columns are {}", columns.join(", ")),
                |known| format!("did you mean `{known}`?"),
            )
        };
        for (ours, theirs) in &self.columns {
            if columns.contains(&ours.as_str()) {
                continue;
            }
            let advice = if columns.contains(&theirs.as_str()) {
                format!("write it the other way round, {theirs} = \"{ours}\"")
            } else {
                near(ours)
            };
            problems.push(unknown("columns", ours, &advice));
        }
        for (column, values) in &self.values {
            if !columns.contains(&column.as_str()) {
                problems.push(unknown("values", column, &near(column)));
            }
            for (theirs, ours) in values.iter().filter(|_| column == "status" && !statuses.is_empty()) {
                if statuses.contains(&ours.as_str()) {
                    continue;
                }
                let advice = nearest(ours, statuses.iter().copied())
                    .map_or_else(String::new, |known| format!(": did you mean `{known}`?"));
                problems.push(format!(
                    "[import.{kind}.values.status] gives `{theirs}` the value `{ours}`, which is none of {}{advice}",
                    statuses.join(", ")
                ));
            }
        }
        problems
    }
}

/// `[jobs."GROUP JOB"]`: what differs from the job's own constants.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobOverride {
    /// When `schedule crontab|k8s|systemd` says it runs: five cron fields.
    pub schedule: Option<String>,
    /// Its deadline.
    #[serde(deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// How many items may fail.
    pub skip_limit: Option<SkipLimit>,
    /// How urgent its failure is.
    pub severity: Option<Severity>,
    /// Whether `schedule` lists it; true without it.
    pub enabled: Option<bool>,
}

/// How many items of a run may be skipped before it fails: `100`, or `1%` of those read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SkipLimit {
    /// So many items.
    Count(u64),
    /// So many of a hundred, from 0 to 100.
    Percent(f64),
}

impl SkipLimit {
    /// Whether `skipped` of `read` items are too many.
    #[expect(clippy::cast_precision_loss, reason = "a share of more than 2^52 items may be off by one")]
    pub fn is_exceeded(self, skipped: u64, read: u64) -> bool {
        match self {
            Self::Count(limit) => skipped > limit,
            Self::Percent(limit) => skipped as f64 * 100.0 > limit * read as f64,
        }
    }
}

impl FromStr for SkipLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = match text.strip_suffix('%') {
            Some(share) => {
                share.parse().ok().filter(|share| (0.0..=100.0).contains(share)).map(Self::Percent)
            }
            None => text.parse().ok().map(Self::Count),
        };
        limit.ok_or_else(|| {
            format!("`{text}` is not a skip limit: write a count such as 100, or a share such as 1%")
        })
    }
}

impl fmt::Display for SkipLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Percent(share) => write!(formatter, "{share}%"),
        }
    }
}

impl<'de> Deserialize<'de> for SkipLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Integer(count) => u64::try_from(count)
                .map(Self::Count)
                .map_err(|_| de::Error::custom("a skip limit is not negative")),
            toml::Value::String(text) => text.parse().map_err(de::Error::custom),
            _ => Err(de::Error::custom("write a count such as 100, or a share such as \"1%\"")),
        }
    }
}

/// serde's attribute wants the field's own type.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(de::Error::custom)
}

impl FileConfig {
    /// Reads the text of a file; `file` is how errors name it.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let document = Document::parse(file, text)?;
        let config: Self = toml::from_str(text).map_err(|error| document.explain(&error))?;
        config.validate_alerts(&document)?;
        config.validate_imports(&document)?;
        config.validate_jobs(&document)?;
        config.mail.validate(&document)?;
        config.cart_remind.validate(&document)?;
        config.cafe24.validate(&document)?;
        for (index, delivery) in config.report.delivery.iter().enumerate() {
            delivery.validate(index, &document)?;
        }
        Ok(config)
    }

    fn validate_alerts(&self, document: &Document<'_>) -> Result<(), ConfigError> {
        for (index, channel) in self.alerts.channel.iter().enumerate() {
            let place = index.to_string();
            let name = &channel.name;
            if self.alerts.channel[..index].iter().any(|earlier| earlier.name == *name) {
                let path = ["alerts", "channel", place.as_str(), "name"];
                return Err(document.error_at(&path, format!("two channels are called `{name}`")));
            }
            channel.validate(document, &place)?;
        }
        let unknown = |path: &[&str], name: &str| {
            let advice = nearest(name, self.alerts.channel.iter().map(|channel| channel.name.as_str()))
                .map_or_else(String::new, |known| format!(": did you mean `{known}`?"));
            let problem =
                format!("`{}` names the channel `{name}`, which is not defined{advice}", path.join("."));
            document.error_at(path, problem)
        };
        for severity in Severity::ALL {
            for name in self.alerts.routes.of(severity) {
                if self.alerts.named(name).is_none() {
                    return Err(unknown(&["alerts", "routes", severity.as_str()], name));
                }
            }
        }
        match &self.alerts.dev_channel {
            Some(name) if self.alerts.named(name).is_none() => Err(unknown(&["alerts", "dev_channel"], name)),
            _ => Ok(()),
        }
    }

    fn validate_imports(&self, document: &Document<'_>) -> Result<(), ConfigError> {
        let import = &self.import;
        let files = [
            ("orders", &import.orders),
            ("members", &import.members),
            ("products", &import.products),
            ("refunds", &import.refunds),
            ("carts", &import.carts),
            ("coupons", &import.coupons),
            ("subscriptions", &import.subscriptions),
            ("articles", &import.articles),
            ("consents", &import.consents),
        ];
        for (kind, file) in files {
            if let Some(format) = &file.time_format
                && StrftimeItems::new(format).any(|item| item == Item::Error)
            {
                let problem = format!(
                    "`import.{kind}.time_format`: `{format}` is not a time format: write one like %Y/%m/%d %H:%M"
                );
                return Err(document.error_at(&["import", kind, "time_format"], problem));
            }
            if file.delimiter.is_some_and(|c| !c.is_ascii() || matches!(c, '"' | '\n' | '\r')) {
                let problem =
                    format!("`import.{kind}.delimiter` is not a delimiter: write \",\", \";\" or \"\\t\"");
                return Err(document.error_at(&["import", kind, "delimiter"], problem));
            }
        }
        Ok(())
    }

    fn validate_jobs(&self, document: &Document<'_>) -> Result<(), ConfigError> {
        for (name, job) in &self.jobs {
            if let Some(schedule) = &job.schedule
                && let Err(advice) = check_schedule(schedule)
            {
                let problem = format!("`jobs.\"{name}\".schedule`: `{schedule}` is not a schedule: {advice}");
                return Err(document.error_at(&["jobs", name, "schedule"], problem));
            }
            if job.timeout.is_some_and(|timeout| timeout.is_zero()) {
                let problem = format!("`jobs.\"{name}\".timeout` is zero: no run could finish");
                return Err(document.error_at(&["jobs", name, "timeout"], problem));
            }
        }
        Ok(())
    }

    /// Every variable that the file names, and what names it.
    pub(super) fn named_variables(&self) -> impl Iterator<Item = (&str, String)> {
        self.alerts
            .channel
            .iter()
            .flat_map(|channel| {
                channel.variables().map(|(_, name)| (name, format!("alerts.channel `{}`", channel.name)))
            })
            .chain(self.mail.named_variables())
            .chain(self.cafe24.named_variables())
    }
}

pub(super) fn is_variable_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A field of a schedule: its name, its least and greatest number, and the names of its numbers from the least.
type ScheduleField = (&'static str, u32, u32, &'static [&'static str]);

/// The fields of crontab(5), where Sunday is 0 and 7.
const SCHEDULE_FIELDS: [ScheduleField; 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of the month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of the week", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// Says what to write instead, unless a schedule is five fields that cron takes.
fn check_schedule(text: &str) -> Result<(), String> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if fields.len() != SCHEDULE_FIELDS.len() {
        return Err("write five cron fields, such as 30 1 * * *".to_owned());
    }
    for (field, known) in fields.iter().zip(&SCHEDULE_FIELDS) {
        if !field.split(',').all(|part| is_schedule_part(part, known)) {
            let (name, least, greatest, _) = known;
            return Err(format!("its {name} `{field}` is not from {least} to {greatest}"));
        }
    }
    Ok(())
}

/// `*`, a number or a range, each with a step if one likes.
fn is_schedule_part(part: &str, (_, least, greatest, names): &ScheduleField) -> bool {
    let number = |text: &str| {
        let by_name = (*least..).zip(*names).find(|(_, name)| name.eq_ignore_ascii_case(text));
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = by_name.map(|(number, _)| number).or_else(|| text.parse().ok().filter(|_| is_number));
        number.filter(|number| (least..=greatest).contains(&number))
    };
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let is_range = match range.split_once('-') {
        _ if range == "*" => true,
        Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
        None => number(range).is_some(),
    };
    is_range && step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| (1..=*greatest).contains(&step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> FileConfig {
        FileConfig::parse("batchctl.toml", text).unwrap()
    }

    fn error(text: &str) -> String {
        FileConfig::parse("batchctl.toml", text).unwrap_err().to_string()
    }

    const CHANNELS: &str =
        "[[alerts.channel]]\nname = \"ops\"\nkind = \"slack\"\nurl_variable = \"OPS_SLACK_URL\"\n";

    #[test]
    fn the_example_is_read_whole() {
        let example = include_str!("../../batchctl.example.toml");
        assert!(parsed(example).alerts.channel.is_empty(), "the channels want variables that are not set");
        // A commented setting has no blank behind its `#`, a remark has one.
        let uncommented: Vec<&str> = example
            .lines()
            .map(|line| {
                line.strip_prefix('#')
                    .filter(|rest| rest.starts_with(|c| !matches!(c, ' ' | '#')))
                    .unwrap_or(line)
            })
            .collect();
        let config = parsed(&uncommented.join("\n"));
        assert_eq!(config.import.orders.columns.len(), 15);
        assert_eq!(config.report.locale, Some(Locale::Ja));
        assert_eq!(config.report.delivery[0].to.len(), 2);
        assert_eq!(config.alerts.channels(Severity::High, true)[0].name, "ops");
        assert_eq!(config.alerts.channels(Severity::High, false)[0].name, "dev");
        assert_eq!(config.import.orders.columns["order_no"], "注文番号");
        assert_eq!(config.import.orders.values["status"]["支払済"], "PAID");
        let job = &config.jobs["report daily-sales"];
        assert_eq!(job.timeout, Some(Duration::from_mins(45)));
        assert_eq!(job.skip_limit, Some(SkipLimit::Percent(1.0)));
        assert_eq!(job.severity, Some(Severity::High));
    }

    #[test]
    fn a_delivery_that_could_only_fail_at_night_is_refused_without_repeating_an_address() {
        let delivery = |rest: &str| error(&format!("[[report.delivery]]\nreport = \"daily-sales\"\n{rest}"));
        assert_eq!(
            delivery("to = [\"a@example.jp\", \"hunter22\"]"),
            "batchctl.toml line 3: `report.delivery.to`: entry 2 is not a mail address: write one like manager@example.jp"
        );
        assert_eq!(
            delivery("to = []"),
            "batchctl.toml line 3: `report.delivery.to` names nobody: write [\"manager@example.jp\"]"
        );
        assert_eq!(
            delivery("to = [\"a@example.jp\"]\nsubject = \"a\\nb\""),
            "batchctl.toml line 4: `report.delivery.subject` is empty or holds a line break"
        );
        assert_eq!(
            delivery("to = [\"a@example.jp\"]\nformat = [\"pfd\"]"),
            "batchctl.toml line 4: `report.delivery.format`: unknown variant `pfd`, expected one of `table`, `csv`, `xlsx`, `pdf`, `json`"
        );
    }

    #[test]
    fn an_empty_file_is_fine() {
        assert_eq!(parsed("# nothing yet\n"), FileConfig::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_section_and_nearest_name() {
        for (text, message) in [
            (
                "[pdf]\n\n[alerts]\n# x\n\n\n[[alerts.chanels]]\nname = \"ops\"",
                "batchctl.toml line 7: unknown key `chanels` in `alerts`: did you mean `channel`?",
            ),
            ("reports = 1", "batchctl.toml line 1: unknown key `reports`: did you mean `report`?"),
            (
                "zzz = 1",
                "batchctl.toml line 1: unknown key `zzz`: known are pdf, report, alerts, import, mail, \
                 cart_remind, digest, cafe24, jobs",
            ),
            (
                "[jobs.\"report daily-sales\"]\ntimout = \"5m\"",
                "batchctl.toml line 2: unknown key `timout` in `jobs.\"report daily-sales\"`: did you mean `timeout`?",
            ),
            (
                "[import.order]\nmall = \"main\"",
                "batchctl.toml line 1: unknown key `order` in `import`: did you mean `orders`?",
            ),
            (
                "[[alerts.channel]]\nname = \"ops\"\nkind = \"slack\"\nurl = \"https://hooks.slack.com/x\"",
                "batchctl.toml line 4: unknown key `url` in `alerts.channel`: did you mean `url_variable`?",
            ),
        ] {
            assert_eq!(error(text), message);
        }
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_line() {
        for (text, message) in [
            (
                "[report]\nlocale = \"jp\"",
                "batchctl.toml line 2: `report.locale`: unknown variant `jp`, expected one of `en`, `ja`, `ko`",
            ),
            (
                "[jobs.\"mall sync\"]\nenabled = \"hunter22\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".enabled`: invalid type: string, expected a boolean",
            ),
            (
                "[jobs.\"mall sync\"]\n\ntimeout = \"45\"",
                "batchctl.toml line 3: `jobs.\"mall sync\".timeout`: `45` has no unit: write 45s, 45m or 45h",
            ),
            (
                "[jobs.\"mall sync\"]\nskip_limit = \"101%\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".skip_limit`: `101%` is not a skip limit: write a count such as 100, or a share such as 1%",
            ),
            (
                "[jobs.\"mall sync\"]\nschedule = \"30 1 * *\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".schedule`: `30 1 * *` is not a schedule: write five cron fields, such as 30 1 * * *",
            ),
            (
                "[jobs.\"mall sync\"]\nskip_limit = \"1%%\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".skip_limit`: `1%%` is not a skip limit: write a count such as 100, or a share such as 1%",
            ),
            (
                "[jobs.\"mall sync\"]\n\nschedule = \"30 25 * * *\"",
                "batchctl.toml line 3: `jobs.\"mall sync\".schedule`: `30 25 * * *` is not a schedule: its hour `25` is not from 0 to 23",
            ),
            (
                "[[alerts.channel]]\nname = \"ops\"\nkind = \"slack\"",
                "batchctl.toml line 1: `alerts.channel` `ops` of the kind `slack` needs `url_variable`",
            ),
            (
                "[import.orders]\ndelimiter = \"、\"",
                "batchctl.toml line 2: `import.orders.delimiter` is not a delimiter: write \",\", \";\" or \"\\t\"",
            ),
            (
                "[import.orders]\ntime_format = \"%Y-%Q!\"",
                "batchctl.toml line 2: `import.orders.time_format`: `%Y-%Q!` is not a time format: write one like %Y/%m/%d %H:%M",
            ),
        ] {
            assert_eq!(error(text), message);
        }
    }

    #[test]
    fn a_schedule_is_what_cron_takes() {
        for right in ["*/5 * * * *", "0,30 1-5/2 1 JAN-mar 7", "59 23 31 12 mon-fri", "0 0 * * Sun,3"] {
            assert_eq!(check_schedule(right), Ok(()), "{right}");
        }
        for wrong in ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *"] {
            assert!(check_schedule(wrong).is_err(), "{wrong}");
        }
        for wrong in ["*/0 * * * *", "1, * * * *", "mon * * * *", "+1 * * * *", "1-2-3 * * * *"] {
            assert!(check_schedule(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_encoding_has_the_names_that_the_flag_takes() {
        let config = parsed("[import.orders]\nencoding = \"sjis\"\n[import.members]\nencoding = \"cp949\"");
        assert_eq!(config.import.orders.encoding, TextEncoding::ShiftJis);
        assert_eq!(config.import.members.encoding, TextEncoding::EucKr);
    }

    #[test]
    fn a_syntax_error_is_one_line() {
        let message = error("[pdf]\nfont_dirs = [\n");
        assert!(message.starts_with("batchctl.toml line ") && !message.contains('\n'), "{message}");
    }

    #[test]
    fn a_url_where_a_variable_is_named_is_refused_and_not_repeated() {
        let message =
            error(&CHANNELS.replace("OPS_SLACK_URL", "https://hooks.slack.com/services/T0/B0/hunter22"));
        assert_eq!(
            message,
            "batchctl.toml line 4: `url_variable` of alerts.channel `ops` holds a URL: put the URL in a variable such as \
             OPS_SLACK_URL and write that name here"
        );
        let message = error(&CHANNELS.replace("slack\"", "https://hunter22\""));
        assert!(!message.contains("hunter22"), "{message}");
    }

    #[test]
    fn a_route_to_a_channel_that_is_not_there_is_an_error() {
        assert_eq!(
            error(&format!("{CHANNELS}[alerts.routes]\nhigh = [\"opps\"]")),
            "batchctl.toml line 6: `alerts.routes.high` names the channel `opps`, which is not defined: did you mean `ops`?"
        );
        assert_eq!(
            error("[alerts]\ndev_channel = \"dev\""),
            "batchctl.toml line 2: `alerts.dev_channel` names the channel `dev`, which is not defined"
        );
        assert_eq!(error(&CHANNELS.repeat(2)), "batchctl.toml line 6: two channels are called `ops`");
    }

    #[test]
    fn a_skip_limit_is_a_count_or_a_share() {
        assert!(!SkipLimit::Count(2).is_exceeded(2, 2) && SkipLimit::Count(2).is_exceeded(3, 1000));
        let share: SkipLimit = "1.5%".parse().unwrap();
        assert!(!share.is_exceeded(15, 1000) && share.is_exceeded(16, 1000));
        assert_eq!(share.to_string(), "1.5%");
        assert!("-1".parse::<SkipLimit>().is_err() && "NaN%".parse::<SkipLimit>().is_err());
        let counted = parsed("[jobs.a]\nskip_limit = 5");
        assert_eq!(counted.jobs["a"].skip_limit, Some(SkipLimit::Count(5)));
    }
}
