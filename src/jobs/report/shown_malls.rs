//! The malls as readers of a report see them: in the order that is configured, and by names of which no two are alike.

use std::collections::BTreeMap;

use crate::config::ReportConfig;
use crate::context::Context;
use crate::db::Db;
use crate::failure::Failure;
use crate::shop::malls::{Mall, all_malls};

use super::wordings::distinct;

/// The malls of a report.
#[derive(Debug, Clone, Default)]
pub struct ShownMalls {
    by_id: BTreeMap<i64, Mall>,
    places: BTreeMap<i64, usize>,
}

impl ShownMalls {
    /// Puts malls in order.
    pub fn new(malls: &[Mall], config: &ReportConfig) -> Self {
        let malls = in_order(malls.to_vec(), config);
        let places = malls.iter().enumerate().map(|(place, mall)| (mall.id, place)).collect();
        Self { by_id: malls.into_iter().map(|mall| (mall.id, mall)).collect(), places }
    }

    /// The ids, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = &i64> {
        self.by_id.keys()
    }

    /// Whether a mall is one of them.
    pub fn contains_key(&self, id: &i64) -> bool {
        self.by_id.contains_key(id)
    }

    /// The malls, in order.
    pub fn values(&self) -> impl Iterator<Item = &Mall> {
        let mut malls: Vec<&Mall> = self.by_id.values().collect();
        malls.sort_by_key(|mall| self.place(mall.id));
        malls.into_iter()
    }

    /// Where a mall stands among them.
    pub fn place(&self, id: i64) -> usize {
        self.places.get(&id).copied().unwrap_or(usize::MAX)
    }

    /// What readers call it.
    pub fn name(&self, id: i64) -> &str {
        self.by_id.get(&id).map_or("", |mall| mall.name.as_str())
    }

    /// What programs call it.
    pub fn code(&self, id: i64) -> &str {
        self.by_id.get(&id).map_or("", |mall| mall.code.as_str())
    }

    /// Where its data comes from.
    pub fn platform(&self, id: i64) -> &str {
        self.by_id.get(&id).map_or("", |mall| mall.platform.as_str())
    }
}

/// Malls in the configured order, the others after them by code, each with a name that no other of them has.
pub fn in_order(mut malls: Vec<Mall>, config: &ReportConfig) -> Vec<Mall> {
    let place = |mall: &Mall| config.malls.iter().position(|code| *code == mall.code).unwrap_or(usize::MAX);
    malls.sort_by(|one, other| place(one).cmp(&place(other)).then_with(|| one.code.cmp(&other.code)));
    let names = distinct(malls.iter().map(|mall| (mall.code.as_str(), mall.name.as_str())));
    for (mall, name) in malls.iter_mut().zip(names) {
        mall.name = name;
    }
    malls
}

/// Refuses an order of malls that names one that does not exist: it may be a slip of the pen for one that does.
pub async fn check_order(cx: &Context, db: &mut Db) -> anyhow::Result<()> {
    let configured = &cx.config.report().malls;
    if configured.is_empty() {
        return Ok(());
    }
    let malls = all_malls(db).await?;
    match configured.iter().find(|code| malls.iter().all(|mall| mall.code != **code)) {
        None => Ok(()),
        Some(code) => {
            let known: Vec<&str> = malls.iter().map(|mall| mall.code.as_str()).collect();
            Err(Failure::configuration(format!("`report.malls`: unknown mall `{code}`"))
                .hint(format!("the malls are {}", known.join(", ")))
                .into())
        }
    }
}
