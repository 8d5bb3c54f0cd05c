//! Decides from the history whether an instance has to run, and shows it for `--dry-run`.

use crate::printable::escaped;
use crate::runner::command::Instance;
use crate::runner::exit::ExitCode;
use crate::runner::history::{self, Execution, Status};
use crate::runner::job::Freshness;
use crate::runner::options::Only;

use super::worker::Worker;

/// What the history shows about an instance before anything is done.
pub(super) enum Plan {
    Run { because: String, scope: Scope },
    Skip { because: String, is_complete: bool },
}

/// How much of an instance a run is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of it, unless it is complete.
    Incomplete,
    /// All of it, even if it is complete.
    Again,
    /// What has become due since it was completed.
    Due,
}

impl Worker<'_> {
    /// Decides from the history whether an instance has to run.
    pub(super) async fn plan(&mut self, instance: &Instance) -> anyhow::Result<Plan> {
        let run = |because: &str, scope| Plan::Run { because: because.to_owned(), scope };
        if instance.is_repeatable() {
            return Ok(run("runs every time", Scope::Incomplete));
        }
        let (spec, options) = (self.session.spec, self.session.options);
        let mut last = history::last_attempt(&mut self.db, spec.name, &instance.key).await?;
        if options.rerun || options.only == Some(Only::All) {
            return Ok(run("asked to run again", Scope::Again));
        }
        let is_failed_wanted = options.only == Some(Only::Failed);
        let is_stale_wanted = options.only == Some(Only::Stale);
        if is_stale_wanted {
            last = self.last_to_store(instance, last).await?;
        }
        Ok(match last {
            None if is_failed_wanted || is_stale_wanted => {
                let which = if is_failed_wanted { "failed" } else { "stale" };
                let because = format!("never ran, and only {which} ones are wanted");
                Plan::Skip { because, is_complete: false }
            }
            None => run("no run yet", Scope::Incomplete),
            Some(last) if last.is(Status::Completed) || is_stale_wanted => {
                let job = self.session.job;
                let is_refreshed = instance.is_refreshed || is_stale_wanted;
                let is_complete = last.is(Status::Completed);
                let completed = if is_complete { "already completed by" } else { "not stale since" };
                match job.freshness(self.session.cx, &mut self.db, instance, &last).await? {
                    Freshness::Current(news) => {
                        let news = news.map(|news| format!("; {news}")).unwrap_or_default();
                        let because = format!("{completed} run {}{news}", last.id);
                        Plan::Skip { because, is_complete }
                    }
                    Freshness::Stale(news) if !is_refreshed => {
                        let because = format!("already completed by run {}; {news}: add --rerun", last.id);
                        Plan::Skip { because, is_complete }
                    }
                    Freshness::Due(reason) if is_stale_wanted => {
                        let because = format!("not stale since run {}; {reason}", last.id);
                        Plan::Skip { because, is_complete: false }
                    }
                    Freshness::Due(reason) | Freshness::DueAndStale(reason) | Freshness::Stale(reason)
                        if !is_failed_wanted =>
                    {
                        Plan::Run { because: reason, scope: Scope::Due }
                    }
                    Freshness::Due(_) | Freshness::DueAndStale(_) | Freshness::Stale(_) => {
                        let because = format!("completed by run {}", last.id);
                        Plan::Skip { because, is_complete }
                    }
                }
            }
            Some(last) => run(&format!("run {} is {}", last.id, last.status), Scope::Incomplete),
        })
    }

    /// The newer of an instance's own last attempt and the run that stored its results.
    async fn last_to_store(
        &mut self,
        instance: &Instance,
        own: Option<Execution>,
    ) -> anyhow::Result<Option<Execution>> {
        let stored_by = self.session.job.stored_by(self.session.cx, &mut self.db, instance).await?;
        match stored_by.filter(|id| own.as_ref().is_none_or(|own| own.id < *id)) {
            Some(id) => Ok(history::find(&mut self.db, id).await?.or(own)),
            None => Ok(own),
        }
    }

    /// `--dry-run`: which instances would run and why.
    pub(super) async fn show_plan(&mut self, instances: &[Instance]) -> anyhow::Result<ExitCode> {
        for instance in instances {
            let name = instance.label(self.session.spec.name);
            let name = escaped(&name);
            let line = match self.plan(instance).await? {
                Plan::Run { because, .. } => format!("would run   {name}: {because}\n"),
                Plan::Skip { because, .. } => format!("would skip  {name}: {because}\n"),
            };
            self.session.cx.output.data(line.as_bytes())?;
        }
        if instances.is_empty() {
            self.session.cx.output.data(b"nothing to do\n")?;
        }
        Ok(ExitCode::Completed)
    }
}
