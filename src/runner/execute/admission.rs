//! Admission: gets the lease, waits for it, or turns the run away.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::backoff::{Backoff, Jitter};
use crate::db::DbError;
use crate::failure::{Failure, one_line};
use crate::period::{format_duration, shown_instant};
use crate::runner::alert::Advice;
use crate::runner::command::Instance;
use crate::runner::exit::ExitCode;
use crate::runner::failure_notes::FailureNote;
use crate::runner::history::{self, Execution, Status};
use crate::runner::interruption::Interruption;
use crate::runner::job::Exclusion;
use crate::runner::lease::{self, Acquired, Blocker, Grant};
use crate::runner::options::OnOverlap;
use crate::runner::retries::{self, Outlook};

use super::BOOKKEEPING_TIMEOUT;
use super::attempt::Attempted;
use super::worker::Worker;

/// How often a waiting run asks again: soon at first, since most runs are short, then less often.
const POLL: Backoff = Backoff {
    first: Duration::from_millis(50),
    factor: 2,
    longest: Duration::from_secs(1),
    jitter: Jitter::None,
};

/// How long a start that does not wait for another run waits for the lock of the SQLite file.
const HASTE: Duration = Duration::from_secs(5);
/// How long any other one waits for it at a time.
const MOST_LOCK_WAIT: Duration = Duration::from_secs(30);

