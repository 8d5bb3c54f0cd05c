//! Alerts: one per incident, kept until they are delivered, and never a factor in a job's result.
//!
//! An incident opens with a job's first failure; later failures are counted, not sent, unless something else fails or
//! fails in another way; the success that leaves no open failure behind closes it and reports how many there were. An alert
//! is a row of `batch_alert` before it is a request, so one that cannot be sent now is sent at the end of a later command.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::channels::Message;
use crate::channels::queue::{self, SENT_AT_ONCE, Waiting};
use crate::context::Context;
use crate::db::{Db, Problems, StoredText};
use crate::failure::one_line;
use crate::period::{format_duration, shown_instant};
use crate::severity::Severity;
use crate::values;
use crate::wording::counted;

use super::exit::ExitCode;
use super::failure_notes::retry_words;
use super::history::{self, Execution, Status, last_durations};
use super::job::JobSpec;
use super::settling::UNSETTLED;

/// "Slower than usual" compares with the average of at most this many recent successes …
const SLOW_WINDOW: i64 = 20;
/// … and at least this many.
const SLOW_MINIMUM: usize = 5;
/// Above this multiple of the average a run is slow, in halves: 3/2.
const SLOW_NUMERATOR: i64 = 3;
const SLOW_DENOMINATOR: i64 = 2;
/// What fails within this time of an incident's beginning has the same cause.
const SAME_CAUSE: TimeDelta = TimeDelta::hours(6);

/// What a channel receives: stored as JSON in `batch_alert.message`, and the body of the generic webhook.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AlertMessage {
    /// `failure`, `slow` or `recovery`.
    pub kind: String,
    /// One line.
    pub title: String,
    /// The job's name.
    pub job: String,
    /// The instance: its title, or its key.
    pub instance: String,
    /// The run's number.
    pub run: i64,
    /// The run's status.
    pub status: String,
    /// low, medium, high or critical.
    pub severity: String,
    /// The environment.
    pub environment: String,
    /// The host.
    pub host: String,
    /// The error in one line.
    pub error: Option<String>,
    /// What is stored in spite of it, what to do, and what happens by itself, a line each.
    #[serde(default)]
    pub details: Vec<String>,
    /// The number of failures in this incident so far.
    pub occurrences: i64,
    /// The commands that show the run and retry it.
    pub commands: Vec<String>,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Which of several messages or recipients already have it when the rest could not be reached: identified by
    /// content, not by position, since the recipients may differ at the next attempt.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub delivered: BTreeSet<String>,
}

impl AlertMessage {
    /// Whether somebody has to look now.
    fn is_urgent(&self) -> bool {
        matches!(self.severity.as_str(), "high" | "critical") && self.kind != "recovery"
    }

    /// The text of a mail, which is read on a phone, at night.
    fn letter(&self, time_zone: Tz) -> String {
        let title = self.title.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut text = format!("{title}\n");
        if let Some(error) = &self.error {
            text.push_str(&format!("\n{error}\n"));
        }
        for detail in &self.details {
            text.push_str(&format!("{detail}\n"));
        }
        text.push_str(&format!(
            "\nRun {} on {}, severity {}\n{}\n",
            self.run,
            self.host,
            self.severity,
            shown_instant(self.at, time_zone)
        ));
        for command in &self.commands {
            text.push_str(&format!("\n{command}\n"));
        }
        if self.kind != "recovery" {
            text.push_str(
                "\nRepeats are counted and not sent: you will be told when it is over, if it is given up, and if \
                 something else fails.\n",
            );
        }
        text
    }
}

impl Waiting for AlertMessage {
    const TABLE: &'static str = "batch_alert";
    const NOTED_IN: &'static str = "message";

    fn read(message: &str, _noted: Option<&str>) -> Result<Self, String> {
        serde_json::from_str(message).map_err(|error| format!("the stored message is not readable: {error}"))
    }

