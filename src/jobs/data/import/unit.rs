//! A file as the runner sees it: an instance by its content, with what decides whether it is still to be imported.

use std::cell::Cell;
use std::fmt::Write;
use std::rc::Rc;

use chrono::{DateTime, Utc};

use crate::context::Context;
use crate::db::Db;
use crate::failure::{Failure, FailureKind};
use crate::period::{last_finished_day, shown_instant};
use crate::runner::{Job, Planned, Run, history};
use crate::shop::arrivals;
use crate::shop::arrivals::files::StagedRows;
use crate::shop::malls::all_malls;
use crate::values;

use super::Args;
use super::arrival::Arriving;
use super::checkpoint::Checkpoint;
use super::container::Input;
use super::inbox::{Seen, Waiting};
use super::precedence::{Newest, Own, Precedence, refuse_old};
use super::selection::{Selected, instance_key, short_hash, unread};

impl Selected {
    /// The instance that imports it.
    pub(super) async fn planned(
        self,
        cx: &Context,
        db: &mut Db,
        is_alone: bool,
    ) -> anyhow::Result<Option<Planned<File>>> {
        let Self { args, waiting, mut refused, exported } = self;
        let mall = args.mall_code(db).await?;
        let mapping = args.mapping(cx, args.kind()?, mall.as_deref())?;
        let of_file = match args.mall_of_file(mall.clone(), &mapping, db).await {
            Ok(of_file) => of_file,
            // That it does not exist is the run's failure.
            Err(error) if error.is::<Failure>() => None,
            Err(error) => return Err(error),
        };
        let origin =
            format!("{} {}", of_file.as_deref().unwrap_or("*"), args.section.as_deref().unwrap_or_default());
        let hash = match &args.input {
            Some(input) if refused.is_none() => match short_hash(input).await? {
                Ok(hash) => Some(hash),
                // Another command has taken it since it was found.
                Err(_) if waiting.as_ref().is_some_and(|waiting| waiting.is_gone()) => return Ok(None),
                // Of several files, and of those in an inbox, each fails alone.
                Err(failure) if waiting.is_some() || !is_alone && failure.kind == FailureKind::BadInput => {
                    refused = Some(failure);
                    None
                }
                Err(failure) => return Err(failure.into()),
            },
            _ => None,
        };
        let kind = args.kind()?.name();
        let shown = args.shown();
        let content = hash.clone().unwrap_or_else(|| {
            let seen = waiting.as_ref().map_or_else(|| Seen::at(&shown), |waiting| Some(waiting.seen()));
            unread(&shown, seen)
        });
        let key = instance_key(args.kind()?, mall.as_deref(), &content);
        let attempt_before = history::last_attempt(db, Args::SPEC.name, &key).await?.map(|last| last.id);
        let title = match &hash {
            // Two streams have nothing in common but their name.
            Some(hash) if args.input.as_ref().is_some_and(Input::is_standard_input) => {
                format!("{kind} {} {hash}", shown.display())
            }
            _ => format!("{kind} {}", shown.display()),
        };
        let file = File {
            short_hash: hash.clone().unwrap_or_default(),
            key: key.clone(),
            origin,
            mall: of_file,
            exported,
            waiting: waiting.clone(),
            refused,
            attempt_before,
            is_imported: Cell::new(false),
            args: args.clone(),
        };
        let mut planned = Planned::new(key, file)
            .titled(title)
            // Two files of one kind may contain the same orders, in an older and a newer state.
            .exclusive_by(kind);
        for (argument, value) in args.repeated(cx, mall, Some(content))? {
            planned = planned.with(argument, value);
        }
        Ok(Some(planned))
    }
}

/// A file by its content.
pub struct File {
    /// The beginning of the hash of its content.
    pub(super) short_hash: String,
    /// The instance's key.
    pub(super) key: String,
    /// See [`Checkpoint::origin`].
    pub(super) origin: String,
    /// The code of the mall that all of it is about.
    pub(super) mall: Option<String>,
    /// When it was exported.
    pub(super) exported: DateTime<Utc>,
    /// The file of an inbox that it is, or is in.
    pub(super) waiting: Option<Rc<Waiting>>,
    /// Why it cannot be read.
    pub(super) refused: Option<Failure>,
    /// The last run of the instance before this command.
    pub(super) attempt_before: Option<i64>,
    /// Whether this command found it imported already.
    pub(super) is_imported: Cell<bool>,
    /// The command for it alone.
    pub(super) args: Args,
}

impl File {
    /// A file that is only checked.
    pub(super) fn unknown(args: &Args, cx: &Context) -> Self {
        Self {
            short_hash: String::new(),
            key: String::new(),
            origin: String::new(),
            mall: None,
            exported: cx.now(),
            waiting: None,
            refused: None,
            attempt_before: None,
            is_imported: Cell::new(false),
            args: args.clone(),
        }
    }

