//! Checks the columns and values that `[import]` in `batchctl.toml` maps against those that the kind has.

use crate::config::{Config, ConfigError, ImportFile};
use crate::context::Context;
use crate::failure::Failure;
use crate::spelling::{advice, nearest};

use super::field::Column;
use super::kinds::Kind;

/// Refuses a table of `[import]` for an unknown kind.
pub fn check_kinds(config: &Config) -> Result<(), ConfigError> {
    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    match config.import().keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(config.unknown_key("import", name, &known)),
        None => Ok(()),
    }
}

/// What is suspicious in `[import]` of the configuration, for `config check`. The malls are not looked up.
pub fn mapping_problems(cx: &Context) -> Vec<String> {
    Kind::ALL.iter().flat_map(|kind| problems(*kind, cx.config.import_file(kind.name()))).collect()
}

/// A mapped column that does not exist is a typo, and the intended column would be looked for under its own name.
pub(super) fn refuse_unknown_columns(file: &ImportFile, kind: Kind) -> Result<(), Failure> {
    let columns = kind.columns();
    let names = file.columns.keys().map(|name| ("columns", name));
    for (table, name) in names.chain(file.values.keys().map(|name| ("values", name))) {
        if find(&columns, name).is_none() {
            return Err(Failure::configuration(unknown_column(kind, table, name))
                .hint(format!("the columns are {}", listed(&columns))));
        }
    }
    Ok(())
}

/// What matches no column of the kind or no value of a column, and what was probably meant.
fn problems(kind: Kind, file: &ImportFile) -> Vec<String> {
    let columns = kind.columns();
    let mut problems = Vec::new();
    if let Some(format) = file.time_format.as_ref().filter(|format| !format.contains('%')) {
        problems.push(format!(
            "[import.{}] time_format: `{format}` has no `%`: write one like %Y/%m/%d %H:%M",
            kind.name()
        ));
    }
    let near = |name: &str| match nearest(name, columns.iter().map(|column| column.name)) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("the columns are {}", listed(&columns)),
    };
    for (ours, theirs) in &file.columns {
        if find(&columns, ours).is_some() {
            continue;
        }
        let advice = if find(&columns, theirs).is_some() {
            format!("write it the other way round, {theirs} = \"{ours}\"")
        } else {
            near(ours)
        };
        problems.push(format!("{}: {advice}", unknown_column(kind, "columns", ours)));
    }
    for (name, values) in &file.values {
        let Some(column) = find(&columns, name) else {
            problems.push(format!("{}: {}", unknown_column(kind, "values", name), near(name)));
            continue;
        };
        for (theirs, ours) in values {
            let is_empty = ours.is_empty() && !column.is_required;
            if column.words.is_empty() || column.words.contains(&ours.as_str()) || is_empty {
                continue;
            }
            problems.push(format!(
                "[import.{}.values.{name}] maps `{theirs}` to `{ours}`, which is not one of {}{}",
                kind.name(),
                column.words.join(", "),
                advice(ours, column.words.iter().copied())
            ));
        }
    }
    problems
}

fn find<'c>(columns: &'c [Column], name: &str) -> Option<&'c Column> {
    columns.iter().find(|column| column.name == name)
}

fn listed(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

fn unknown_column(kind: Kind, table: &str, name: &str) -> String {
    let kind = kind.name();
    format!("[import.{kind}.{table}] names `{name}`, which is not a column of {kind}")
}

#[cfg(test)]
mod tests {
    use crate::config::LoadOptions;

    use super::*;

    #[test]
    fn a_table_for_a_kind_that_there_is_not_is_refused_with_its_line() {
        let check = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("batchctl.toml"), text).unwrap();
            let options = LoadOptions {
                env_flag: None,
                working_dir: folder.path().to_owned(),
                process_env: std::collections::BTreeMap::new(),
                full_paths: false,
            };
            check_kinds(&Config::load(options).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(
            check("[import.order]\nmall = \"main\""),
            Err("batchctl.toml line 1: unknown key `order` in `import`: did you mean `orders`?".to_owned())
        );
        assert_eq!(check("[import.orders]\nmall = \"main\"\n[import.consents]"), Ok(()));
    }

    #[test]
    fn a_mapping_that_fits_no_column_or_word_is_named_with_what_was_meant() {
        let file: ImportFile = toml::from_str(
            "time_format = 'YYYY/MM/DD'\n[columns]\n'注文番号' = 'order_no'\norder_nr = '番号'\nstatus = '状態'\n\
             [values.status]\n'済' = 'PAYED'\n'発送' = 'SHIPPED'\n[values.zzz]\na = 'b'",
        )
        .unwrap();
        let problems = problems(Kind::Orders, &file);
        assert_eq!(
            problems[..4],
            [
                "[import.orders] time_format: `YYYY/MM/DD` has no `%`: write one like %Y/%m/%d %H:%M",
                "[import.orders.columns] names `order_nr`, which is not a column of orders: did you mean `order_no`?",
                "[import.orders.columns] names `注文番号`, which is not a column of orders: write it the other way \
                 round, order_no = \"注文番号\"",
                "[import.orders.values.status] maps `済` to `PAYED`, which is not one of PAYMENT_WAIT, PAID, \
                 SHIPPED, DELIVERED, ORDER_CANCELLED, REFUNDED: did you mean `PAID`?",
            ]
        );
        assert!(problems[4].starts_with(
            "[import.orders.values] names `zzz`, which is not a column of orders: the columns are mall, order_no"
        ));
        assert_eq!(problems.len(), 5);
    }

    #[test]
    fn the_words_of_every_column_are_known_and_an_optional_one_may_be_made_empty() {
        let file: ImportFile =
            toml::from_str("[values.granted]\n'可' = 'ja'\n[values.purpose]\n'広告' = ''\n").unwrap();
        assert_eq!(
            problems(Kind::Consents, &file),
            [
                "[import.consents.values.granted] maps `可` to `ja`, which is not one of yes, no",
                "[import.consents.values.purpose] maps `広告` to ``, which is not one of MARKETING, DIGEST",
            ]
        );
        let file: ImportFile = toml::from_str("[values.purchased]\n'-' = ''\n'済' = 'yes'").unwrap();
        assert_eq!(problems(Kind::Carts, &file), Vec::<String>::new());
    }
}
