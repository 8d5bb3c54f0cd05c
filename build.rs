//! Packs the relative relocations of the program (`DT_RELR`), where the C library that it will run with can read them.
//!
//! typst alone brings 140,000 of them: unpacked, 3.4 MB that every start reads before it does anything, a sixth of
//! the memory of a run that finds nothing to do.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "how cargo speaks to a build script")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
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
