//! Tells people, the terminal and the alert channels how a run ended, and records failures that happened without a
//! run.

use std::time::Duration;

use crate::failure::{self, one_line};
use crate::period::format_duration;
use crate::runner::alert;
use crate::runner::command::Instance;
use crate::runner::exit::ExitCode;
use crate::runner::history::{self, Execution, Status, bigint, label};
use crate::runner::retries::Outlook;

use super::BOOKKEEPING_TIMEOUT;
use super::admission::Subject;
use super::attempt::{Attempted, Work};
use super::report_error;
use super::worker::Worker;

/// How long the runner tries to record a stop, or a failure that is most likely the database's own.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);

impl Worker<'_> {
    /// Reports how a run ended.
    pub(super) async fn tell_of_end(&mut self, instance: &Instance, execution: &Execution, work: &Work) {
        let (session, verdict) = (self.session, &work.verdict);
        let name = label(session.spec.name, &instance.key);
        let took =
            format_duration(Duration::from_millis(u64::try_from(work.ending.duration_ms).unwrap_or(0)));
        let Some(message) = &verdict.message else {
            let summary =
                if work.summary.is_empty() { "completed".to_owned() } else { work.summary.join("; ") };
            self.say(&format!("{name}: {summary} (run {}, {took})", execution.id));
            let mut ended = execution.clone();
            ended.duration_ms = Some(work.ending.duration_ms);
            ended.items_read = bigint(work.ending.counts.read);
            let succeeded =
                alert::succeeded(session.cx, &mut self.db, session.spec, &ended, self.layout.is_isolated);
            bounded(&mut self.is_database_gone, succeeded).await;
            return;
        };
        for sentence in &work.summary {
            self.say(&format!("{name}: {sentence}"));
        }
        let ended = |message: String| {
            let mut ended = execution.clone();
            verdict.status.word().clone_into(&mut ended.status);
            ended.error_message = Some(message);
            ended
        };
        if verdict.code == ExitCode::Completed {
            // Allowed to be partial: a success, and as quiet as one. The rows and the alert carry the details.
            self.say(&format!("{name} partial (run {}, {took}): {message}", execution.id));
            let outlook = work.outlook.sentence(session.cx).map(|outlook| format!("; {outlook}"));
            let message = format!("{message}{}", outlook.unwrap_or_default());
            self.alert(&ended(message), work.outlook.is_final()).await;
            return;
        }
        let mut lines = work.quoted.clone();
        let hint = verdict.hint.as_ref().map(|hint| session.cx.hint(hint));
        lines.extend(hint.as_ref().map(|hint| format!("hint: {hint}")));
        let outlook = work.outlook.sentence(session.cx);
        lines.extend(outlook.iter().map(|outlook| format!("next:  {outlook}")));
        lines.push(format!("look:  {}", session.command("runs show", execution.id)));
        lines.push(format!("retry: {}", session.command("runs retry", execution.id)));
        let status = verdict.status.word().to_lowercase().replace('_', " ");
        let number = verdict.code.number();
        self.failures.note(
            &format!("{name} {status} (run {}, exit {number}, {took}): {message}", execution.id),
            &lines,
        );
        // The run that took over has reported a lost lease; a database that is gone stores no alert.
        if !matches!(verdict.status, Status::Stopped | Status::Crashed) && !self.is_database_gone {
            // Readers in a chat have not seen the terminal.
            let more = hint.iter().chain(&outlook).map(|sentence| format!("; {sentence}"));
            let message = more.fold(message.clone(), |message, more| message + &more);
            self.alert(&ended(message), work.outlook.is_final()).await;
        }
    }

    /// Opens or continues the incident of a failed run. A final failure is told even if the incident is open: what was
    /// told before was that it would be tried again.
    pub(super) async fn alert(&mut self, failed: &Execution, is_final: bool) {
        let alerting = alert::failed(self.session.cx, &mut self.db, self.session.spec, failed, is_final);
        bounded(&mut self.is_database_gone, alerting).await;
    }

    /// An error before, between or after the runs: it leaves a row too, unless the command line itself is wrong.
    pub(super) async fn fail_outside_runs(&mut self, error: &anyhow::Error) -> ExitCode {
        self.failures.print(self.session.cx, self.session.spec.name);
        let code = ExitCode::of(error);
        report_error(self.session.cx, error);
        if !matches!(code, ExitCode::Usage) && !self.session.options.dry_run {
            let arguments = self.arguments.clone().rerun(self.session.options.rerun && !self.has_planned);
            let subject = Subject { key: "", exclusion_key: None, arguments: &arguments };
            self.leave_row(&subject, code, error).await;
        }
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
        let run = row.as_ref().map_or(String::new(), |(row, _)| format!("run {}, ", row.id));
        let mut hints: Vec<String> = failure::hint(error)
            .map(|hint| format!("hint: {}", self.session.cx.hint(hint)))
            .into_iter()
            .collect();
        if let Some((row, outlook)) = row {
            hints.extend(outlook.sentence(self.session.cx).map(|outlook| format!("next:  {outlook}")));
            hints.push(format!("retry: {}", self.session.command("runs retry", row.id)));
        }
        let name = label(self.session.spec.name, &instance.key);
        self.failures.note(
            &format!("{name} did not start ({run}exit {}): {}", code.number(), one_line(error)),
            &hints,
        );
        Attempted { ends_command: code.is_stop() || self.is_database_gone, ..Attempted::incomplete(code) }
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
        let Ok(Ok(row)) = tokio::time::timeout(patience, noted).await else {
            self.is_database_gone = true;
            return None;
        };
        if let Some((row, outlook)) = row.as_ref().filter(|_| status != Status::Stopped) {
            let mut told = row.clone();
            if let (Some(message), Some(sentence)) =
                (&mut told.error_message, outlook.sentence(self.session.cx))
            {
                message.push_str(&format!("; {sentence}"));
            }
            self.alert(&told, outlook.is_final()).await;
        }
        row
    }
}

/// Waits for something that needs the database, but not forever: a connection that was given up on is not used again.
async fn bounded(is_database_gone: &mut bool, step: impl Future<Output = ()>) {
    *is_database_gone |= tokio::time::timeout(BOOKKEEPING_TIMEOUT, step).await.is_err();
}
