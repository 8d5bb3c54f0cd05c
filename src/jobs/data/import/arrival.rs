//! Which business days have come with a file: counted while it is loaded, noted once all of it is.

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::runner::Run;
use crate::shop::arrivals::{Exported, File, FileDays, StagedRows};
use crate::shop::malls::Mall;

use super::Args;

/// What has to be known of a file for that; `None` for one of a kind that no report waits for.
pub(super) struct Arriving {
    staged: StagedRows,
    exported: Exported,
    malls: Vec<Mall>,
    mall: Option<i64>,
}

impl Arriving {
    /// `mall` is the code of the one that all of the file is about.
    pub(super) fn of(
        args: &Args,
        exported: DateTime<Utc>,
        malls: Vec<Mall>,
        mall: Option<&str>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(staged) = StagedRows::of(args.kind()?.name()) else { return Ok(None) };
        let mall = malls.iter().find(|one| Some(one.code.as_str()) == mall).map(|mall| mall.id);
        let exported = Exported { at: exported, is_stated: args.as_of.is_some() };
        Ok(Some(Self { staged, exported, malls, mall }))
    }

    /// Counts the rows of the chunk that is staged.
    pub(super) async fn add(&self, db: &mut Db, days: &mut FileDays) -> anyhow::Result<()> {
        days.add(db, &self.staged, self.exported, &self.malls).await
    }

    /// Notes the days that have come.
    pub(super) async fn note(&self, run: &mut Run<'_>, days: &FileDays) -> anyhow::Result<()> {
        let Self { staged, exported, mall, malls } = self;
        let file = File { staged: *staged, exported: *exported, mall: *mall, malls };
        let (id, now) = (run.id(), run.cx.now());
        run.chunk(None::<&str>, async |db| days.note(db, &file, id, now).await).await
    }
}
