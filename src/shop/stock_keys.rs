//! The keys of stock and reservations in Redis: which mall each is of.

use crate::config::StockKeys;
use crate::db::Db;
use crate::failure::Failure;

use super::malls::{APP, all_malls};

/// Refuses patterns by which a key of one mall could be another's: a job would change or delete what is not its own. All
/// malls whose orders are kept here count, whether they are active or not, and whichever are worked on.
pub async fn refuse_shared(keys: &StockKeys, db: &mut Db) -> anyhow::Result<()> {
    let malls = all_malls(db).await?;
    let own: Vec<&str> =
        malls.iter().filter(|mall| mall.platform == APP).map(|mall| mall.code.as_str()).collect();
    match keys.shared_by(&own) {
        Some(problem) => {
            let hint = "write {mall} into it, in batchctl.toml, with characters around it that no mall's code has, such as \
                        `:`";
            Err(Failure::configuration(problem).hint(hint).into())
        }
        None => Ok(()),
    }
}
