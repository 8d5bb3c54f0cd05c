//! The failures of a command, kept for its end: those with one cause are told once, with one command to repeat them, and
//! even a long backfill prints at most twenty lines.

use crate::context::Context;
use crate::failure::RESUMES;
use crate::wording::counted;

/// A failure prints at most 20 lines; two are reserved for the sentence that counts the rest.
const MAX_LINES: usize = 18;
/// The most instances that are named of those that failed alike.
const MAX_NAMED: usize = 3;
/// The most runs that one command retries; for more, what was typed is typed again.
const MAX_RETRIED: usize = 50;

/// One failure.
#[derive(Debug, Clone)]
pub(super) struct FailureNote {
    /// The job and the instance.
    pub(super) name: String,
    /// What became of it: `failed`, `did not start`.
    pub(super) what: String,
    /// Its run, if it left a row.
    pub(super) run: Option<i64>,
    /// Its exit code.
    pub(super) code: u8,
    /// How long it took, if it started.
    pub(super) took: Option<String>,
    /// Why, in one line.
    pub(super) reason: String,
    /// Why in general, if the reason names a place or a time.
    pub(super) symptom: Option<String>,
    /// What else there is to know and to do, each line with its label.
    pub(super) details: Vec<String>,
    /// What happens by itself; those that failed alike need not fall due at the same moment.
    pub(super) next: Option<String>,
    /// Whether the operator can look at the run.
    pub(super) is_shown: bool,
    /// Whether the database could not be used any more: its start is noted as lost.
    pub(super) is_of_outage: bool,
    /// Whether a retry is for the operator to type.
    pub(super) is_repeated: bool,
    /// When that helps.
    pub(super) retry_once: Option<String>,
    /// The flags with which it helps.
    pub(super) retry_with: Option<String>,
}

impl FailureNote {
    /// Whether one cause and one remedy hold for both.
    fn is_like(&self, other: &Self) -> bool {
        fn told(note: &FailureNote) -> impl PartialEq + '_ {
            let retry = (note.is_repeated, &note.retry_once, &note.retry_with, note.is_of_outage);
            (&note.what, note.code, note.symptom.as_ref().unwrap_or(&note.reason), &note.details, retry)
        }
        told(self) == told(other)
    }

    /// The lines that it takes, with the sentence.
    fn lines(&self) -> usize {
        let look = usize::from(self.is_shown && self.run.is_some());
        let retry = usize::from(self.is_repeated);
        let next = usize::from(self.next.is_some() || self.is_of_outage);
        1 + self.details.len() + next + look + retry
    }
}

/// Failures with one cause: the first one, and what the others are called.
struct Group {
    first: FailureNote,
    names: Vec<String>,
    runs: Vec<i64>,
    size: usize,
}

impl Group {
    fn of(note: FailureNote) -> Self {
        Self { names: vec![note.name.clone()], runs: note.run.into_iter().collect(), size: 1, first: note }
    }

    fn add(&mut self, note: &FailureNote) {
        self.size += 1;
        if self.names.len() < MAX_NAMED {
            self.names.push(note.name.clone());
        }
        self.runs.extend(note.run);
    }

    fn append(&mut self, other: Self) {
        self.size += other.size;
        self.names.extend(other.names);
        self.names.truncate(MAX_NAMED);
        self.runs.extend(other.runs);
    }

    fn sentence(&self, job: &str) -> String {
        let note = &self.first;
        // The job is named once.
        let others = self.names[1..].iter().map(|name| name.strip_prefix(job).unwrap_or(name).trim_start());
        let mut names = std::iter::once(note.name.as_str()).chain(others).collect::<Vec<_>>().join(", ");
        if self.size > self.names.len() {
            names.push_str(&format!(" and {} more", self.size - self.names.len()));
        }
        let took = note.took.as_ref().filter(|_| self.size == 1).map(|took| format!(", {took}"));
        let run = match self.runs.as_slice() {
            [] => String::new(),
            [run] => format!("run {run}, "),
            [first, second] => format!("runs {first} and {second}, "),
            [first, ..] => format!("{} runs from {first} on, ", self.runs.len()),
        };
        format!(
            "{names} {} ({run}exit {}{}): {}",
            note.what,
            note.code,
            took.unwrap_or_default(),
            note.reason
        )
    }

