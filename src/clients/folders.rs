//! Folders that clients write into: whether they could, before anything is created.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::fs::{Access, access};

/// Checks that a folder can be written to, or could be created where it is to be. Creates nothing.
pub(super) fn check(folder: &Path) -> io::Result<()> {
    for above in folder.ancestors() {
        match fs::metadata(above) {
            Ok(found) if !found.is_dir() => return Err(ErrorKind::NotADirectory.into()),
            Ok(_) => return Ok(access(above, Access::WRITE_OK | Access::EXEC_OK)?),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_or_could_be() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "").unwrap();
        for (folder, kind) in [
            ("", None),
            ("a/b/c", None),
            ("file", Some(ErrorKind::NotADirectory)),
            ("file/a", Some(ErrorKind::NotADirectory)),
        ] {
            let checked = check(&place.path().join(folder));
            assert_eq!(checked.err().map(|error| error.kind()), kind, "{folder}");
        }
        assert!(!place.path().join("a").exists());
    }
}
