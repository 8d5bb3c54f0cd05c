//! The places where a new job has to be added: README, crontab, both databases' migrations, a test file.

use std::collections::BTreeSet;
use std::path::Path;

use batchctl::cli::Cli;
use batchctl::jobs::specs;
use batchctl::runner::JobSpec;
use clap::CommandFactory as _;

use crate::support::{Arranged, Database, Sandbox};

pub(crate) fn repository_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names(specs: impl IntoIterator<Item = &'static JobSpec>) -> BTreeSet<String> {
    specs.into_iter().map(|spec| spec.name.to_owned()).collect()
}

/// The words of every subcommand that has the runner's flags.
fn subcommands_with_runs(command: &clap::Command, words: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for subcommand in command.get_subcommands() {
        let words = [words, &[subcommand.get_name()]].concat();
        if subcommand.get_arguments().any(|argument| argument.get_id() == "skip_limit") {
            found.insert(words.join(" "));
        }
        found.extend(subcommands_with_runs(subcommand, &words));
    }
    found
}

#[test]
fn the_page_of_commands_is_what_their_help_says() {
    let options = clap_markdown::MarkdownOptions::new().show_footer(false);
    let page = clap_markdown::help_markdown_command_custom(&Cli::command(), &options);
    if repository_file("docs/commands.md") != page {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("commands.md");
        std::fs::write(&made, page).unwrap();
        panic!("docs/commands.md is out of date: cp {} docs/commands.md", made.display());
    }
}

/// What `cargo deny` checks with the whole of deny.toml, for whoever does not have it.
#[test]
fn no_crate_is_used_that_deny_toml_bans_and_none_from_elsewhere() {
    let rules: toml::Table = repository_file("deny.toml").parse().unwrap();
    let banned: Vec<&str> =
        rules["bans"]["deny"].as_array().unwrap().iter().map(|ban| ban["crate"].as_str().unwrap()).collect();
    assert!(banned.contains(&"rsa"), "{banned:?}");
    let locked: toml::Table = repository_file("Cargo.lock").parse().unwrap();
    for package in locked["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        assert!(!banned.contains(&name), "`{name}` is banned by deny.toml");
        if let Some(source) = package.get("source") {
            assert_eq!(
                source.as_str(),
                Some("registry+https://github.com/rust-lang/crates.io-index"),
                "{name}"
            );
        }
    }
}

#[test]
fn every_job_of_the_command_line_is_among_the_specs() {
    assert_eq!(subcommands_with_runs(&Cli::command(), &[]), names(specs()));
}

#[test]
fn the_readmes_table_of_jobs_is_what_their_specs_say() {
    let mut table = "| job | when | what it does |\n|---|---|---|\n".to_owned();
    for spec in specs() {
        let when = spec.schedule.map_or("by hand".to_owned(), |schedule| format!("`{schedule}`"));
        let page = spec.page.map_or(String::new(), |page| format!(" ([`{page}`]({page}))"));
        table.push_str(&format!("| `{}` | {when} | {}{page} |\n", spec.name, spec.summary));
        if let Some(page) = spec.page {
            repository_file(page);
        }
    }
    let readme = repository_file("README.md");
    let section = readme.split("\n## ").find(|section| section.starts_with("Jobs\n")).unwrap();
    assert!(section.contains(&table), "the README's table of jobs should be:\n\n{table}");
}

#[test]
fn the_translated_readmes_list_every_job_in_the_same_order() {
    for (name, by_hand) in [("README.ja.md", "手動"), ("README.ko.md", "수동")] {
        let readme = repository_file(name);
        let rows: Vec<&str> = readme
            .lines()
            .filter(|line| specs().any(|spec| line.starts_with(&format!("| `{}` |", spec.name))))
            .collect();
        let when = |schedule: Option<&str>| schedule.map_or(by_hand.to_owned(), |when| format!("`{when}`"));
        assert_eq!(rows.len(), specs().count(), "{name}: {rows:#?}");
        for (row, spec) in rows.iter().zip(specs()) {
            let expected = format!("| `{}` | {} | ", spec.name, when(spec.schedule));
            assert!(row.starts_with(&expected), "{name}: `{row}` should begin with `{expected}`");
        }
    }
}

