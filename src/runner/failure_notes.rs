//! The failures of a command, kept for its end, so that even a long backfill prints at most twenty lines.

use crate::context::Context;

/// A failure prints at most 20 lines; two are reserved for the sentence that counts the rest.
const MAX_LINES: usize = 18;

/// The failures so far.
#[derive(Default)]
pub(super) struct FailureNotes {
    shown: Vec<(String, Vec<String>)>,
    lines: usize,
    counted: usize,
}

impl FailureNotes {
    /// Notes one failure with hints for looking into it; once the lines are used up, it is only counted.
    pub(super) fn note(&mut self, message: &str, hints: &[String]) {
        let hints = &hints[..hints.len().min(MAX_LINES - 1)];
        if self.lines + 1 + hints.len() > MAX_LINES {
            self.counted += 1;
            return;
        }
        self.lines += 1 + hints.len();
        self.shown.push((message.to_owned(), hints.to_vec()));
    }

    /// Adds what another lane noted.
    pub(super) fn append(&mut self, others: &Self) {
        for (message, hints) in &others.shown {
            self.note(message, hints);
        }
        self.counted += others.counted;
    }

    /// Prints and clears them.
    pub(super) fn print(&mut self, cx: &Context, job: &str) {
        for (message, hints) in self.shown.drain(..) {
            cx.output.error(&message, &hints);
        }
        if self.counted > 0 {
            let look = format!("look:  batchctl --env {} runs list --job '{job}'", cx.config.environment());
            cx.output.error(&format!("{} more runs failed", self.counted), &[look]);
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failures_of_many_lanes_stay_within_twenty_lines() {
        let mut notes = FailureNotes::default();
        for lane in 0..10 {
            let mut lane_notes = FailureNotes::default();
            for place in 0..10 {
                lane_notes.note(&format!("{lane}-{place}"), &["look".to_owned(), "retry".to_owned()]);
            }
            notes.append(&lane_notes);
        }
        let lines: usize = notes.shown.iter().map(|(_, hints)| 1 + hints.len()).sum();
        // The sentence that counts the rest has its own hint.
        assert!(lines + 2 <= 20, "{lines} lines");
        assert_eq!(notes.shown.len() + notes.counted, 100);
        assert_eq!(notes.shown.first().map(|(message, _)| message.as_str()), Some("0-0"));
    }
}
