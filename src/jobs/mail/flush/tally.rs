//! What a run has done so far.

use crate::wording::counted;

/// What has been done so far.
#[derive(Debug, Default)]
pub(super) struct MailTally {
    pub(super) sent: u64,
    pub(super) again: u64,
    pub(super) unknown: u64,
    pub(super) failed: u64,
    pub(super) cancelled: u64,
    /// Mails whose addresses are said not to exist, which a person has to decide about.
    pub(super) undecided: u64,
    /// Mails in a different language from the one their rows requested, whatever their outcome.
    pub(super) fallbacks: u64,
}

impl MailTally {
    /// How many mails something became of.
    pub(super) fn all(&self) -> u64 {
        self.sent + self.again + self.unknown + self.failed + self.cancelled + self.undecided
    }

    pub(super) fn sentence(&self) -> String {
        let mut sentence = format!("sent {} of {}", self.sent, counted(self.all(), "mail", "mails"));
        for (count, what) in [
            (self.again, "to be retried"),
            (self.unknown, "with unknown outcome"),
            (self.failed, "failed"),
            (self.undecided, "kept until their bounces are decided on"),
            (self.cancelled, "no longer wanted"),
            (self.fallbacks, "in a fallback language"),
        ] {
            if count > 0 {
                sentence.push_str(&format!(", {count} {what}"));
            }
        }
        sentence
    }
}