#[test]
fn a_jobs_name_is_its_commands_words_and_no_other_job_has_it() {
    assert_eq!(names(specs()).len(), specs().count());
    for spec in specs() {
        assert!((2..=3).contains(&spec.name.split(' ').count()), "{}", spec.name);
    }
}

#[test]
fn the_example_crontab_is_what_the_program_prints() {
    let printed =
        Sandbox::new().batchctl(["--env", "prod", "schedule", "crontab"]).real_clock().run().succeeds();
    assert!(
        repository_file("crontab.example") == printed.stdout,
        "crontab.example is out of date; it is to be:\n\n{}",
        printed.stdout
    );
}

#[test]
fn every_scheduled_job_is_in_the_example_crontab() {
    let crontab = repository_file("crontab.example");
    let ends_a_line =
        |spec: &&'static JobSpec| crontab.lines().any(|line| line.ends_with(&format!(" {}", spec.name)));
    assert_eq!(names(specs().filter(ends_a_line)), names(specs().filter(|spec| spec.schedule.is_some())));
}

#[test]
fn every_job_has_a_test_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    for spec in specs() {
        let words: Vec<String> = spec.name.split(' ').map(|word| word.replace('-', "_")).collect();
        // The job's own file, or that of its group if its jobs are closely related.
        let names: Vec<String> = (1..=words.len()).map(|end| words[..end].join("_")).collect();
        let files = names.iter().flat_map(|name| [format!("{name}.rs"), format!("{name}/mod.rs")]);
        let text: String = files.filter_map(|file| std::fs::read_to_string(folder.join(file)).ok()).collect();
        let words = spec.name.replace(' ', "\", \"");
        assert!(
            text.contains(&format!("\"{words}\"")),
            "none of {names:?} in tests/cli starts `{}`",
            spec.name
        );
    }
}

fn migrations(database: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(database);
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn both_databases_have_migrations_of_the_same_names() {
    assert_eq!(migrations("sqlite"), migrations("postgres"));
}

/// Each column of our own tables in their order, and whether it may be NULL.
fn columns(sandbox: &Sandbox) -> Vec<String> {
    let rows = sandbox.sql(match sandbox.database() {
        // The columns of a primary key cannot be NULL, which SQLite does not report for a rowid.
        Database::Sqlite => {
            "SELECT t.name, c.cid, c.name, c.\"notnull\" OR c.pk FROM sqlite_master t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND t.name <> '_sqlx_migrations'"
        }
        Database::Postgres => {
            "SELECT table_name, ordinal_position - 1, column_name, CASE is_nullable WHEN 'NO' THEN 1 ELSE 0 END
             FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations'"
        }
    });
    let mut columns: Vec<(String, u32, String)> = rows
        .into_iter()
        .map(|row| {
            let nullable = if row[3] == "1" { "NOT NULL" } else { "NULL" };
            (row[0].clone(), row[1].parse().unwrap(), format!("{} {nullable}", row[2]))
        })
        .collect();
    columns.sort();
    columns.into_iter().map(|(table, _, column)| format!("{table}.{column}")).collect()
}

/// The names of our own indexes, without those that watch what PostgreSQL's types keep out.
fn indexes(sandbox: &Sandbox) -> BTreeSet<String> {
    let rows = sandbox.sql(match sandbox.database() {
        Database::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
                             AND name NOT LIKE '%\\_misdated' ESCAPE '\\' AND name <> 'mails_oversized'"
        }
        Database::Postgres => {
            "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()
             AND indexname NOT LIKE '%\\_pkey' AND indexname NOT LIKE '%\\_key'"
        }
    });
    rows.concat().into_iter().collect()
}

#[test]
fn both_databases_have_the_same_tables_columns_and_indexes() {
    if !Database::Postgres.is_available() {
        return;
    }
    let (sqlite, postgres) = (Sandbox::on(Database::Sqlite), Sandbox::on(Database::Postgres));
    assert_eq!(columns(&sqlite), columns(&postgres));
    assert_eq!(indexes(&sqlite), indexes(&postgres));
    assert!(columns(&sqlite).len() > 100, "the tables were found");
}
