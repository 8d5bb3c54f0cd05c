//! All tests through the built program, in one binary: a file per job, and the harness in `support/`.
//!
//! A test is a function that takes a [`support::Sandbox`] or a [`support::Shop`]; `on_both_databases!` stamps it
//! for SQLite and for PostgreSQL. `scripts/test` runs them all.
#![cfg(test)]

mod basics;
mod harness;
mod support;

use std::path::Path;

/// The modules of a folder that its own file does not name.
fn forgotten_modules(folder: &Path, root: &str) -> Vec<String> {
    let declarations = std::fs::read_to_string(folder.join(root)).unwrap();
    let mut forgotten = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_module = path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
        if !is_module || path.ends_with(root) {
            continue;
        }
        let is_declared = declarations.lines().any(|line| {
            let line = line.trim_start_matches("pub(crate) ");
            line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) == Some(name.as_str())
        });
        if !is_declared {
            forgotten.push(path.display().to_string());
        }
        if path.is_dir() {
            forgotten.extend(forgotten_modules(&path, "mod.rs"));
        }
    }
    forgotten
}

#[test]
fn no_test_file_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    assert_eq!(forgotten_modules(&folder, "main.rs"), Vec::<String>::new());
}
