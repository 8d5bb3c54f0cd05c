//! `[alerts]` of `batchctl.toml`: who is told about failures.

use std::time::Duration;

use serde::Deserialize;

use super::Config;
use super::channel::{AlertChannel, ChannelKind};
use super::error::ConfigError;
use super::section::{NamedVariable, Place, Section, duration};
use crate::severity::Severity;
use crate::spelling;

/// `[alerts]`: who is told about failures.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// `[[alerts.channel]]`
    pub channel: Vec<AlertChannel>,
    /// `[alerts.routes]`: which channels receive which severity.
    pub routes: AlertRoutes,
    /// Outside prod every alert goes only to this channel; if it is not set, alerts go nowhere.
    pub dev_channel: Option<String>,
    /// A run that is slower than usual by less than this is not reported; one second by default.
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
    /// The names of the channels for a severity.
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

    /// Where an alert goes: by its route in prod, elsewhere only to the dev channel.
    pub fn channels(&self, severity: Severity, is_prod: bool) -> Vec<&AlertChannel> {
        if is_prod {
            self.routes.of(severity).iter().filter_map(|name| self.named(name)).collect()
        } else {
            self.dev_channel.iter().filter_map(|name| self.named(name)).collect()
        }
    }
}

impl Section for AlertsConfig {
    fn check(&self, place: &Place<'_>) -> Result<(), ConfigError> {
        for (index, channel) in self.channel.iter().enumerate() {
            let name = &channel.name;
            let is_repeated = self.channel[..index].iter().any(|earlier| earlier.name == *name);
            let index = index.to_string();
            if is_repeated {
                let problem = format!("two channels are called `{name}`");
                return Err(place.error(&["channel", &index, "name"], problem));
            }
            channel.check(place, &index)?;
        }
        for severity in Severity::ALL {
            for name in self.routes.of(severity) {
                self.check_name(name, place, &["routes", severity.as_str()])?;
            }
        }
        match &self.dev_channel {
            Some(name) => self.check_name(name, place, &["dev_channel"]),
            None => Ok(()),
        }
    }

    fn named_variables(&self) -> Vec<NamedVariable<'_>> {
        let channels = self.channel.iter().enumerate();
        channels
            .flat_map(|(index, channel)| {
                channel.variables().map(move |(key, name)| NamedVariable {
                    name,
                    path: vec!["channel".to_owned(), index.to_string(), key.to_owned()],
                    needed_by: format!("alerts.channel `{}`", channel.name),
                })
            })
            .collect()
    }
}

impl AlertsConfig {
    /// Refuses the name of a channel that does not exist.
    fn check_name(&self, name: &str, place: &Place<'_>, path: &[&str]) -> Result<(), ConfigError> {
        if self.named(name).is_some() {
            return Ok(());
        }
        let advice = spelling::advice(name, self.channel.iter().map(|channel| channel.name.as_str()));
        let problem =
            format!("`alerts.{}` names the channel `{name}`, which is not defined{advice}", path.join("."));
        Err(place.error(path, problem))
    }
}

impl Config {
    /// The channels that receive a severity: by its route in prod, only the dev channel elsewhere.
    pub fn alert_channels(&self, severity: Severity) -> Vec<&AlertChannel> {
        self.alerts().channels(severity, self.is_prod())
    }

    /// The channels that a job's message goes to: the named one, or those of its severity if none is named. Outside prod
    /// only the dev channel.
    pub fn channels_of_message(&self, name: Option<&str>, severity: Severity) -> Vec<&AlertChannel> {
        match name {
            Some(name) if self.is_prod() => self.channel(name).into_iter().collect(),
            _ => self.alert_channels(severity),
        }
    }

    /// The alert channel of this name.
    pub fn channel(&self, name: &str) -> Option<&AlertChannel> {
        self.alerts().named(name)
    }

    /// Whether any alert could be sent at all.
    pub fn has_alert_channels(&self) -> bool {
        Severity::ALL.iter().any(|severity| !self.alert_channels(*severity).is_empty())
    }

    /// What would keep an alert from this channel, for `config check`.
    pub fn channel_problems(&self, channel: &AlertChannel) -> Vec<String> {
        let unset = channel.variables().filter_map(|(_, name)| self.secret(name).err());
        let mut problems: Vec<String> = unset.map(|error| error.to_string()).collect();
        if channel.kind == ChannelKind::Mail {
            let settings = [
                ("BATCHCTL_MAIL_FROM", self.mail().from.is_none()),
                ("BATCHCTL_MAIL_REDIRECT_TO", self.mail().redirect_to.is_none() && !self.is_prod()),
            ];
            let missing = settings.into_iter().filter(|(_, is_missing)| *is_missing);
            problems.extend(missing.map(|(name, _)| {
                format!("variable `{name}` is not set: alerts.channel `{}` needs it", channel.name)
            }));
        }
        problems
    }

    /// A run that is slower than usual by less than this raises no alert.
    pub fn slow_floor(&self) -> Duration {
        /// Below a second the difference is noise.
        const SLOW_FLOOR: Duration = Duration::from_secs(1);
        self.alerts().slow_floor.unwrap_or(SLOW_FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sections;

    const CHANNELS: &str =
        "[[alerts.channel]]\nname = \"ops\"\nkind = \"slack\"\nurl_variable = \"OPS_SLACK_URL\"\n";

    fn error(text: &str) -> String {
        Sections::parse("batchctl.toml", text).unwrap_err().to_string()
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
    fn a_url_where_a_variable_is_named_is_refused_and_not_repeated() {
        let message =
            error(&CHANNELS.replace("OPS_SLACK_URL", "https://hooks.slack.com/services/T0/B0/hunter22"));
        assert_eq!(
            message,
            "batchctl.toml line 4: `url_variable` of alerts.channel `ops` contains a URL: put the URL in a \
             variable such as OPS_SLACK_URL and write that name here"
        );
        let message = error(&CHANNELS.replace("slack\"", "https://hunter22\""));
        assert!(!message.contains("hunter22"), "{message}");
    }
}