    pub(super) async fn import(&self, run: &mut Run<'_>) -> anyhow::Result<()> {
        self.refuse_if_old(run).await?;
        self.args.kind()?.import(&self.args, run, self).await
    }

    /// What is wrong with a file of an inbox, with the place at which it can be fixed: it is about to leave the one that the
    /// message names.
    pub(super) fn with_its_place(&self, error: anyhow::Error, run: i64) -> anyhow::Error {
        let place = self.waiting.as_ref().and_then(|waiting| waiting.place_of_failure(run));
        match (error.downcast::<Failure>(), place) {
            (Ok(mut failure), Some(place)) if failure.kind == FailureKind::BadInput => {
                // Writing to a String cannot fail.
                let _ = write!(failure.message, "; the file is moved to `{}`", place.display());
                failure.into()
            }
            (Ok(failure), _) => failure.into(),
            (Err(error), _) => error,
        }
    }

    /// The import of a newer file of its kind, mall and section after this one's, if there was one.
    pub(super) async fn overtaken_by(
        &self,
        db: &mut Db,
        (run, exported): (i64, Option<DateTime<Utc>>),
        now: DateTime<Utc>,
    ) -> anyhow::Result<Option<Newest>> {
        let newest = Precedence::of(db, &self.key, &self.origin, now).await?.newest;
        Ok(newest.filter(|newest| newest.run > run && Some(newest.exported) > exported))
    }

    /// Whether the same content shows that nothing happened on a day since: it was exported when a later day was over. That of
    /// a header alone is the same on every such day, whichever of its files comes first.
    pub(super) async fn may_cover_more(
        &self,
        db: &mut Db,
        before: Option<&Checkpoint>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<bool> {
        let Some(Checkpoint { exported: Some(exported), lines, .. }) = before else { return Ok(false) };
        if StagedRows::of(self.args.kind()?.name()).is_none() {
            return Ok(false);
        }
        let malls = all_malls(db).await?;
        if *lines > 0 {
            let mut zones = malls.iter().filter_map(|mall| mall.time_zone().ok());
            return Ok(
                zones.any(|zone| last_finished_day(self.exported, zone) > last_finished_day(*exported, zone))
            );
        }
        let earlier = Precedence::of(db, &self.key, &self.origin, now).await?.earlier;
        match Arriving::of(&self.args, self.exported, false, malls, self.mall.as_deref(), earlier)? {
            Some(arriving) => arriving.is_news_of_an_empty_file(db).await,
            None => Ok(false),
        }
    }

    /// Whoever imports a file of a mall expects the next ones, even if this one, the first of all, fails.
    pub(super) async fn announce(&self, run: &mut Run<'_>) -> anyhow::Result<()> {
        let Some(staged) = StagedRows::of(self.args.kind()?.name()) else { return Ok(()) };
        let malls = all_malls(run.db).await?;
        let Some(mall) = malls.iter().find(|mall| Some(&mall.code) == self.mall.as_ref()) else {
            return Ok(());
        };
        let (mall, id, now) = (mall.id, run.id(), run.cx.now());
        // One that has its data from elsewhere does not wait for a file that somebody tries.
        let sql = format!("SELECT id FROM {} WHERE mall_id = $1 LIMIT 1", staged.stored_in);
        if run.db.fetch_optional::<(i64,)>(&sql, values![mall]).await?.is_some() {
            return Ok(());
        }
        run.db.transaction(async |db| arrivals::expect(db, mall, staged.subject, id, now).await).await
    }

    /// Refuses to import once more what may not be the latest state, unless somebody says so.
    pub(super) async fn refuse_if_old(&self, run: &mut Run<'_>) -> anyhow::Result<()> {
        if run.is_asked_again() || self.args.as_of.is_some() {
            return Ok(());
        }
        let now = run.cx.now();
        let Precedence { own, newest, .. } = Precedence::of(run.db, &self.key, &self.origin, now).await?;
        let Some(newest) = newest else { return Ok(()) };
        let shown = self.args.shown().display().to_string();
        let is_again = |own: &Own| {
            let is_overtaken = newest.run > own.run && Some(newest.exported) > own.exported;
            !own.is_empty && is_overtaken && self.exported > newest.exported
        };
        if let Some(Own { run: own, .. }) = own.filter(is_again) {
            return Err(refuse_old(run.cx, &shown, &format!("is what run {own} imported"), &newest).into());
        }
        if run.is_plain_retry() && newest.exported > self.exported {
            let when = shown_instant(self.exported, run.cx.time_zone());
            return Err(refuse_old(run.cx, &shown, &format!("was exported {when}"), &newest).into());
        }
        Ok(())
    }
}
