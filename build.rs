//! Lists the migrations and the presets of imports for the program to embed, and packs its relative relocations
//! (`DT_RELR`), if the C library that it will run with can read them.
//!
//! Unpacked, each of them takes 24 bytes that every start reads before doing anything else; packed, it takes one bit.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    embed_migrations();
    embed_presets();
    pack_relocations();
}

/// Writes `migrations.rs`: for each database the versions, names and texts of its files, in order.
#[expect(clippy::disallowed_methods, reason = "how cargo communicates with a build script")]
fn embed_migrations() {
    println!("cargo:rerun-if-changed=migrations");
    let mut code = String::new();
    for database in ["sqlite", "postgres"] {
        let folder = format!("migrations/{database}");
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("failed to read `{folder}`: {error}"));
        let mut files: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        files.sort();
        code.push_str(&format!("const {}: &[Embedded] = &[\n", database.to_uppercase()));
        for file in files {
            let (version, name) = version_and_name(&file)
                .unwrap_or_else(|| panic!("`{folder}/{file}` is not named like `0007_orders.sql`"));
            let path = format!("/{folder}/{file}");
            code.push_str(&format!(
                "    Embedded {{ version: {version}, name: {name:?}, \
                 sql: include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?})) }},\n"
            ));
        }
        code.push_str("];\n");
    }
    let folder = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&folder).join("migrations.rs"), code).expect("cargo has created the folder");
}

/// Writes `presets.rs`: the names and texts of the presets of `data import`, in order.
#[expect(clippy::disallowed_methods, reason = "how cargo communicates with a build script")]
fn embed_presets() {
    let folder = "src/jobs/data/import/presets";
    println!("cargo:rerun-if-changed={folder}");
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("failed to read `{folder}`: {error}"));
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            Some(entry.ok()?.file_name().into_string().ok()?.strip_suffix(".toml")?.to_owned())
        })
        .collect();
    names.sort();
    let mut code = "/// The presets' names and texts.\nconst PRESETS: &[(&str, &str)] = &[\n".to_owned();
    for name in names {
        let path = format!("/{folder}/{name}.toml");
        code.push_str(&format!(
            "    ({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),\n"
        ));
    }
    code.push_str("];\n");
    let folder = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&folder).join("presets.rs"), code).expect("cargo has created the folder");
}

/// `0007_late_orders.sql` is version 7, `late orders`.
fn version_and_name(file: &str) -> Option<(u32, String)> {
    let (version, name) = file.strip_suffix(".sql")?.split_once('_')?;
    Some((version.parse().ok()?, name.replace('_', " ")))
}

#[expect(clippy::disallowed_methods, reason = "how cargo communicates with a build script")]
fn pack_relocations() {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let is_cross = std::env::var("HOST") != std::env::var("TARGET");
    if is_cross || !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return;
    }
    if glibc_version().is_some_and(|version| version >= (2, 36)) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's C library: the first to read packed relocations is 2.36, of August 2022.
fn glibc_version() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