    /// The title, the error, and what to do.
    fn for_channels(&self, time_zone: Tz) -> Message {
        let mut lines = Vec::new();
        lines.extend(self.error.clone());
        lines.extend(self.details.iter().cloned());
        lines.push(format!("run {} on {}, severity {}", self.run, self.host, self.severity));
        lines.extend(self.commands.iter().cloned());
        // An older version may have stored a severity that is not one of ours.
        let severity = self.severity.parse().unwrap_or(Severity::Medium);
        let id = format!("alert.{}.{}.{}", self.run, self.kind, self.at.timestamp_micros());
        Message {
            lines,
            mentions: self.is_urgent(),
            letter: Some(self.letter(time_zone)),
            document: Some(serde_json::json!(self)),
            ..Message::new(id, self.at, severity, &self.title)
        }
    }

    fn delivered(&mut self) -> &mut BTreeSet<String> {
        &mut self.delivered
    }

    fn noted(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn warning(channel: &str, reason: &str) -> String {
        format!("failed to alert `{channel}`: {reason}; it is kept and sent later")
    }

    fn given_up(channel: &str, reason: &str) -> String {
        format!("an alert to `{channel}` is given up: {reason}")
    }
}

/// What is told of a failure besides its error.
#[derive(Default)]
pub struct Advice {
    /// What is stored in spite of it, what to do, and what happens by itself, a line each.
    pub details: Vec<String>,
    /// The flags with which a retry helps.
    pub retry_with: Option<String>,
    /// Whether nothing more is tried.
    pub is_final: bool,
}

/// Notes a run that failed, in whole or in part. A final one, after which nothing more is tried, is told even if its
/// incident is open.
pub async fn failed(cx: &Context, db: &mut Db, spec: &JobSpec, execution: &Execution, advice: Advice) {
    let error = execution.error_message.clone();
    let title = format!("{} {} ({})", execution.label(), execution.status, execution.environment);
    let trouble = Trouble { kind: "FAILURE", title, error, advice };
    let noted = open_or_count(cx, db, spec, execution, trouble).await;
    warn_on_failure(cx, noted);
}

/// Notes a success: closes what it ends, and checks whether it was slower than usual. With `is_isolated` it is
/// compared only with runs under its own exclusion key, as a large mall is slower than a small one every night.
pub async fn succeeded(cx: &Context, db: &mut Db, spec: &JobSpec, execution: &Execution, is_isolated: bool) {
    let own_key = execution.exclusion_key.as_deref().filter(|_| is_isolated);
    let noted = async {
        close_failure(cx, db, spec, execution).await?;
        note_speed(cx, db, spec, execution, own_key).await
    }
    .await;
    warn_on_failure(cx, noted);
}

/// An alert never changes the job's result; if it cannot be noted, that is only a warning.
fn warn_on_failure(cx: &Context, noted: anyhow::Result<()>) {
    if let Err(error) = noted {
        cx.output.warn(&format!("failed to note an alert: {}", one_line(&error)));
    }
}

#[derive(crate::db::FromRow)]
struct Incident {
    id: i64,
    kind: String,
    occurrences: i64,
    first_execution_id: i64,
    last_execution_id: i64,
}

async fn open_incident(db: &mut Db, job: &str, kind: &str) -> anyhow::Result<Option<Incident>> {
    let sql = "SELECT id, kind, occurrences, first_execution_id, last_execution_id FROM batch_incident
               WHERE job = $1 AND kind = $2 AND closed_at IS NULL";
    Ok(db.fetch_optional(sql, values![job, kind]).await?)
}

/// An open incident, with one more failure counted.
#[derive(crate::db::FromRow)]
struct Counted {
    id: i64,
    occurrences: i64,
    opened_at: DateTime<Utc>,
    first_execution_id: i64,
    /// One whose beginning cannot be read began long ago.
    #[row(problems)]
    #[expect(dead_code, reason = "it only has the row be read")]
    problems: Problems,
}

/// Whether a failure within an open incident is told too: what failed, or how, has not been told yet. In one night all that
/// fails in the same way has one cause, unless it is the data's. Otherwise a failure that nobody repairs would hide all
/// others.
async fn is_news(
    db: &mut Db,
    execution: &Execution,
    incident: &Counted,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let sql = "SELECT COUNT(*) AS alike,
                      COALESCE(SUM(CASE WHEN (exclusion_key = $5 OR exclusion_key IS NULL AND $5 IS NULL)
                                         AND (title = $6 OR title IS NULL AND $6 IS NULL) THEN 1 ELSE 0 END), 0) AS same
               FROM batch_execution
               WHERE job = $1 AND id >= $2 AND id < $3 AND error_class = $4
                 AND status NOT IN ('COMPLETED', 'REFUSED', 'STOPPED', 'RUNNING')";
    let values = values![
        &execution.job,
        incident.first_execution_id,
        execution.id,
        execution.error_class.clone(),
        execution.exclusion_key.clone(),
        execution.title.clone()
    ];
    let (alike, same): (i64, i64) = db.fetch_one(sql, values).await?;
    let is_one_cause = now - incident.opened_at < SAME_CAUSE
        && execution.error_class.as_deref() != Some(ExitCode::BadInput.class());
    Ok(same == 0 && !(is_one_cause && alike > 0))
}

/// What an incident is about.
struct Trouble {
    /// `FAILURE` or `SLOW`.
    kind: &'static str,
    title: String,
    error: Option<String>,
    /// Told even if the incident is open, if it is final.
    advice: Advice,
}

/// Opens an incident and tells the channels, or counts one more of an open one.
async fn open_or_count(
    cx: &Context,
    db: &mut Db,
    spec: &JobSpec,
    execution: &Execution,
    trouble: Trouble,
) -> anyhow::Result<()> {
    let kind = trouble.kind;
    let severity = severity(cx, spec);
    let now = cx.machine_time();
    db.transaction(async |db| {
        // Two processes may fail at once: the unique index lets one of them open the incident.
        let opened: Option<(i64,)> = db
            .fetch_optional(
                "INSERT INTO batch_incident (job, kind, severity, opened_at, closed_at, occurrences, first_execution_id, last_execution_id)
                 VALUES ($1, $2, $3, $4, $5, 1, $6, $6)
                 ON CONFLICT (job, kind) WHERE closed_at IS NULL DO NOTHING
                 RETURNING id",
                values![spec.name, kind, severity.as_str(), now, None::<DateTime<Utc>>, execution.id],
            )
            .await?;
        let (incident, occurrences) = if let Some((incident,)) = opened {
            (incident, 1)
        } else {
            let counted: Option<Counted> = db
                .fetch_optional(
                    "UPDATE batch_incident SET occurrences = occurrences + 1, last_execution_id = $1
                     WHERE job = $2 AND kind = $3 AND closed_at IS NULL
                     RETURNING id, occurrences, opened_at, first_execution_id",
                    values![execution.id, spec.name, kind],
                )
                .await?;
            let Some(counted) = counted else { return Ok(()) };
            let is_told = trouble.advice.is_final
                || (kind == "FAILURE" && is_news(db, execution, &counted, now).await?);
            if !is_told {
                return Ok(());
            }
            (counted.id, counted.occurrences)
        };
        let redact = |text: &String| cx.config.redactor().redact(text);
        let word = kind.to_lowercase();
        let message = AlertMessage {
            error: trouble.error.as_ref().map(redact),
            details: trouble.advice.details.iter().map(redact).collect(),
            commands: commands(cx, execution, &word, trouble.advice.retry_with.as_deref()),
            ..message(cx, spec, execution, &word, &trouble.title, occurrences)
        };
        enqueue(cx, db, incident, severity, &message, now).await
    })
    .await
}

/// Closes the job's failure incident if nothing that failed since it opened is still open (see [`super::settling`]).
async fn close_failure(
    cx: &Context,
    db: &mut Db,
    spec: &JobSpec,
    execution: &Execution,
) -> anyhow::Result<()> {
    let Some(incident) = open_incident(db, spec.name, "FAILURE").await? else { return Ok(()) };
    if is_failed(db, spec, &incident).await? {
        return Ok(());
    }
    let what = match history::find(db, incident.first_execution_id).await? {
        Some(first) if incident.occurrences == 1 => format!("{} recovered after one failure", first.label()),
        _ => format!("{} recovered after {} failures", spec.name, incident.occurrences),
    };
    let title = format!("{what} ({})", execution.environment);
    close(cx, db, spec, execution, &incident, title, Status::Completed.word()).await
}

/// Notes that failures were settled by a command as a whole: closes what that ends.
pub async fn settled(cx: &Context, db: &mut Db, spec: &JobSpec) -> anyhow::Result<()> {
    let sql = "SELECT MAX(id) FROM batch_execution WHERE job = $1 AND status = 'COMPLETED'";
    let (last,): (Option<i64>,) = db.fetch_one(sql, values![spec.name]).await?;
    match last {
        Some(last) if let Some(done) = history::find(db, last).await? => {
            close_failure(cx, db, spec, &done).await
        }
        _ => Ok(()),
    }
}

/// Notes that a person dismissed a failed run: closes what that ends.
pub async fn dismissed(cx: &Context, db: &mut Db, spec: &JobSpec, execution: &Execution) {
    let noted = async {
        let Some(incident) = open_incident(db, spec.name, "FAILURE").await? else { return Ok(()) };
        if is_failed(db, spec, &incident).await? {
            return Ok(());
        }
        let title = format!("{} was dismissed ({})", execution.label(), execution.environment);
        close(cx, db, spec, execution, &incident, title, &execution.status).await
    };
    let noted = noted.await;
    warn_on_failure(cx, noted);
}

/// Whether anything of the job that failed in this incident is neither settled nor dismissed.
async fn is_failed(db: &mut Db, spec: &JobSpec, incident: &Incident) -> anyhow::Result<bool> {
    let sql = format!(
        "SELECT COUNT(*) FROM batch_execution
         WHERE job = $1 AND id >= $2 AND {UNSETTLED} AND status NOT IN ('REFUSED', 'STOPPED')"
    );
    let (failed,): (i64,) = db.fetch_one(&sql, values![spec.name, incident.first_execution_id]).await?;
    Ok(failed > 0)
}

/// Opens, counts or closes the job's incident of slowness. With a key, only the runs under it are compared.
async fn note_speed(
    cx: &Context,
    db: &mut Db,
    spec: &JobSpec,
    execution: &Execution,
    own_key: Option<&str>,
) -> anyhow::Result<()> {
    let took = execution.duration_ms.unwrap_or(0);
    let usual = last_durations(db, spec.name, own_key, execution.id, SLOW_WINDOW).await?;
    let floor = i64::try_from(cx.config.slow_floor().as_millis()).unwrap_or(i64::MAX);
    if let Some(average) = slower_than_usual(took, execution.items_read, &usual, floor) {
        let duration = |ms: i64| format_duration(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        let title = format!(
            "{} took {}, usually {} ({})",
            execution.label(),
            duration(took),
            duration(average),
            execution.environment
        );
        return open_or_count(
            cx,
            db,
            spec,
            execution,
            Trouble { kind: "SLOW", title, error: None, advice: Advice::default() },
        )
        .await;
    }
    let Some(incident) = open_incident(db, spec.name, "SLOW").await? else { return Ok(()) };
    if own_key.is_some() {
        // A fast run of this one says nothing about the slow one.
        let slow = history::find(db, incident.last_execution_id).await?;
        if slow.is_some_and(|slow| slow.exclusion_key.as_deref() != own_key) {
            return Ok(());
        }
    }
    let title = format!("{} is as fast as usual again ({})", spec.name, execution.environment);
    close(cx, db, spec, execution, &incident, title, Status::Completed.word()).await
}

/// The usual duration, if `took` is more than 1.5 times it. A run that reads more than the usual items may take longer by
/// the same share. A difference below `floor` is noise. `usual` are durations with their items.
fn slower_than_usual(took: i64, items: i64, usual: &[(i64, i64)], floor: i64) -> Option<i64> {
    if usual.len() < SLOW_MINIMUM {
        return None;
    }
    let runs = i64::try_from(usual.len()).ok()?;
    let average = usual.iter().map(|(duration, _)| duration).sum::<i64>() / runs;
    let usual_items = usual.iter().map(|(_, items)| items).sum::<i64>() / runs;
    if usual_items == 0 && items > 0 {
        // An idle run says nothing about one with work.
        return None;
    }
    let expected = if items > usual_items {
        i64::try_from(i128::from(average) * i128::from(items) / i128::from(usual_items)).ok()?
    } else {
        average
    };
    (took * SLOW_DENOMINATOR > expected * SLOW_NUMERATOR && took - expected >= floor).then_some(average)
}

async fn close(
    cx: &Context,
    db: &mut Db,
    spec: &JobSpec,
    execution: &Execution,
    incident: &Incident,
    title: String,
    status: &str,
) -> anyhow::Result<()> {
    let now = cx.machine_time();
    db.transaction(async |db| {
        let closed = db
            .execute(
                "UPDATE batch_incident SET closed_at = $1, last_execution_id = $2 WHERE id = $3 AND closed_at IS NULL",
                values![now, execution.id, incident.id],
            )
            .await?;
        if closed == 0 {
            return Ok(());
        }
        let mut message = message(cx, spec, execution, "recovery", &title, incident.occurrences);
        status.clone_into(&mut message.status);
        message.details = left_failed(cx, db, spec, incident).await?;
        enqueue(cx, db, incident.id, severity(cx, spec), &message, now).await
    })
    .await
}

/// What the end of an incident does not end: items that runs of it have given up on.
async fn left_failed(
    cx: &Context,
    db: &mut Db,
    spec: &JobSpec,
    incident: &Incident,
) -> anyhow::Result<Vec<String>> {
    let sql = "SELECT COUNT(*), MAX(e.execution_id) FROM batch_error_log e
               JOIN batch_execution x ON x.id = e.execution_id
               WHERE x.job = $1 AND x.id >= $2 AND e.resolved_at IS NULL AND x.dismissed_at IS NULL";
    let (items, last): (i64, Option<i64>) =
        db.fetch_one(sql, values![spec.name, incident.first_execution_id]).await?;
    let Some(last) = last.filter(|_| incident.kind == "FAILURE") else { return Ok(Vec::new()) };
    let are = if items == 1 { "is" } else { "are" };
    let items = counted(items, "item", "items");
    Ok(vec![format!("{items} {are} still failed: {}", cx.full_command(&format!("runs errors {last}")))])
}

fn severity(cx: &Context, spec: &JobSpec) -> Severity {
    cx.config.job_severity(spec.name).unwrap_or(spec.severity)
}

/// What to type about an incident of this kind.
fn commands(cx: &Context, execution: &Execution, kind: &str, retry_with: Option<&str>) -> Vec<String> {
    let look = format!("runs show {}", execution.id);
    let retry = (kind == "failure").then(|| retry_words(&[execution.id], retry_with));
    std::iter::once(look).chain(retry).map(|words| cx.full_command(&words)).collect()
}

fn message(
    cx: &Context,
    spec: &JobSpec,
    execution: &Execution,
    kind: &str,
    title: &str,
    occurrences: i64,
) -> AlertMessage {
    AlertMessage {
        kind: kind.to_owned(),
        title: cx.config.redactor().redact(title),
        job: execution.job.clone(),
        instance: execution.title.clone().unwrap_or_else(|| execution.instance_key.clone()),
        run: execution.id,
        status: execution.status.clone(),
        severity: severity(cx, spec).as_str().to_owned(),
        environment: execution.environment.clone(),
        host: execution.host.clone(),
        error: None,
        details: Vec::new(),
        occurrences,
        commands: commands(cx, execution, kind, None),
        at: cx.now(),
        delivered: BTreeSet::new(),
    }
}

/// Writes one row for each channel that the severity is routed to.
async fn enqueue(
    cx: &Context,
    db: &mut Db,
    incident: i64,
    severity: Severity,
    message: &AlertMessage,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let text = serde_json::to_string(message)?;
    for channel in cx.config.alert_channels(severity) {
        db.execute(
            "INSERT INTO batch_alert (incident_id, channel, message, created_at, attempts, next_attempt_at)
             VALUES ($1, $2, $3, $4, 0, $4)",
            values![incident, &channel.name, &text, now],
        )
        .await?;
    }
    Ok(())
}

/// Several runs of one command failed in the same way, and the first one's alert stands for all: unless it is sent already,
/// it retries them all.
pub async fn retry_all(cx: &Context, db: &mut Db, runs: &[i64], retry_with: Option<&str>) {
    let changed = async {
        let sql = "SELECT id, message FROM batch_alert WHERE delivered_at IS NULL AND given_up_at IS NULL AND attempts = 0
                   ORDER BY id DESC LIMIT $1";
        let alerts: Vec<(i64, StoredText)> = db.fetch_all(sql, values![SENT_AT_ONCE]).await?;
        for (id, text) in alerts {
            let Ok(mut message) = serde_json::from_str::<AlertMessage>(text.shown()) else { continue };
            let own = cx.full_command(&retry_words(&[message.run], retry_with));
            let Some(command) = message.commands.iter_mut().find(|command| **command == own) else {
                continue;
            };
            if !runs.contains(&message.run) {
                continue;
            }
            *command = cx.full_command(&retry_words(runs, retry_with));
            let sql = "UPDATE batch_alert SET message = $1 WHERE id = $2";
            db.execute(sql, values![serde_json::to_string(&message)?, id]).await?;
        }
        Ok(())
    };
    let changed = changed.await;
    warn_on_failure(cx, changed);
}

/// Sends the alerts that are due, this command's own and those that could not be sent before.
pub async fn send_pending(cx: &Context, db: &mut Db) {
    if cx.config.has_alert_channels() {
        let sent = queue::send_due::<AlertMessage>(cx, db).await;
        warn_on_failure(cx, sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_slow_only_against_five_successes_and_past_the_floor() {
        let usual = [(1000, 80); 5];
        assert_eq!(slower_than_usual(1500, 80, &usual, 0), None, "exactly 1.5 times is not slower than that");
        assert_eq!(slower_than_usual(1501, 80, &usual, 0), Some(1000));
        assert_eq!(slower_than_usual(1501, 0, &usual, 0), Some(1000));
        assert_eq!(slower_than_usual(1501, 80, &usual[..4], 0), None);
        assert_eq!(slower_than_usual(1501, 80, &usual, 1000), None);
        assert_eq!(slower_than_usual(2000, 80, &usual, 1000), Some(1000));
        // Twice the items may take twice as long.
        assert_eq!(slower_than_usual(3000, 160, &usual, 0), None);
        assert_eq!(slower_than_usual(3001, 160, &usual, 0), Some(1000));
        assert_eq!(slower_than_usual(i64::MAX / 4, 540_000, &[(1, 0); 5], 0), None);
    }

    fn alert(kind: &str) -> Message {
        let alert = AlertMessage {
            kind: kind.to_owned(),
            title: "report daily-sales\n2026-11-19 FAILED (prod)".to_owned(),
            job: "report daily-sales".to_owned(),
            instance: "2026-11-19".to_owned(),
            run: 7,
            status: "FAILED".to_owned(),
            severity: "high".to_owned(),
            environment: "prod".to_owned(),
            host: "batch-1".to_owned(),
            error: Some("1 of 1 items failed".to_owned()),
            details: vec!["nothing was changed".to_owned()],
            occurrences: 1,
            commands: vec!["batchctl --env prod runs show 7".to_owned()],
            at: DateTime::from_timestamp(1_000_000_000, 0).unwrap(),
            delivered: BTreeSet::new(),
        };
        alert.for_channels(chrono_tz::Asia::Tokyo)
    }

    #[test]
    fn a_mail_says_what_matters_first() {
        let failure = alert("failure");
        assert_eq!(
            failure.letter.unwrap(),
            "report daily-sales 2026-11-19 FAILED (prod)\n\n1 of 1 items failed\nnothing was changed\n\n\
             Run 7 on batch-1, severity high\n2001-09-09 10:46:40 JST\n\n\
             batchctl --env prod runs show 7\n\n\
             Repeats are counted and not sent: you will be told when it is over, if it is given up, and if something \
             else fails.\n"
        );
        assert_eq!(failure.id, "alert.7.failure.1000000000000000");
        assert!(failure.mentions);
        let recovery = alert("recovery");
        assert_ne!(recovery.id, failure.id);
        assert!(!recovery.mentions, "a recovery can wait");
        assert!(!recovery.letter.unwrap().contains("No further alerts"));
    }
}