    /// `line` is the command that was typed.
    fn details(&self, cx: &Context, line: &str) -> Vec<String> {
        let note = &self.first;
        let mut lines = note.details.clone();
        lines.extend(note.next.clone());
        if let Some(run) = self.runs.first().filter(|_| note.is_shown) {
            lines.push(format!("look:  {}", cx.command(&format!("runs show {run}"))));
        }
        if note.is_repeated {
            let mut retry = match self.runs.len() {
                1..=MAX_RETRIED => cx.command(&retry_words(&self.runs, note.retry_with.as_deref())),
                _ => cx.command(line),
            };
            if let Some(once) = &note.retry_once {
                // A shell ignores the comment.
                retry.push_str(&format!("  # {once}"));
            }
            lines.push(format!("retry: {retry}"));
        }
        lines
    }
}

/// A line of advice without the command to repeat what was typed; none if nothing is left of it.
fn without_repeating(line: &str) -> Option<String> {
    let Some(advice) = line.strip_suffix(RESUMES) else { return Some(line.to_owned()) };
    let advice = advice.strip_suffix(", then ").or_else(|| advice.strip_suffix("hint: ").map(|_| ""));
    advice.filter(|advice| !advice.is_empty()).map(str::to_owned)
}

/// The command that retries runs, with these flags added to those they were started with.
pub(super) fn retry_words(runs: &[i64], flags: Option<&str>) -> String {
    let runs = runs.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
    match flags {
        // The retry's own.
        Some("--rerun") => format!("runs retry {runs} --rerun"),
        Some(flags) => format!("runs retry {runs} -- {flags}"),
        None => format!("runs retry {runs}"),
    }
}

/// The failures so far.
#[derive(Default)]
pub(super) struct FailureNotes {
    groups: Vec<Group>,
    lines: usize,
    counted: usize,
}

impl FailureNotes {
    /// The runs that failed in the same way, where there are several, and the flags with which retrying them helps.
    pub(super) fn alike(&self) -> Vec<(Vec<i64>, Option<String>)> {
        let several = self.groups.iter().filter(|group| group.runs.len() > 1);
        several.map(|group| (group.runs.clone(), group.first.retry_with.clone())).collect()
    }

    /// Notes one failure; once the lines are used up, it is only counted.
    pub(super) fn note(&mut self, mut note: FailureNote) {
        note.details.truncate(MAX_LINES / 2);
        if let Some(group) = self.groups.iter_mut().find(|group| group.first.is_like(&note)) {
            return group.add(&note);
        }
        if self.lines + note.lines() > MAX_LINES {
            self.counted += 1;
            return;
        }
        self.lines += note.lines();
        self.groups.push(Group::of(note));
    }

    /// Adds what another lane noted.
    pub(super) fn append(&mut self, others: Self) {
        for group in others.groups {
            if let Some(known) = self.groups.iter_mut().find(|known| known.first.is_like(&group.first)) {
                known.append(group);
            } else if self.lines + group.first.lines() > MAX_LINES {
                self.counted += group.size;
            } else {
                self.lines += group.first.lines();
                self.groups.push(group);
            }
        }
        self.counted += others.counted;
    }

    /// Omits what people know, because they know of the outage.
    pub(super) fn omit_those_of_outage(&mut self) {
        self.groups.retain(|group| !group.first.is_of_outage);
    }

