//! The jobs, one folder per group and one file per job, and the few commands that do no batch work.

pub mod alerts;
pub mod cart;
pub mod configuration;
pub mod data;
pub mod database;
pub mod demo;
pub mod environment;
pub mod events;
#[cfg(test)]
#[expect(unreachable_pub, reason = "it reads like a job of a group")]
mod example;
mod listing;
pub mod mail;
pub mod mall;
pub mod order;
mod purging;
pub mod report;
pub mod runs;
pub mod schedule;
pub mod stats;
pub mod stock;

use crate::config::{Config, ConfigError};
use crate::runner::JobSpec;

/// The jobs of each group, in the order of the README's table.
const GROUPS: [&[JobSpec]; 11] = [
    report::SPECS,
    stats::SPECS,
    data::SPECS,
    mail::SPECS,
    cart::SPECS,
    order::SPECS,
    stock::SPECS,
    mall::SPECS,
    mall::token::SPECS,
    events::SPECS,
    runs::SPECS,
];

/// Every job.
pub fn specs() -> impl Iterator<Item = &'static JobSpec> {
    GROUPS.into_iter().flatten()
}

/// Refuses errors in `batchctl.toml` that only a job can detect: names that the configuration, which knows no job,
/// accepts unchecked. Called before any command starts.
pub fn check_names(config: &Config) -> Result<(), ConfigError> {
    config.check_jobs(&specs().map(|spec| spec.name).collect::<Vec<_>>())?;
    data::import::check_kinds(config)?;
    stock::check_channel(config)?;
    report::delivery::check_deliveries(config, report::SPECS)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::example;
    use crate::db::testing::{TestDb, on_both_databases};
    use crate::runner::{Action, ExitCode, JobCommand};

    on_both_databases![the_example_of_the_docs_deletes_old_carts_with_their_items];

    #[test]
    fn the_docs_show_the_example_as_it_is() {
        let page = include_str!("../../docs/adding-a-job.md");
        assert!(
            page.contains(&format!("```rust\n{}```\n", include_str!("example.rs"))),
            "copy example.rs into it"
        );
    }

    async fn the_example_of_the_docs_deletes_old_carts_with_their_items(db: &mut TestDb) {
        let mall = db.mall("tokyo", "Asia/Tokyo", "JPY").await.id;
        for (id, day) in [(1, "2025-11-19"), (2, "2025-11-21"), (3, "2025-01-01")] {
            let at = format!("'{day}T00:00:00+00:00'");
            db.sql(&format!(
                "INSERT INTO carts (id, mall_id, cart_key, currency, last_activity_at, created_at, updated_at)
                 VALUES ({id}, {mall}, 'C{id}', 'JPY', {at}, {at}, {at})"
            ))
            .await;
            db.sql(&format!(
                "INSERT INTO cart_items (cart_id, line_key, product_code, product_name, quantity, unit_price_amount,
                     is_purchased)
                 VALUES ({id}, '1', 'P', 'P', 1, 100, FALSE)"
            ))
            .await;
        }
        let definition = JobCommand::<example::Args>::augment_args(clap::Command::new("purge"));
        let command =
            JobCommand::<example::Args>::from_arg_matches(&definition.get_matches_from(["purge"])).unwrap();
        let cx = db.context();
        assert_eq!(Action::from(&command).run(&cx).await, ExitCode::Completed);
        assert_eq!(db.lines("SELECT cart_key FROM carts").await, ["C2"]);
        assert_eq!(db.lines("SELECT cart_id FROM cart_items").await, ["2"]);
        let run = "SELECT command_line, status, items_written FROM batch_execution";
        assert_eq!(db.lines(run).await, ["cart purge COMPLETED 2"]);
    }
}
