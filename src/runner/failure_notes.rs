//! The failures of a command, kept for its end, so that even a long backfill stays within twenty lines.

use crate::context::Context;

/// A failure prints at most 20 lines; two are kept for the sentence that counts the rest.
const MOST_LINES: usize = 18;

/// The failures so far.
#[derive(Default)]
pub(super) struct FailureNotes {
    shown: Vec<(String, Vec<String>)>,
    lines: usize,
    counted: usize,
}

impl FailureNotes {
    /// Notes one failure with what helps to look into it; only counted once the lines are used up.
    pub(super) fn note(&mut self, message: &str, hints: &[String]) {
        let hints = &hints[..hints.len().min(MOST_LINES - 1)];
        if self.lines + 1 + hints.len() > MOST_LINES {
            self.counted += 1;
            return;
        }
        self.lines += 1 + hints.len();
        self.shown.push((message.to_owned(), hints.to_vec()));
    }

    /// Prints them, and forgets them.
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
