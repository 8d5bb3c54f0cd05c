//! Which business days have come with a file: counted while it is loaded, noted once all of it is.

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::shop::arrivals::files::{Exported, File, FileDays, StagedRows, named_day};
use crate::shop::arrivals::habits::EarlierFile;
use crate::shop::malls::Mall;

use super::Args;

/// What has to be known of a file for that; `None` for one of a kind that no report waits for.
pub(super) struct Arriving {
    staged: StagedRows,
    exported: Exported,
    malls: Vec<Mall>,
    mall: Option<i64>,
    earlier: Vec<EarlierFile>,
}

impl Arriving {
    /// `mall` is the code of the one that all of the file is about; `is_of_period` as in [`Exported`].
    pub(super) fn of(
        args: &Args,
        exported: DateTime<Utc>,
        is_of_period: bool,
        malls: Vec<Mall>,
        mall: Option<&str>,
        earlier: Vec<EarlierFile>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(staged) = StagedRows::of(args.kind()?.name()) else { return Ok(None) };
        let mall = malls.iter().find(|one| Some(one.code.as_str()) == mall).map(|mall| mall.id);
        let name = args.shown().file_name().map(|name| name.to_string_lossy().into_owned());
        let exported = Exported {
            at: exported,
            is_stated: args.as_of.is_some(),
            named_day: name.as_deref().and_then(named_day),
            is_of_period,
        };
        Ok(Some(Self { staged, exported, malls, mall, earlier }))
    }

    /// Counts the rows of the chunk that is stored, while they are staged.
    pub(super) async fn add(&self, db: &mut Db, days: &mut FileDays) -> anyhow::Result<()> {
        days.add(db, &self.staged, self.exported, &self.malls).await
    }

    /// Notes the days that have come, in the transaction that ends the import.
    pub(super) async fn note(
        &self,
        db: &mut Db,
        days: &FileDays,
        run: i64,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        days.note(db, &self.file(), run, now).await
    }

    /// Whether a file with a header alone says of a day that nothing happened, of which nothing has come so far.
    pub(super) async fn is_news_of_an_empty_file(&self, db: &mut Db) -> anyhow::Result<bool> {
        FileDays::is_news_of_an_empty_file(db, &self.file()).await
    }

    fn file(&self) -> File<'_> {
        let Self { staged, exported, mall, malls, earlier } = self;
        File { staged: *staged, exported: *exported, mall: *mall, malls, earlier }
    }
}
