//! Tells people, the terminal and the alert channels how a run ended, and records failures that happened without a
//! run.

use std::time::Duration;

use crate::failure::{self, one_line};
use crate::period::format_duration;
use crate::runner::alert::{self, Advice};
use crate::runner::command::Instance;
use crate::runner::exit::ExitCode;
use crate::runner::failure_notes::FailureNote;
use crate::runner::history::{self, Execution, Status, bigint};
use crate::runner::outage;
use crate::runner::retries::Outlook;
use crate::runner::settling;
use crate::runner::verdict::{hint, retry_once, retry_with};

use super::BOOKKEEPING_TIMEOUT;
use super::admission::{Subject, in_time};
use super::attempt::{Attempted, Work};
use super::report_error;
use super::worker::Worker;

/// How many item errors an alert quotes.
const QUOTED_IN_ALERT: usize = 2;
/// How long the runner tries to record a stop, or a failure that is most likely the database's own.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);

/// How a run ended, as it is told.
struct End<'e> {
    /// The job and the instance.
    name: String,
    /// How long it took.
    took: String,
    /// Its row, as it was when it began.
    execution: &'e Execution,
    work: &'e Work,
}

impl End<'_> {
    /// The row of a run that did not succeed completely, for its alert.
    fn failed(&self, message: &str) -> Execution {
        let verdict = &self.work.verdict;
        Execution {
            status: verdict.status.word().to_owned(),
            error_class: Some(verdict.code.class().to_owned()),
            error_message: Some(message.to_owned()),
            ..self.execution.clone()
        }
    }
}