impl Worker<'_> {
    /// The exclusion key that a run of the instance holds; none for shared jobs.
    fn exclusion_key(&self, instance: &Instance) -> Option<String> {
        let spec = self.session.spec;
        match spec.exclusion {
            Exclusion::Job => Some(spec.name.to_owned()),
            Exclusion::Instance => Some(format!("{} {}", spec.name, instance.exclusion).trim().to_owned()),
            Exclusion::Shared => None,
        }
    }

    /// How long a run waits for the lease.
    fn patience(&self) -> Duration {
        match (self.session.options.on_overlap, self.session.spec.exclusion) {
            (Some(OnOverlap::Wait(duration)), _) => duration.min(self.session.deadline),
            (None, Exclusion::Instance) => self.session.deadline,
            (Some(OnOverlap::Fail), _) | (None, Exclusion::Job | Exclusion::Shared) => Duration::ZERO,
        }
    }

    /// Asks for the lease until it is granted or refused, or until its time to wait runs out.
    pub(super) async fn acquire(&mut self, instance: &Instance, again: bool) -> anyhow::Result<Acquired> {
        let patience = self.patience();
        // Not longer than it waits for the run.
        self.db.limit_lock_wait(Some(patience.clamp(HASTE, MOST_LOCK_WAIT))).await?;
        let acquired = self.ask_for_lease(instance, again, patience).await;
        self.db.limit_lock_wait(None).await?;
        acquired
    }

    async fn ask_for_lease(
        &mut self,
        instance: &Instance,
        again: bool,
        patience: Duration,
    ) -> anyhow::Result<Acquired> {
        let session = self.session;
        let exclusion_key = self.exclusion_key(instance);
        let mut is_hasty = patience.is_zero();
        let line = instance.arguments.line(&session.redactor);
        let seal = session.seal(&line);
        let waiting_since = Instant::now();
        let mut refusals: u32 = 0;
        let mut refused = None;
        let mut waited_for = None;
        loop {
            let request = lease::Request {
                job: session.spec.name,
                instance_key: &instance.key,
                title: instance.title.as_deref(),
                exclusion_key: exclusion_key.as_deref(),
                command_line: &line,
                command_seal: seal.as_deref(),
                rerun: again,
                retry_of: session.options.retry_of,
                waited_for,
                now: session.cx.now(),
                lease: session.cx.config.lease().lease(),
                identity: &session.identity,
                environment: session.cx.config.environment(),
                time_zone: session.cx.time_zone(),
            };
            // Boxed: it holds several rows.
            let asking = Box::pin(in_time("get the lease", lease::acquire(&mut self.db, &request)));
            let acquired = match session.bounds_of_lease().keep(asking).await {
                // The deadline came while it asked once more: who holds it is known.
                Err(error) if refused.is_some() && is_timed_out(&error) => {
                    self.reconnect().await?;
                    return refused.ok_or(error);
                }
                Err(error) if is_busy(&error) => match self.blocked(exclusion_key.as_deref(), error).await {
                    // By a run of another job that writes, and soon ends its chunk.
                    Err(error) if is_hasty && is_busy(&error) => {
                        is_hasty = false;
                        self.db.limit_lock_wait(None).await?;
                        continue;
                    }
                    blocked => blocked?,
                },
                acquired => acquired?,
            };
            let Acquired::Held { holder, .. } = &acquired else { return Ok(acquired) };
            if waiting_since.elapsed() >= patience || session.signals.heard().is_some() {
                return Ok(acquired);
            }
            refusals = refusals.saturating_add(1);
            if holder.instance_key == instance.key {
                waited_for = Some(holder.id);
            }
            if refusals == 1 {
                self.announce_wait(instance, holder);
            }
            let remaining = patience.saturating_sub(waiting_since.elapsed());
            refused = Some(acquired);
            let mut signals = session.signals.clone();
            tokio::select! {
                () = tokio::time::sleep(POLL.pause(refusals).min(remaining)) => {}
                _ = signals.wait() => {}
            }
        }
    }

    fn announce_wait(&self, instance: &Instance, holder: &Execution) {
        let session = self.session;
        session.cx.output.status(&format!(
            "{}: waiting for run {} (process {} on {}, since {})",
            instance.label(session.spec.name),
            holder.id,
            holder.pid,
            holder.host,
            shown_instant(holder.started_at, session.cx.time_zone())
        ));
    }

    /// Who keeps everybody else from writing: the holder of the lease, or a stopped process; otherwise the error itself.
    async fn blocked(&mut self, key: Option<&str>, error: anyhow::Error) -> anyhow::Result<Acquired> {
        let finding = lease::blocker(&mut self.db, &self.session.identity, key);
        let Some(Blocker { run, holds_key }) = in_time("find who locks the database", finding).await? else {
            return Err(error);
        };
        if holds_key {
            let at = self.db.server_time().await?;
            return Ok(Acquired::Held { holder: Box::new(run), at, is_locking: true });
        }
        let message = format!(
            "{}: run {} ({}, process {} on {}) is stopped and keeps the file's lock",
            one_line(&error),
            run.id,
            run.label(),
            run.pid,
            run.host
        );
        Err(Failure::try_later(message)
            .hint(wake(run.pid))
            .retry_once("once that run goes on or is gone")
            .into())
    }

    /// Records a refusal; without a row if whoever holds the lease also keeps the database locked.
    async fn record_refusal(
        &mut self,
        subject: &Subject<'_>,
        status: Status,
        code: ExitCode,
        message: &str,
        is_locking: bool,
    ) -> anyhow::Result<(Option<i64>, Outlook)> {
        if is_locking {
            self.db.limit_lock_wait(Some(HASTE)).await?;
        }
        let recorded = in_time("record the refusal", self.insert_ended(subject, status, code, message)).await;
        if is_locking {
            self.db.limit_lock_wait(None).await?;
        }
        match recorded {
            Ok((run, outlook)) => Ok((Some(run), outlook)),
            // It is told, if not written.
            Err(error) if is_locking && is_busy(&error) => {
                self.give_up_database(Some(&error));
                Ok((None, Outlook::Left))
            }
            Err(error) => Err(error),
        }
    }

    /// Records the refusal and reports who holds the lease.
    pub(super) async fn turn_away(
        &mut self,
        instance: &Instance,
        holder: &Execution,
        at: DateTime<Utc>,
        is_locking: bool,
    ) -> anyhow::Result<Attempted> {
        let zone = self.session.cx.time_zone();
        let held = format!(
            "run {} holds it: {}, process {} on {}, since {}",
            holder.id,
            holder.label(),
            holder.pid,
            holder.host,
            shown_instant(holder.started_at, zone)
        );
        let (status, code) = match self.session.signals.heard() {
            Some(signal) => (Status::Stopped, signal.exit_code()),
            None => (Status::Refused, ExitCode::TryLater),
        };
        let subject = Subject { exclusion_key: None, ..self.subject(instance) };
        let message = format!("already running; {held}");
        let (run, outlook) = self.record_refusal(&subject, status, code, &message, is_locking).await?;
        let mut details = vec![sign_of_life(holder, at, zone)];
        if lease::process_of(holder).is_known_stopped(&self.session.identity) {
            details.push(format!("hint: {}", wake(holder.pid)));
        }
        // Two files of one kind exclude each other.
        let is_itself = (holder.instance_key == instance.key && !instance.key.is_empty())
            || (instance.key.is_empty() && holder.instance_key.is_empty());
        let what = if is_itself { "is already running" } else { "has to wait for another run" };
        self.failures.note(FailureNote {
            name: instance.label(self.session.spec.name),
            what: what.to_owned(),
            run,
            code: code.number(),
            took: None,
            reason: held,
            symptom: None,
            details,
            next: outlook.sentence(self.session.cx).map(|outlook| format!("next:  {outlook}")),
            is_shown: false,
            is_of_outage: self.is_database_gone,
            // What is started by the clock comes round by itself.
            is_repeated: !is_itself && code == ExitCode::TryLater,
            retry_once: Some(format!("once run {} has ended", holder.id)).filter(|_| !is_itself),
            retry_with: None,
        });
        Ok(if code == ExitCode::TryLater {
            Attempted { is_turned_away: true, ..Attempted::incomplete(code) }
        } else {
            Attempted::end_of_command(code)
        })
    }

    /// The run that this one waited for did the instance, but not all of its items: it is reported by both.
    pub(super) fn join(&mut self, instance: &Instance, done: &Execution) -> Attempted {
        if self.session.options.allow_partial {
            return Attempted { is_complete: true, ..Attempted::incomplete(ExitCode::Completed) };
        }
        self.failures.note(FailureNote {
            name: instance.label(self.session.spec.name),
            what: "was partly done by the run that it waited for".to_owned(),
            run: Some(done.id),
            code: ExitCode::Partial.number(),
            took: None,
            reason: done.error_message.clone().unwrap_or_else(|| "some items failed".to_owned()),
            symptom: None,
            details: Vec::new(),
            next: None,
            is_shown: true,
            is_of_outage: false,
            is_repeated: true,
            retry_once: None,
            retry_with: None,
        });
        Attempted { is_complete: true, ..Attempted::incomplete(ExitCode::Partial) }
    }

    /// The instance as the subject of a row, with the key it would have held.
    pub(super) fn subject<'i>(&self, instance: &'i Instance) -> Subject<'i> {
        Subject {
            key: &instance.key,
            title: instance.title.as_deref(),
            // A failure is settled by the success of its own instance, not by the next mall's.
            exclusion_key: self.exclusion_key(instance).filter(|_| !instance.is_repeatable()),
            arguments: &instance.arguments,
        }
    }

    /// Inserts a run that ended before it began.
    pub(super) async fn insert_ended(
        &mut self,
        subject: &Subject<'_>,
        status: Status,
        code: ExitCode,
        message: &str,
    ) -> anyhow::Result<(i64, Outlook)> {
        let session = self.session;
        let server_time = self.db.server_time().await?;
        let line = subject.arguments.line(&session.redactor);
        let seal = session.seal(&line);
        let request = lease::Request {
            job: session.spec.name,
            instance_key: subject.key,
            title: subject.title,
            exclusion_key: None,
            command_line: &line,
            command_seal: seal.as_deref(),
            rerun: false,
            retry_of: session.options.retry_of,
            waited_for: None,
            now: session.cx.now(),
            lease: Duration::ZERO,
            identity: &session.identity,
            environment: session.cx.config.environment(),
            time_zone: session.cx.time_zone(),
        };
        let attempt = history::next_attempt(&mut self.db, session.spec.name, subject.key).await?;
        let row = lease::new_execution(&request, server_time, attempt, 0);
        let mut row = row.ended_at_once(status, code, session.redactor.redact(message));
        if matches!(status, Status::Failed | Status::TimedOut) {
            row.exclusion_key.clone_from(&subject.exclusion_key);
        }
        self.db
            .transaction(async |db| {
                let id = history::insert(db, &row, request.command_seal).await?;
                // A sweep that finds the lease taken is done by whoever holds it.
                let is_done_by_another = status == Status::Refused && subject.key.is_empty();
                let outlook = if code == ExitCode::TryLater && !is_done_by_another {
                    retries::outlook(session.cx, db, session.spec, &row).await?
                } else {
                    Outlook::Left
                };
                retries::request(db, id, &outlook, session.cx.machine_time()).await?;
                Ok((id, outlook))
            })
            .await
    }

    /// Reports the dead runs that were found, to people and to the alert channels.
    pub(super) async fn tell_of_dead_runs(&mut self, grant: &Grant) {
        let cx = self.session.cx;
        for dead in &grant.crashed {
            cx.output.status(&format!(
                "{}: run {} crashed ({}); this run takes over",
                dead.label(),
                dead.id,
                dead.error_message.as_deref().unwrap_or("no sign of life")
            ));
            if let Err(error) = in_time("end its connection", lease::disconnect(&mut self.db, dead)).await {
                cx.output.warn(&format!(
                    "failed to end the connection of run {}: {}",
                    dead.id,
                    one_line(&error)
                ));
            }
            let details = vec!["it is taken over by this run".to_owned()];
            self.alert(dead, Advice { details, ..Advice::default() }).await;
        }
    }
}

