//! A worker: one connection that takes instances through plan, admission, attempt, ending and telling.

use crate::db::Db;
use crate::runner::arguments::Arguments;
use crate::runner::command::Instance;
use crate::runner::exit::ExitCode;
use crate::runner::failure_notes::FailureNotes;
use crate::runner::lease;
use crate::runner::outage::{self, Noted, Start};

use super::session::{Session, line_of_start};

/// With more instances than this in a lane, a bar and one summary line replace a line each.
const LINES_OF_INSTANCES: usize = 7;

/// What the plan as a whole means for each of its instances.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PlanShape {
    /// There are too many instances for a line each.
    pub(super) is_long: bool,
    /// A failure of one instance says nothing about the next one: those of a job with named lanes.
    pub(super) is_isolated: bool,
    /// Other lanes run at the same time.
    pub(super) is_side_by_side: bool,
}

impl PlanShape {
    pub(super) fn of(instances: &[Instance]) -> Self {
        let length = |lane: &str| instances.iter().filter(|instance| instance.lane == lane).count();
        let longest = instances.iter().map(|instance| length(&instance.lane)).max().unwrap_or(0);
        Self {
            is_long: longest > LINES_OF_INSTANCES,
            is_isolated: instances.iter().any(|instance| !instance.lane.is_empty()),
            is_side_by_side: false,
        }
    }
}

/// One connection, and what it is used for.
pub(super) struct Worker<'s> {
    pub(super) session: &'s Session<'s>,
    pub(super) db: Db,
    pub(super) layout: PlanShape,
    /// The run that the connection serves, or served last.
    pub(super) run: Option<i64>,
    /// The arguments that repeat a failure outside the runs: those of the whole command, or of its only instance.
    pub(super) arguments: Arguments,
    /// Whether instances have been planned, so that what follows is about each of them.
    pub(super) has_planned: bool,
    pub(super) failures: FailureNotes,
    /// Why the database cannot be used any more, if that is why the command ends.
    pub(super) outage: Option<String>,
    /// The database stopped answering: no further queries are sent.
    pub(super) is_database_gone: bool,
}

impl<'s> Worker<'s> {
    pub(super) async fn connect(session: &'s Session<'s>) -> anyhow::Result<Self> {
        let mut db = session.cx.db().await?;
        lease::introduce(&mut db, &session.identity, None, session.cx.config.lease().lease()).await?;
        Ok(Self {
            session,
            db,
            layout: PlanShape::default(),
            run: None,
            arguments: session.job.arguments().resolved(session.cx),
            has_planned: false,
            failures: FailureNotes::default(),
            outage: None,
            is_database_gone: false,
        })
    }

    /// Closes the connection cleanly, if that is still possible.
    pub(super) async fn close(self) {
        if !self.db.is_in_transaction() && !self.is_database_gone {
            self.db.close().await;
        }
    }

    /// Sends no further queries. With an error that means so, or none if the database does not answer, people are told at
    /// the end that it cannot be used.
    pub(super) fn give_up_database(&mut self, error: Option<&anyhow::Error>) {
        self.is_database_gone = true;
        let reason = match error {
            Some(error) => outage::reason(error),
            None => Some("the database does not answer".to_owned()),
        };
        self.outage = self.outage.take().or(reason);
    }

    /// If the database cannot be used, notes that this start is lost, and says what becomes of it. Where people know of the
    /// outage already, and the start needs nobody, nothing is left to print.
    pub(super) async fn note_outage(&mut self, code: ExitCode) {
        use ExitCode::{Configuration, Failed, TryLater};
        let (session, cx) = (self.session, self.session.cx);
        // A run that was stopped or passed its deadline is left to whoever started it.
        let is_lost = matches!(code, TryLater | Configuration | Failed);
        let Some(reason) = self.outage.as_ref().filter(|_| is_lost) else { return };
        let start = Start { run: self.run, ..session.start() };
        let noted = outage::note(cx, start.clone(), reason).await;
        let is_heard = start.needs_nobody() && !session.has_leased.get() && !cx.output.is_attended();
        if noted == Noted::Again && is_heard {
            self.failures.omit_those_of_outage();
        } else {
            self.failures.tell_outlook(outage::next(cx, noted, &start), start.is_caught_up);
        }
    }

    /// Prints the failures that were noted so far.
    pub(super) fn print_failures(&mut self) {
        let session = self.session;
        self.failures.print(
            session.cx,
            session.spec.name,
            &line_of_start(session.cx, session.job, session.options),
        );
    }

    /// Replaces a connection that is lost or in an unknown state.
    pub(super) async fn reconnect(&mut self) -> anyhow::Result<()> {
        let mut db = Db::connect(self.session.cx.config.database_url(), false).await?;
        let lease = self.session.cx.config.lease().lease();
        lease::introduce(&mut db, &self.session.identity, self.run, lease).await?;
        self.db = db;
        Ok(())
    }

    /// Prints a status line for one instance, unless there are too many of them.
    pub(super) fn say(&self, message: &str) {
        if !self.layout.is_long {
            self.session.cx.output.status(message);
        }
    }
}
