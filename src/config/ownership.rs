//! Who may change the files of the settings: whoever may can point prod at another database, or have its mails and
//! alerts sent elsewhere.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::environment::PRODUCTION;
use super::error::ConfigError;

/// Who may write: the group's and everybody's bit.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;
const DIRECTORY: u32 = 0o040_000;
const ROOT: u32 = 0;

/// Refuses a file in prod that others than its owner may write, or whose owner is neither this user nor root. Elsewhere
/// it is returned as a warning.
pub(super) fn check(path: &Path, environment: &str) -> Result<Option<String>, ConfigError> {
    match doubt(path) {
        Some(problem) if environment == PRODUCTION => Err(ConfigError::Unsafe { problem }),
        problem => Ok(problem),
    }
}

/// What others could change of a folder of texts: itself, and the files in it.
pub(super) fn doubts_about(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(folder.to_owned())
        .chain(entries.filter(|path| path.is_file()))
        .filter_map(|path| doubt(&path))
        .collect()
}

/// Why a file or folder is not this user's alone to change; `None` if it is, or if there is none.
pub(super) fn doubt(path: &Path) -> Option<String> {
    let us = rustix::process::geteuid().as_raw();
    let metadata = std::fs::metadata(path).ok()?;
    // Where a link leads is for its owner to say. Its own mode means nothing.
    let link = std::fs::symlink_metadata(path).ok()?;
    problem(path, metadata.mode(), metadata.uid(), us).or_else(|| problem(path, 0, link.uid(), us))
}

fn problem(path: &Path, mode: u32, owner: u32, us: u32) -> Option<String> {
    let path = path.display();
    if owner != us && owner != ROOT {
        return Some(format!(
            "`{path}` belongs to another user, who can change these settings: chown {us} {path}"
        ));
    }
    // In a folder such as /tmp nobody can replace the file of somebody else.
    let is_shared = mode & DIRECTORY == DIRECTORY && mode & STICKY != 0;
    (mode & WRITABLE_BY_OTHERS != 0 && !is_shared)
        .then(|| format!("other users of this machine can change `{path}`: chmod go-w {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_change_the_settings() {
        let problem = |mode, owner| problem(Path::new("/etc/shop/.env.prod"), mode, owner, 1000);
        for (mode, owner) in
            [(0o100_600, 1000), (0o100_644, 1000), (0o100_440, ROOT), (0o100_755, ROOT), (0o041_777, ROOT)]
        {
            assert_eq!(problem(mode, owner), None, "{mode:o} {owner}");
        }
        let writable = Some(
            "other users of this machine can change `/etc/shop/.env.prod`: chmod go-w /etc/shop/.env.prod"
                .to_owned(),
        );
        for (mode, owner) in [(0o100_664, 1000), (0o100_602, ROOT), (0o040_777, 1000), (0o101_602, 1000)] {
            assert_eq!(problem(mode, owner), writable, "{mode:o} {owner}");
        }
        assert_eq!(
            problem(0o100_600, 1001).as_deref(),
            Some(
                "`/etc/shop/.env.prod` belongs to another user, who can change these settings: chown 1000 \
                 /etc/shop/.env.prod"
            )
        );
    }
}