    /// Says what becomes of the start that lost the database. What runs by itself need not be typed.
    pub(super) fn tell_outlook(&mut self, outlook: Option<String>, runs_by_itself: bool) {
        let Some(outlook) = outlook else { return };
        for note in self.groups.iter_mut().map(|group| &mut group.first).filter(|note| note.is_of_outage) {
            note.next = Some(format!("next:  {outlook}"));
            if runs_by_itself {
                note.details = note.details.iter().filter_map(|line| without_repeating(line)).collect();
            }
        }
    }

    /// Prints and clears them. `line` is the command that was typed.
    pub(super) fn print(&mut self, cx: &Context, job: &str, line: &str) {
        for group in self.groups.drain(..) {
            cx.output.error(&group.sentence(job), &group.details(cx, line));
        }
        if self.counted > 0 {
            let look = format!("look:  {}", cx.command(&format!("runs list --job '{job}'")));
            cx.output.error(&format!("{} failed", counted(self.counted, "more run", "more runs")), &[look]);
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(instance: &str, run: i64, reason: &str) -> FailureNote {
        FailureNote {
            name: format!("mall sync {instance}"),
            what: "failed".to_owned(),
            run: Some(run),
            code: 75,
            took: Some("3s".to_owned()),
            reason: reason.to_owned(),
            symptom: None,
            details: vec!["data:  nothing was changed".to_owned()],
            next: None,
            is_shown: true,
            is_of_outage: false,
            is_repeated: true,
            retry_once: None,
            retry_with: None,
        }
    }

    #[test]
    fn the_failures_of_many_lanes_stay_within_twenty_lines() {
        let mut notes = FailureNotes::default();
        for lane in 0..10 {
            let mut lane_notes = FailureNotes::default();
            for place in 0..10 {
                lane_notes.note(note("tokyo", 1, &format!("{lane}-{place}")));
            }
            notes.append(lane_notes);
        }
        let lines: usize = notes.groups.iter().map(|group| group.first.lines()).sum();
        // The sentence that counts the rest has its own hint.
        assert!(lines + 2 <= 20, "{lines} lines");
        assert_eq!(notes.groups.len() + notes.counted, 100);
        assert_eq!(notes.groups[0].first.reason, "0-0");
    }

    #[test]
    fn what_runs_by_itself_need_not_be_typed() {
        let told = |hint: &str, runs_by_itself| {
            let mut notes = FailureNotes::default();
            let details = vec![format!("hint: {hint}{RESUMES}")];
            notes.note(FailureNote { is_of_outage: true, details, ..note("tokyo", 1, "gone") });
            notes.tell_outlook(Some("it will be done".to_owned()), runs_by_itself);
            let first = &notes.groups[0].first;
            (first.details.clone(), first.next.clone().unwrap())
        };
        let next = "next:  it will be done".to_owned();
        assert_eq!(told("", true), (vec![], next.clone()));
        assert_eq!(told("make room, then ", true), (vec!["hint: make room".to_owned()], next.clone()));
        assert_eq!(told("", false), (vec![format!("hint: {RESUMES}")], next));
    }

    #[test]
    fn one_cause_is_told_once() {
        let mut notes = FailureNotes::default();
        for run in 1..=3 {
            notes.note(note(&format!("tokyo {run}"), run, "no answer"));
        }
        let mut others = FailureNotes::default();
        for run in 4..=5 {
            others.note(note(&format!("osaka {run}"), run, "no answer"));
        }
        others.note(note("osaka 6", 6, "HTTP 401"));
        notes.append(others);
        let sentences: Vec<String> = notes.groups.iter().map(|group| group.sentence("mall sync")).collect();
        assert_eq!(
            sentences,
            [
                "mall sync tokyo 1, tokyo 2, tokyo 3 and 2 more failed (5 runs from 1 on, exit 75): no answer",
                "mall sync osaka 6 failed (run 6, exit 75, 3s): HTTP 401"
            ]
        );
        assert_eq!(notes.groups[0].runs, [1, 2, 3, 4, 5]);
    }
}
