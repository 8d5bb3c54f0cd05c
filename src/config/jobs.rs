//! `[jobs."GROUP JOB"]` of `batchctl.toml`: what differs from a job's own constants. Which jobs exist is not known
//! here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::Config;
use super::error::ConfigError;
use super::section::{Place, Section, duration};
use crate::crontab;
use crate::period::format_duration;
use crate::printable::escaped;
use crate::severity::Severity;

/// `[jobs]`: a table for each job, by the job's name.
pub type JobsConfig = BTreeMap<String, JobOverride>;

/// `[jobs."GROUP JOB"]`: what differs from the job's own constants.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobOverride {
    /// When it runs according to `schedule crontab`: five cron fields.
    pub schedule: Option<String>,
    /// Its deadline.
    #[serde(deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// How many items may fail.
    pub skip_limit: Option<SkipLimit>,
    /// How urgent its failure is.
    pub severity: Option<Severity>,
    /// How often a run that failed for a transient cause is tried again.
    pub retries: Option<u32>,
    /// The pause before the first of these retries; it doubles with each one.
    #[serde(deserialize_with = "duration")]
    pub retry_pause: Option<Duration>,
    /// Whether its starts that were lost in an outage of the database are run when it is over; by default those of jobs
    /// for certain days.
    pub catch_up: Option<bool>,
    /// What its line in the crontab has after the job's name.
    pub arguments: Option<String>,
    /// Whether `schedule` lists it; by default, if it has a schedule.
    pub enabled: Option<bool>,
}

/// What fails this often does not fail for a transient cause.
const MAX_RETRIES: u32 = 20;
/// No pause between two retries is longer, whatever it has grown to.
pub const MAX_RETRY_PAUSE: Duration = Duration::from_hours(6);

/// How many items of a run may be skipped before it fails: `100`, or `1%` of those read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SkipLimit {
    /// This many items.
    Count(u64),
    /// This percentage of them, from 0 to 100.
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

impl Section for JobsConfig {
    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        for (name, job) in self {
            if let Some(schedule) = &job.schedule
                && let Err(advice) = crontab::check(schedule)
            {
                let problem = format!("`jobs.\"{name}\".schedule`: `{schedule}` is not a schedule: {advice}");
                return Err(place.error(&[name, "schedule"], problem));
            }
            let is_line = |text: &String| !text.contains(char::is_control) && shlex::split(text).is_some();
            if let Some(arguments) = job.arguments.as_ref().filter(|text| !is_line(text)) {
                let problem = format!(
                    "`jobs.\"{name}\".arguments`: `{}` is not a part of a command line: close its quotes, and write it on one \
                     line",
                    escaped(arguments)
                );
                return Err(place.error(&[name, "arguments"], problem));
            }
            if let Some(retries) = job.retries.filter(|retries| *retries > MAX_RETRIES) {
                let problem = format!(
                    "`jobs.\"{name}\".retries`: {retries} is too many: write a number from 0 to {MAX_RETRIES}"
                );
                return Err(place.error(&[name, "retries"], problem));
            }
            if job.retry_pause.is_some_and(|pause| pause.is_zero()) {
                let problem =
                    format!("`jobs.\"{name}\".retry_pause` is zero: what failed would fail again at once");
                return Err(place.error(&[name, "retry_pause"], problem));
            }
            if let Some(pause) = job.retry_pause.filter(|pause| *pause > MAX_RETRY_PAUSE) {
                let problem = format!(
                    "`jobs.\"{name}\".retry_pause`: {} is too long: write at most {}",
                    format_duration(pause),
                    format_duration(MAX_RETRY_PAUSE)
                );
                return Err(place.error(&[name, "retry_pause"], problem));
            }
            if job.timeout.is_some_and(|timeout| timeout.is_zero()) {
                let problem = format!("`jobs.\"{name}\".timeout` is zero: no run could finish");
                return Err(place.error(&[name, "timeout"], problem));
            }
        }
        Ok(())
    }
}

impl Config {
    /// What `batchctl.toml` changes about a job.
    pub fn job(&self, name: &str) -> Option<&JobOverride> {
        self.jobs().get(name)
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

    /// Refuses a table `[jobs."…"]` of a job that does not exist: no run would follow it, and nobody would notice.
    pub fn check_jobs(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.jobs().keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(self.unknown_key("jobs", unknown, known)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    fn parsed(text: &str) -> Result<JobsConfig, String> {
        Sections::parse("batchctl.toml", text)
            .map(|sections| sections.jobs)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_no_run_could_follow_is_refused_by_its_key() {
        for (text, message) in [
            (
                "[jobs.\"mall sync\"]\n\ntimeout = \"45\"",
                "batchctl.toml line 3: `jobs.\"mall sync\".timeout`: `45` has no unit: write 45s, 45m or 45h",
            ),
            (
                "[jobs.\"mall sync\"]\ntimeout = \"0s\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".timeout` is zero: no run could finish",
            ),
            (
                "[jobs.\"mall sync\"]\nretries = 21",
                "batchctl.toml line 2: `jobs.\"mall sync\".retries`: 21 is too many: write a number from 0 to 20",
            ),
            (
                "[jobs.\"mall sync\"]\nretry_pause = \"0s\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".retry_pause` is zero: what failed would fail again at once",
            ),
            (
                "[jobs.\"mall sync\"]\nretry_pause = \"12h\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".retry_pause`: 12h is too long: write at most 6h",
            ),
            (
                "[jobs.\"mall sync\"]\nskip_limit = \"101%\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".skip_limit`: `101%` is not a skip limit: write a count such as 100, or a share such as 1%",
            ),
            (
                "[jobs.\"mall sync\"]\nskip_limit = \"1%%\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".skip_limit`: `1%%` is not a skip limit: write a count such as 100, or a share such as 1%",
            ),
            (
                "[jobs.\"mall sync\"]\nschedule = \"30 1 * *\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".schedule`: `30 1 * *` is not a schedule: write five cron fields, such as 30 1 * * *",
            ),
            (
                "[jobs.\"mall sync\"]\n\nschedule = \"30 25 * * *\"",
                "batchctl.toml line 3: `jobs.\"mall sync\".schedule`: `30 25 * * *` is not a schedule: its hour `25` is not from 0 to 23",
            ),
            (
                "[jobs.\"mall sync\"]\nschedule = \"0 3 30 2 *\"",
                "batchctl.toml line 2: `jobs.\"mall sync\".schedule`: `0 3 30 2 *` is not a schedule: there is no such day in any year",
            ),
        ] {
            assert_eq!(parsed(text).unwrap_err(), message);
        }
    }

    #[test]
    fn a_skip_limit_is_a_count_or_a_share() {
        assert!(!SkipLimit::Count(2).is_exceeded(2, 2) && SkipLimit::Count(2).is_exceeded(3, 1000));
        let share: SkipLimit = "1.5%".parse().unwrap();
        assert!(!share.is_exceeded(15, 1000) && share.is_exceeded(16, 1000));
        assert_eq!(share.to_string(), "1.5%");
        assert!("-1".parse::<SkipLimit>().is_err() && "NaN%".parse::<SkipLimit>().is_err());
        let counted = parsed("[jobs.a]\nskip_limit = 5").unwrap();
        assert_eq!(counted["a"].skip_limit, Some(SkipLimit::Count(5)));
    }
}