/// Says that the holder is alive, and when its lease ends without another heartbeat.
fn sign_of_life(holder: &Execution, at: DateTime<Utc>, zone: Tz) -> String {
    let silence = (at - holder.heartbeat_at).to_std().unwrap_or_default();
    format!(
        "alive: its last heartbeat was {} ago; without another one its lease ends at {}, and the next start takes over by itself",
        format_duration(Duration::from_secs(silence.as_secs())),
        shown_instant(holder.lease_expires_at, zone)
    )
}

/// What to do about a process that is stopped.
fn wake(pid: i64) -> String {
    format!(
        "process {pid} is stopped: continue it with `kill -CONT {pid}`, or end it with `kill -9 {pid}`; what it has \
         committed stays, and the next start goes on from there"
    )
}

fn is_busy(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<DbError>()).any(DbError::is_busy)
}

fn is_timed_out(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Interruption::TimedOut))
}

/// Waits for one of the runner's own steps, but not forever.
pub(super) async fn in_time<T, E: Into<anyhow::Error>>(
    what: &str,
    step: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(BOOKKEEPING_TIMEOUT, step).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(DbError::unanswered(what).into()),
    }
}

/// The subject of a row that is written without a run.
pub(super) struct Subject<'i> {
    /// The instance's key; empty for the command as a whole.
    pub(super) key: &'i str,
    /// What people call it, if its key means nothing to them.
    pub(super) title: Option<&'i str>,
    /// The key the run would have held.
    pub(super) exclusion_key: Option<String>,
    /// The arguments that repeat it.
    pub(super) arguments: &'i crate::runner::arguments::Arguments,
}
