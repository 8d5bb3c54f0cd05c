//! Which events a command is about.

use crate::context::Context;
use crate::failure::Failure;
use crate::jobs::listing::Selection;

/// Where an event is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum EventState {
    /// Is neither published nor given up, whether it was refused before (`retry`) or not
    Waiting,
    /// Was refused, and is offered again later: one of those that wait
    Retry,
    /// Is published
    Published,
    /// Was given up
    Dead,
}

impl EventState {
    /// The condition on a row, in the words of the indexes.
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::Waiting => "published_at IS NULL AND dead_at IS NULL",
            Self::Retry => "published_at IS NULL AND dead_at IS NULL AND next_attempt_at IS NOT NULL",
            Self::Published => "published_at IS NOT NULL",
            Self::Dead => "dead_at IS NOT NULL",
        }
    }
}

/// What the events of a command have in common.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct EventFilter {
    /// Events of this type, such as order.cancelled
    #[arg(long, value_name = "TYPE")]
    event_type: Option<String>,
    /// Events about this kind of thing, such as order
    #[arg(long, value_name = "TYPE")]
    aggregate_type: Option<String>,
    /// Events about the thing with this id
    #[arg(long, value_name = "ID", requires = "aggregate_type")]
    aggregate_id: Option<String>,
    /// Events that were written since this day, instant (RFC 3339) or duration ago, such as 2h
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    since: Option<String>,
    /// Events that were written before this day, instant or duration ago
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    until: Option<String>,
}

impl EventFilter {
    /// Whether it leaves out no event.
    pub(super) fn is_empty(&self) -> bool {
        [&self.event_type, &self.aggregate_type, &self.aggregate_id, &self.since, &self.until]
            .iter()
            .all(|text| text.is_none())
    }

    /// Adds the conditions that were given.
    pub(super) fn narrow(&self, cx: &Context, selection: Selection) -> Result<Selection, Failure> {
        let moment =
            |flag, text: &Option<String>| text.as_deref().map(|text| cx.moment(flag, text)).transpose();
        Ok(selection
            .with("event_type = ?", self.event_type.as_deref())
            .with("aggregate_type = ?", self.aggregate_type.as_deref())
            .with("aggregate_id = ?", self.aggregate_id.as_deref())
            .with("created_at >= ?", moment("--since", &self.since)?)
            .with("created_at < ?", moment("--until", &self.until)?))
    }
}
