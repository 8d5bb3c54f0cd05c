//! Writes files atomically: a reader sees the old one or the new one, never half of it. And reads those that others chose.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};

/// The mode of any newly created file: readable by all, minus the umask. (By default a temporary file is readable by
/// its owner only, and a web server could not read the feed we wrote.)
const FILE_MODE: u32 = 0o644;
const PRIVATE_MODE: u32 = 0o600;

/// Writes a file through a temporary one in the same directory, syncs it and renames it into place.
///
/// On any failure, including the callback's, nothing is left behind and an existing file is unchanged. The error
/// names the path.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    try_to_write(path, FILE_MODE, write).with_context(|| format!("failed to write `{}`", path.display()))
}

/// The same for a file that only its owner may read.
pub fn write_privately(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    try_to_write(path, PRIVATE_MODE, write).with_context(|| format!("failed to write `{}`", path.display()))
}

/// Reads a file of at most so many bytes. A device, a pipe or a folder is refused before it is opened: reading one may
/// never end.
pub fn read_regular(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        bail!("it is not a file");
    }
    let mut bytes = Vec::new();
    // Its size was another one if somebody writes to it.
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        bail!("it has more than {most} bytes");
    }
    Ok(bytes)
}

fn try_to_write(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(file_name) = path.file_name() else { bail!("this is not a file name") };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Checked before the work is done rather than after, and in clearer words than the operating system's.
    if path.is_dir() {
        bail!("it is a directory");
    }
    if !directory.is_dir() {
        bail!("the directory `{}` does not exist", directory.display());
    }
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(file_name);
    prefix.push(".");
    let temporary = tempfile::Builder::new()
        .prefix(&prefix)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)
        // The temporary name in its message would mean nothing to the reader.
        .map_err(|error| io::Error::from(error.kind()))?;

    let mut buffered = BufWriter::new(temporary.as_file());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    // The name must survive a power cut too.
    File::open(directory)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn failure(path: &Path) -> String {
        format!("{:#}", write_atomically(path, |_| Ok(())).unwrap_err())
    }

    #[test]
    fn a_file_appears_complete_and_only_under_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("日報.csv");
        for content in ["first", "second"] {
            write_atomically(&path, |file| Ok(file.write_all(content.as_bytes())?)).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(names_in(directory.path()), ["日報.csv"]);
    }

    #[test]
    fn a_file_has_the_permissions_of_any_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, plain) = (directory.path().join("ours"), directory.path().join("plain"));
        write_atomically(&ours, |_| Ok(())).unwrap();
        fs::write(&plain, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&ours), mode(&plain) & FILE_MODE);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("feed.csv");
        fs::write(&path, "old").unwrap();
        let result = write_atomically(&path, |file| {
            file.write_all(b"half")?;
            bail!("row 7 has no price")
        });
        let message = format!("{:#}", result.unwrap_err());
        assert_eq!(message, format!("failed to write `{}`: row 7 has no price", path.display()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names_in(directory.path()), ["feed.csv"]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_with_the_cause() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("no/such/feed.csv");
        let parent = directory.path().join("no/such");
        assert_eq!(
            failure(&missing),
            format!(
                "failed to write `{}`: the directory `{}` does not exist",
                missing.display(),
                parent.display()
            )
        );
        assert_eq!(
            failure(directory.path()),
            format!("failed to write `{}`: it is a directory", directory.path().display())
        );
        assert_eq!(failure(Path::new("/")), "failed to write `/`: this is not a file name");
    }
}