impl Worker<'_> {
    /// Reports how a run ended.
    pub(super) async fn tell_of_end(&mut self, instance: &Instance, execution: &Execution, work: &Work) {
        let ended = End {
            name: instance.label(self.session.spec.name),
            took: format_duration(Duration::from_millis(u64::try_from(work.ending.duration_ms).unwrap_or(0))),
            execution,
            work,
        };
        match &work.verdict.message {
            None => self.tell_of_success(&ended).await,
            // Allowed to be partial: a success, and as quiet as one. The rows and the alert carry the details.
            Some(message) if work.verdict.code == ExitCode::Completed => {
                self.tell_of_partial_success(&ended, message).await;
            }
            Some(message) => self.tell_of_failure(&ended, message).await,
        }
    }

    async fn tell_of_success(&mut self, End { name, took, execution, work }: &End<'_>) {
        let session = self.session;
        let summary = if work.summary.is_empty() { "completed".to_owned() } else { work.summary.join("; ") };
        self.say(&format!("{name}: {summary} (run {}, {took})", execution.id));
        let mut ended = (*execution).clone();
        ended.duration_ms = Some(work.ending.duration_ms);
        ended.items_read = bigint(work.ending.counts.read);
        let succeeded =
            alert::succeeded(session.cx, &mut self.db, session.spec, &ended, self.layout.is_isolated);
        if !is_in_time(succeeded).await {
            self.give_up_database(None);
        }
    }

    async fn tell_of_partial_success(&mut self, end: &End<'_>, message: &str) {
        let End { name, took, execution, work } = end;
        self.say_summary(end);
        self.say(&format!("{name} partial (run {}, {took}): {message}", execution.id));
        let details = [Some(work.left_behind.clone()), work.outlook.sentence(self.session.cx)];
        let advice = Advice {
            details: details.into_iter().flatten().collect(),
            retry_with: None,
            is_final: work.outlook.is_final(),
        };
        self.alert(&end.failed(message), advice).await;
    }

    async fn tell_of_failure(&mut self, end: &End<'_>, message: &str) {
        let (cx, work) = (self.session.cx, end.work);
        let verdict = &work.verdict;
        self.say_summary(end);
        let hint = verdict.hint.as_ref().map(|hint| cx.hint(hint));
        let left_behind = Some(work.left_behind.clone()).filter(|_| verdict.successor.is_none());
        let outlook = work.outlook.sentence(cx);
        // As they are: they may quote anybody's file, whose words are not a command of ours.
        let mut details = work.quoted.clone();
        details.extend(left_behind.iter().map(|left_behind| format!("data:  {left_behind}")));
        details.extend(hint.iter().map(|hint| format!("hint: {hint}")));
        self.failures.note(FailureNote {
            name: end.name.clone(),
            what: verdict.status.word().to_lowercase().replace('_', " "),
            run: Some(end.execution.id),
            code: verdict.code.number(),
            took: Some(end.took.clone()),
            reason: message.to_owned(),
            symptom: verdict.symptom.clone(),
            details,
            next: outlook.as_ref().map(|outlook| format!("next:  {outlook}")),
            is_shown: true,
            is_of_outage: self.is_database_gone,
            is_repeated: verdict.successor.is_none(),
            retry_once: verdict.retry_once.clone(),
            retry_with: verdict.retry_with.clone(),
        });
        // The run that took over has reported a lost lease; a database that is gone stores no alert.
        if matches!(verdict.status, Status::Stopped | Status::Crashed) || self.is_database_gone {
            return;
        }
        // Readers in a chat have not seen the terminal.
        let hint = verdict.hint.as_ref().map(|hint| format!("hint: {}", cx.full_hint(hint)));
        let quoted = work.quoted.iter().take(QUOTED_IN_ALERT).cloned();
        let advice = Advice {
            details: quoted.chain(left_behind).chain(hint).chain(outlook).collect(),
            retry_with: verdict.retry_with.clone(),
            is_final: work.outlook.is_final(),
        };
        self.alert(&end.failed(message), advice).await;
    }

    fn say_summary(&self, End { name, work, .. }: &End<'_>) {
        for sentence in &work.summary {
            self.say(&format!("{name}: {sentence}"));
        }
    }

    /// Opens or continues the incident of a failed run. A final failure is told even if the incident is open: what was
    /// told before was that it would be tried again.
    pub(super) async fn alert(&mut self, failed: &Execution, advice: Advice) {
        let (cx, spec) = (self.session.cx, self.session.spec);
        let alerting = alert::failed(cx, &mut self.db, spec, failed, advice);
        if !is_in_time(alerting).await {
            self.give_up_database(None);
        }
    }

    /// The first of several runs that failed in the same way has an alert, which stands for all of them.
    pub(super) async fn complete_alerts(&mut self) {
        if self.is_database_gone {
            return;
        }
        for (runs, retry_with) in self.failures.alike() {
            let completing = alert::retry_all(self.session.cx, &mut self.db, &runs, retry_with.as_deref());
            if !is_in_time(completing).await {
                return self.give_up_database(None);
            }
        }
    }

    /// The command ended well: settles what it has made good beyond its runs, and tells the channels if that was all.
    pub(super) async fn settle_command(&mut self) {
        let session = self.session;
        let now = session.cx.now();
        let settling = async {
            if !settling::has_open(&mut self.db, session.spec.name).await? {
                return Ok(());
            }
            let mut lines = session.start().meant_lines(&mut self.db).await?;
            lines.extend(session.line_in_time());
            // As after a delivery of several days that failed.
            lines.push(self.arguments.line(&session.redactor));
            let settled = settling::settle_by_command(
                &mut self.db,
                session.spec.name,
                &lines,
                session.options.retry_of,
                now,
            );
            if settled.await? > 0 {
                alert::settled(session.cx, &mut self.db, session.spec).await?;
            }
            anyhow::Ok(())
        };
        // The work is done and recorded: what is not settled now is settled by the next success.
        if let Err(error) = in_time("settle earlier failures", settling).await {
            self.give_up_database(Some(&error));
            session.cx.output.warn(&format!("failed to settle earlier failures: {}", one_line(&error)));
        }
    }

    /// An error before, between or after the runs: it leaves a row too, unless the command line itself is wrong.
    pub(super) async fn fail_outside_runs(&mut self, error: &anyhow::Error, data: &str) -> ExitCode {
        let code = ExitCode::of(error);
        if matches!(code, ExitCode::Usage) || self.session.options.dry_run {
            self.print_failures();
            return report_error(self.session.cx, error);
        }
        let arguments = self.arguments.clone().rerun(self.session.options.rerun && !self.has_planned);
        let subject = Subject { key: "", title: None, exclusion_key: None, arguments: &arguments };
        let row = self.leave_row(&subject, code, error).await;
        let what = if self.has_planned { "failed" } else { "did not start" };
        let name = self.session.spec.name.to_owned();
        let note = FailureNote {
            details: self.details(data, error),
            ..self.note_without_run(name, what, code, error, row)
        };
        self.failures.note(note);
        code
    }

    /// An error that kept an instance's run from starting, where the other instances do not depend on it.
    pub(super) async fn fail_before_run(&mut self, instance: &Instance, error: &anyhow::Error) -> Attempted {
        let code = ExitCode::of(error);
        let row = if self.is_database_gone {
            None
        } else {
            self.leave_row(&self.subject(instance), code, error).await
        };
        let name = instance.label(self.session.spec.name);
        let note = self.note_without_run(name, "did not start", code, error, row);
        self.failures.note(note);
        Attempted { ends_command: code.is_stop() || self.is_database_gone, ..Attempted::incomplete(code) }
    }

    /// What is told of a failure without a run. `row` is what it left in the history.
    pub(super) fn note_without_run(
        &self,
        name: String,
        what: &str,
        code: ExitCode,
        error: &anyhow::Error,
        row: Option<(Execution, Outlook)>,
    ) -> FailureNote {
        let cx = self.session.cx;
        FailureNote {
            name,
            what: what.to_owned(),
            run: row.as_ref().map(|(row, _)| row.id),
            code: code.number(),
            took: None,
            reason: one_line(error),
            symptom: failure::symptom(error).map(str::to_owned),
            details: self.details("nothing was changed", error),
            // What failed for another cause, and could not even be recorded, is told for its own sake.
            is_of_outage: row.is_none() && self.is_database_gone && outage::reason(error).is_some(),
            next: row
                .and_then(|(_, outlook)| outlook.sentence(cx))
                .map(|outlook| format!("next:  {outlook}")),
            is_shown: false,
            is_repeated: true,
            retry_once: retry_once(error).map(str::to_owned),
            retry_with: retry_with(error, self.session.deadline),
        }
    }

    /// What is stored, and what to do about an error.
    fn details(&self, data: &str, error: &anyhow::Error) -> Vec<String> {
        std::iter::once(format!("data:  {data}")).chain(self.hint(error)).collect()
    }

    fn hint(&self, error: &anyhow::Error) -> Option<String> {
        hint(error).map(|hint| format!("hint: {}", self.session.cx.hint(hint)))
    }

    /// Records a failure without a run, and tells the alert channels. Returns the row, unless the database did not
    /// accept it.
    async fn leave_row(
        &mut self,
        subject: &Subject<'_>,
        code: ExitCode,
        error: &anyhow::Error,
    ) -> Option<(Execution, Outlook)> {
        let status = match code {
            ExitCode::Refused => Status::Refused,
            ExitCode::TimedOut => Status::TimedOut,
            ExitCode::Interrupted | ExitCode::Terminated => Status::Stopped,
            _ => Status::Failed,
        };
        // A step that was dropped in the middle leaves its connection in an unknown state; one that failed temporarily
        // may have lost it.
        let is_connection_suspect =
            matches!(status, Status::TimedOut | Status::Stopped) || code == ExitCode::TryLater;
        // The database itself may be what failed, or somebody is waiting for us to exit: then the exit code has to
        // suffice.
        let patience = match code {
            ExitCode::TryLater if self.layout.is_isolated => BOOKKEEPING_TIMEOUT,
            ExitCode::TryLater | ExitCode::TimedOut | ExitCode::Interrupted | ExitCode::Terminated => {
                LAST_WORDS_TIMEOUT
            }
            _ => BOOKKEEPING_TIMEOUT,
        };
        let noted = async {
            if is_connection_suspect || self.db.is_in_transaction() {
                self.reconnect().await?;
            }
            let (id, outlook) = self.insert_ended(subject, status, code, &one_line(error)).await?;
            anyhow::Ok(history::find(&mut self.db, id).await?.map(|row| (row, outlook)))
        };
        let row = match tokio::time::timeout(patience, noted).await {
            Ok(Ok(row)) => row,
            Ok(Err(unwritten)) => {
                self.give_up_database(Some(&unwritten));
                return None;
            }
            // What kept the row from being written is most likely what is reported.
            Err(_) => {
                self.give_up_database(Some(error));
                return None;
            }
        };
        if let Some((row, outlook)) = row.as_ref().filter(|_| status != Status::Stopped) {
            let cx = self.session.cx;
            let hint = hint(error).map(|hint| format!("hint: {}", cx.full_hint(hint)));
            let advice = Advice {
                details: hint.into_iter().chain(outlook.sentence(cx)).collect(),
                retry_with: retry_with(error, self.session.deadline),
                is_final: outlook.is_final(),
            };
            self.alert(row, advice).await;
        }
        row
    }
}

/// Waits for something that needs the database, but not forever; whether it ended in time.
async fn is_in_time(step: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(BOOKKEEPING_TIMEOUT, step).await.is_ok()
}
