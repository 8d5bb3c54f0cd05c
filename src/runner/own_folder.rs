//! A folder of our own for what this user's commands on this machine have to remember without the database.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::geteuid;

/// Where it is. It outlives a restart of the machine, unlike `/tmp`.
pub(super) const ROOT: &str = "/var/tmp";

/// The folder, below `root`.
pub(super) fn base(root: &Path) -> PathBuf {
    root.join(format!("batchctl-{}", geteuid().as_raw()))
}

/// Creates a folder that only we can use, unless it is there.
pub(super) fn make(folder: &Path) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("failed to create `{}`", folder.display()))
        }
        _ => refuse_foreign(folder),
    }
}

/// Refuses what somebody else could have put there: its lines are run.
pub(super) fn refuse_foreign(path: &Path) -> anyhow::Result<()> {
    let metadata =
        std::fs::symlink_metadata(path).with_context(|| format!("failed to look at `{}`", path.display()))?;
    let is_ours = metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o022 == 0;
    anyhow::ensure!(
        is_ours && !metadata.is_symlink(),
        "`{}` is a link, belongs to another user, or may be written by others",
        path.display()
    );
    Ok(())
}
