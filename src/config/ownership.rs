//! Who may change the files of the settings: whoever may can point prod at another database, or have its mails and
//! alerts sent elsewhere.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::environment::PRODUCTION;
use super::error::ConfigError;

/// Who may write: the group's and everybody's bit.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const ROOT: u32 = 0;

/// Refuses a file in prod that others than its owner may write, or whose owner is neither this user nor root. Elsewhere
/// it is returned as a warning.
pub(super) fn check(path: &Path, environment: &str) -> Result<Option<String>, ConfigError> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(None) };
    let us = rustix::process::geteuid().as_raw();
    match problem(path, metadata.mode(), metadata.uid(), us) {
        Some(problem) if environment == PRODUCTION => Err(ConfigError::Unsafe { problem }),
        problem => Ok(problem),
    }
}

fn problem(path: &Path, mode: u32, owner: u32, us: u32) -> Option<String> {
    let path = path.display();
    if owner != us && owner != ROOT {
        return Some(format!(
            "`{path}` belongs to another user, who can change these settings: chown {us} {path}"
        ));
    }
    (mode & WRITABLE_BY_OTHERS != 0)
        .then(|| format!("other users of this machine can change `{path}`: chmod go-w {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_change_the_settings() {
        let problem = |mode, owner| problem(Path::new("/etc/shop/.env.prod"), mode, owner, 1000);
        for (mode, owner) in [(0o100_600, 1000), (0o100_644, 1000), (0o100_440, ROOT), (0o100_755, ROOT)] {
            assert_eq!(problem(mode, owner), None, "{mode:o} {owner}");
        }
        let writable = Some(
            "other users of this machine can change `/etc/shop/.env.prod`: chmod go-w /etc/shop/.env.prod"
                .to_owned(),
        );
        assert_eq!([problem(0o100_664, 1000), problem(0o100_602, ROOT)], [writable.clone(), writable]);
        assert_eq!(
            problem(0o100_600, 1001).as_deref(),
            Some(
                "`/etc/shop/.env.prod` belongs to another user, who can change these settings: chown 1000 \
                 /etc/shop/.env.prod"
            )
        );
    }
}
