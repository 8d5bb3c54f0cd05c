//! Which mails a command is about.

use crate::address::{self, spellings};
use crate::context::Context;
use crate::failure::Failure;
use crate::jobs::listing::Selection;

/// When rows of the mail queue came about, and whether they wait for somebody.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Occurrence {
    /// Those of this run of `mail flush`
    #[arg(long, value_name = "ID")]
    pub(super) run: Option<i64>,
    /// Those since this day, instant (RFC 3339) or duration ago, such as 2h
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub(super) since: Option<String>,
    /// Those before this day, instant or duration ago
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub(super) until: Option<String>,
    /// Those that wait for a person's decision
    #[arg(long)]
    pub(super) held: bool,
}

impl Occurrence {
    /// Whether it leaves out nothing.
    fn is_empty(&self) -> bool {
        self.since.is_none() && self.until.is_none() && self.run.is_none() && !self.held
    }

    /// Adds the conditions that were given, of rows with this time that are a run's by this condition.
    pub(super) fn narrow(
        &self,
        cx: &Context,
        selection: Selection,
        of_run: &str,
        time: &str,
    ) -> Result<Selection, Failure> {
        let moment =
            |flag, text: &Option<String>| text.as_deref().map(|text| cx.moment(flag, text)).transpose();
        Ok(selection
            .with(of_run, self.run)
            .with(&format!("{time} >= ?"), moment("--since", &self.since)?)
            .with(&format!("{time} < ?"), moment("--until", &self.until)?)
            .only(self.held.then_some("is_held")))
    }
}

/// What the mails of a command have in common. The time of a mail is when it ended, or was queued if it has not.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct MailFilter {
    /// Mails of this kind, such as cart-reminder
    #[arg(long)]
    kind: Option<String>,
    /// Mails to this address
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Mails to addresses of this domain
    #[arg(long)]
    domain: Option<String>,
    /// Mails whose last reply contains this text
    #[arg(long, value_name = "TEXT")]
    reply: Option<String>,
    #[command(flatten)]
    occurrence: Occurrence,
}

impl MailFilter {
    /// Whether it leaves out no mail.
    pub(super) fn is_empty(&self) -> bool {
        let texts = [&self.kind, &self.to, &self.domain, &self.reply];
        texts.iter().all(|text| text.is_none()) && self.occurrence.is_empty()
    }

    /// Mails to an address, or to any, since a moment.
    pub(super) fn since(address: Option<String>, since: String) -> Self {
        let occurrence = Occurrence { since: Some(since), ..Occurrence::default() };
        Self { to: address, occurrence, ..Self::default() }
    }

    /// Adds only the conditions that were given: one that is always there would defeat its index.
    pub(super) fn narrow(&self, cx: &Context, selection: Selection) -> Result<Selection, Failure> {
        let lower = |text: &Option<String>| text.as_deref().map(str::to_lowercase);
        let mut selection = selection.with("kind = ?", self.kind.as_deref());
        if let Some(address) = lower(&self.to) {
            let other = address::parse(&address).ok().map(|one| address::normalised(&one));
            let other = other.and_then(|one| spellings(&one).find(|spelling| *spelling != address));
            let other = other.unwrap_or_else(|| address.clone());
            let named = selection.place(format!("%<{}>", like_escaped(&address)));
            let other_named = selection.place(format!("%<{}>", like_escaped(&other)));
            let other = selection.place(other);
            selection = selection.with(
                &format!(
                    "(LOWER(recipient) IN (?, {other}) OR LOWER(recipient) LIKE {named} ESCAPE '!'
                      OR LOWER(recipient) LIKE {other_named} ESCAPE '!')"
                ),
                Some(address),
            );
        }
        if let Some(domain) = lower(&self.domain) {
            let domain = like_escaped(domain.trim_start_matches('@'));
            let named = selection.place(format!("%@{domain}>"));
            selection = selection.with(
                &format!("(LOWER(recipient) LIKE ? ESCAPE '!' OR LOWER(recipient) LIKE {named} ESCAPE '!')"),
                Some(format!("%@{domain}")),
            );
        }
        let reply = lower(&self.reply).map(|reply| format!("%{}%", like_escaped(&reply)));
        let attempted = "id IN (SELECT mail_id FROM mail_attempts WHERE run_id = ?)";
        // SQLite knows capitals only of ASCII: others are found as they are written.
        if let Some(typed) = &self.reply {
            let typed = selection.place(format!("%{}%", like_escaped(typed)));
            selection = selection.with(
                &format!("(LOWER(last_reply) LIKE ? ESCAPE '!' OR last_reply LIKE {typed} ESCAPE '!')"),
                reply,
            );
        }
        self.occurrence.narrow(cx, selection, attempted, "COALESCE(ended_at, queued_at)")
    }
}

/// Of an address, whichever way its domain is written.
pub(super) fn of_address(mut selection: Selection, address: Option<&str>) -> Selection {
    if let Some(address) = address {
        let other = spellings(address).last().unwrap_or_default();
        let other = selection.place(other);
        selection = selection.with(&format!("(address = ? OR address = {other})"), Some(address));
    }
    selection
}

/// Escapes the characters that are special to LIKE with a `!`.
fn like_escaped(text: &str) -> String {
    text.chars().flat_map(|c| if matches!(c, '%' | '_' | '!') { vec!['!', c] } else { vec![c] }).collect()
}
