//! `alerts test`: posts a test message to the channels of `batchctl.toml`, so that the first real alert is not the one that
//! shows a wrong URL.

use crate::channels::{Message, Posted};
use crate::config::AlertChannel;
use crate::context::Context;
use crate::failure::{Failure, FailureKind};
use crate::printable::escaped;
use crate::severity::Severity;
use crate::spelling::advice;
use crate::wording::counted;

/// Test the alert channels
#[derive(Debug, clap::Subcommand)]
pub enum Alerts {
    /// Post a test message to one channel or to all, and report whether it was delivered
    ///
    /// Outside prod it goes to the dev channel, as every alert does. It is posted at once, mentions nobody without
    /// `--mention`, and is not stored. The exit code is 75 if trying again may help.
    Test {
        /// Post to this channel of `batchctl.toml` (default: to each)
        channel: Option<String>,
        /// Mention whoever the channel mentions in high and critical alerts
        #[arg(long)]
        mention: bool,
    },
}

impl Alerts {
    /// Runs the chosen command.
    pub async fn dispatch(&self, cx: &Context) -> anyhow::Result<()> {
        match self {
            Self::Test { channel, mention } => test(cx, channel.as_deref(), *mention).await,
        }
    }
}

async fn test(cx: &Context, name: Option<&str>, mention: bool) -> anyhow::Result<()> {
    let channels = chosen(cx, name)?;
    refuse_to_post_nowhere(cx)?;
    let (mut failures, mut has_unset_variable) = (Vec::new(), false);
    for channel in &channels {
        let message = message(cx, channel, mention);
        let posted = cx.channels().post(&channel.name, &message).await;
        let outcome = match &posted {
            Ok(Posted::Delivered { channel: to, .. }) if *to != channel.name => {
                format!("delivered to the dev channel `{to}`")
            }
            Ok(Posted::Delivered { .. }) => "delivered".to_owned(),
            Ok(Posted::Withheld) => "not posted".to_owned(),
            Err(failure) => failure.to_string(),
        };
        cx.output.text(&escaped(&format!("{} ({}): {outcome}", channel.name, channel.kind.as_str())))?;
        has_unset_variable |= posted.is_err() && failures.is_empty() && has_unset(cx, channel);
        failures.extend(posted.err());
    }
    told(failures, channels.len(), has_unset_variable)
}

/// Whether a variable that the channel needs is not set.
fn has_unset(cx: &Context, channel: &AlertChannel) -> bool {
    !cx.config.channel_problems(channel).is_empty()
}

/// The channels to try.
fn chosen<'c>(cx: &'c Context, name: Option<&str>) -> Result<Vec<&'c AlertChannel>, Failure> {
    let all = &cx.config.alerts().channel;
    let Some(name) = name else {
        if all.is_empty() {
            return Err(Failure::configuration("no alert channel is configured: nobody is told about failures")
                .hint("write [[alerts.channel]] and [alerts.routes] into batchctl.toml; batchctl.example.toml shows each kind"));
        }
        return Ok(all.iter().collect());
    };
    let found = all.iter().find(|channel| channel.name == name);
    found.map(|channel| vec![channel]).ok_or_else(|| {
        let names = all.iter().map(|channel| channel.name.as_str());
        Failure::usage(format!("there is no alert channel `{name}`{}", advice(name, names)))
    })
}

/// Outside prod nothing would be posted without a dev channel, which would look like a success.
fn refuse_to_post_nowhere(cx: &Context) -> Result<(), Failure> {
    let config = &cx.config;
    if config.is_prod() || config.alerts().dev_channel.is_some() {
        return Ok(());
    }
    Err(Failure::configuration(format!(
        "in `{}` alerts go to `alerts.dev_channel` only, which is not set: nothing was posted",
        config.environment()
    ))
    .hint("set dev_channel below [alerts] of batchctl.toml, or use --env prod"))
}

/// What a channel gets: also which alerts it would get, since a channel without a route gets none.
fn message(cx: &Context, channel: &AlertChannel, mention: bool) -> Message {
    let environment = cx.config.environment();
    let severities: Vec<&str> = Severity::ALL
        .into_iter()
        .filter(|severity| cx.config.alerts().routes.of(*severity).contains(&channel.name))
        .map(Severity::as_str)
        .collect();
    let routed = match severities.as_slice() {
        [] => format!("no severity is routed to `{}`: in prod it gets no alerts", channel.name),
        severities => {
            format!("in prod `{}` gets alerts of severity {}", channel.name, severities.join(", "))
        }
    };
    let now = cx.now();
    let id = format!("alerts-test.{}", now.timestamp_micros());
    Message {
        lines: vec!["batchctl alerts test: nothing is wrong".to_owned(), routed],
        mentions: mention,
        ..Message::new(
            id,
            now,
            Severity::Low,
            format!("Test of the alert channel `{}` ({environment})", channel.name),
        )
    }
}

fn told(failures: Vec<Failure>, channels: usize, has_unset_variable: bool) -> anyhow::Result<()> {
    let failed = failures.len();
    let Some(first) = failures.into_iter().next() else { return Ok(()) };
    let message = match channels {
        1 => first.message,
        _ => format!("{failed} of {} failed: {}", counted(channels, "channel", "channels"), first.message),
    };
    // At the next alert a variable may be set that is not set in this shell; here somebody has to set it.
    let kind = if has_unset_variable { FailureKind::Configuration } else { first.kind };
    let failure = match kind {
        FailureKind::TryLater => Failure::try_later(message),
        FailureKind::Configuration => Failure::configuration(message),
        _ => Failure::failed(message),
    };
    Err(match first.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
    .into())
}
