//! Where an outage is noted: a small file for each environment and database, beside the configuration. Where it cannot be written
//! there (no permission, a full disk, a read-only one), it is in a folder of our own below `/var/tmp`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use chrono::Datelike;
use rustix::fs::{Access, FlockOperation, access, flock};

use crate::context::Context;
use crate::db::Place;
use crate::digest::{FINGERPRINT_DIGITS, fingerprint};
use crate::failure::one_line;
use crate::files::{read_regular, write_privately};
use crate::runner::own_folder;

use super::{MAX_STARTS, Outage, Start};

const SUFFIX: &str = ".outage.json";
/// The largest file that is read.
pub(super) const MAX_FILE: u64 = 4_000_000;
/// How often another process that holds the file is asked again. It holds it for milliseconds.
const LOCK_ATTEMPTS: u32 = 200;
/// The same where that is not decisive.
const FEW_ATTEMPTS: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The two places of the file.
#[derive(PartialEq, Eq)]
pub(super) struct Store {
    /// The file beside the configuration.
    beside: PathBuf,
    /// The folder of our own for all configurations.
    own_base: PathBuf,
    /// The file in it.
    own: PathBuf,
}

impl Store {
    /// That of a database.
    pub(super) fn of(cx: &Context, place: &Place) -> Self {
        let name = format!("{}{}{SUFFIX}", prefix(cx), fingerprint(place.to_string()));
        Self::new(&cx.config.folder(), &name, Path::new(own_folder::ROOT))
    }

    fn new(folder: &Path, name: &str, root: &Path) -> Self {
        let own_base = own_folder::base(root);
        let own_folder = own_base.join(fingerprint(folder.as_os_str().as_encoded_bytes()));
        Self { beside: folder.join(name), own: own_folder.join(name), own_base }
    }

    /// Those with a file of ours, of all databases of the environment; without the lock, because every start asks.
    pub(super) fn noted(cx: &Context) -> Vec<Self> {
        let folder = cx.config.folder();
        Self::noted_in(&folder, &prefix(cx), Path::new(own_folder::ROOT))
    }

    fn noted_in(folder: &Path, prefix: &str, root: &Path) -> Vec<Self> {
        let own = Self::new(folder, "", root).own;
        let names: BTreeSet<String> =
            [folder, &own].into_iter().flat_map(|folder| names(folder, prefix)).collect();
        let stores = names.into_iter().map(|name| Self::new(folder, &name, root));
        // The file of another user has starts that are theirs.
        stores.filter(Self::exists).collect()
    }

    /// Whether there is a file of ours.
    pub(super) fn exists(&self) -> bool {
        self.has_own() || own_folder::refuse_foreign(&self.beside).is_ok()
    }

    /// Keeps other processes from the file until the result is dropped. A folder is locked and not the file, so that no
    /// file is left behind.
    pub(super) async fn lock(&self) -> anyhow::Result<Locked<'_>> {
        let beside = folder_of(&self.beside);
        let own = match own_folder::make(&self.own_base) {
            Ok(()) => lock_folder(&self.own_base, LOCK_ATTEMPTS).await?,
            // Without our own folder, that of the configuration has to do.
            Err(error) if access(beside, Access::WRITE_OK).is_err() => return Err(error),
            Err(_) => {
                return Ok(Locked {
                    store: self,
                    _folders: [Some(lock_folder(beside, LOCK_ATTEMPTS).await?), None],
                });
            }
        };
        // Against other users, who have another folder of their own. A crontab may keep it locked for as long as its command
        // runs (`flock . batchctl …`).
        let beside = lock_folder(beside, FEW_ATTEMPTS).await.ok();
        Ok(Locked { store: self, _folders: [Some(own), beside] })
    }

    /// Whether the database is known to be one, since a job has completed there.
    pub(super) fn is_known(&self) -> bool {
        [&self.beside, &self.own].into_iter().any(|file| mark_of(file).exists())
    }

    /// From now on it is. Without the mark, another database might be taken for its correction.
    pub(super) fn know(&self) {
        if !self.is_known() && File::create_new(mark_of(&self.beside)).is_err() {
            let made = self.make_own_folder();
            drop(made.map(|()| File::create_new(mark_of(&self.own))));
        }
    }

    /// The folder of the file of our own, which only we can use.
    fn make_own_folder(&self) -> anyhow::Result<()> {
        own_folder::make(&self.own_base)?;
        own_folder::make(folder_of(&self.own))
    }

    /// Whether the file of our own is there, and nobody else could have put it there.
    fn has_own(&self) -> bool {
        let path = [&self.own_base, folder_of(&self.own), &self.own];
        path.into_iter().all(|part| own_folder::refuse_foreign(part).is_ok())
    }
}

/// The file, while no other process uses it.
pub(super) struct Locked<'s> {
    store: &'s Store,
    _folders: [Option<File>; 2],
}

impl Locked<'_> {
    /// The outage in the file; none if there is no file, or one that makes no sense.
    pub(super) fn read(&self) -> anyhow::Result<Option<Outage>> {
        if self.store.has_own() { read(&self.store.own) } else { read(&self.store.beside) }
    }

    /// Writes it where it is, or else where it can be written.
    pub(super) fn write(&self, outage: &Outage) -> anyhow::Result<()> {
        let Store { beside, own, .. } = self.store;
        if self.store.has_own() {
            return write(own, outage);
        }
        // That of another user has starts that are theirs.
        let written = refuse_foreign_file(beside).and_then(|()| write(beside, outage));
        let Err(error) = written else { return Ok(()) };
        self.store.make_own_folder().and_then(|()| write(own, outage)).with_context(|| one_line(&error))?;
        // What stays there is older, and is not read any more.
        remove_ours(beside).ok();
        Ok(())
    }

    /// Deletes it, and the temporary files of processes that were killed while they wrote.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        let Store { beside, own, .. } = self.store;
        for path in [own, beside] {
            remove_leftovers(path);
            remove_ours(path)?;
        }
        // It may hold the file of another environment.
        drop(std::fs::remove_dir(folder_of(own)));
        Ok(())
    }
}

fn prefix(cx: &Context) -> String {
    format!(".batchctl-{}.", cx.config.environment())
}

/// The names of the files of outages in a folder.
fn names(folder: &Path, prefix: &str) -> Vec<String> {
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_file = |name: &String| {
        let digits = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(SUFFIX));
        digits.is_some_and(|digits| digits.len() == FINGERPRINT_DIGITS && is_hexadecimal(digits))
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_file).collect()
}

/// Locks a folder, or fails if another process keeps it locked.
async fn lock_folder(folder: &Path, attempts: u32) -> anyhow::Result<File> {
    let file = File::open(folder).with_context(|| format!("failed to open `{}`", folder.display()))?;
    for _ in 0..attempts {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("failed to lock `{}`", folder.display()));
            }
        }
    }
    anyhow::bail!("another process keeps `{}` locked", folder.display())
}

/// The mark that the database of an outage's file is known.
fn mark_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(name.replace(SUFFIX, ".known"))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Refuses a file that somebody else could have put there, if it is there.
fn refuse_foreign_file(path: &Path) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        _ => own_folder::refuse_foreign(path),
    }
}

/// Deletes a file, if there is one and it is ours.
fn remove_ours(path: &Path) -> anyhow::Result<()> {
    if !path.is_file() || own_folder::refuse_foreign(path).is_err() {
        return Ok(());
    }
    std::fs::remove_file(path).with_context(|| format!("failed to delete `{}`", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Option<Outage>> {
    if std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    own_folder::refuse_foreign(path)?;
    let bytes =
        read_regular(path, MAX_FILE).with_context(|| format!("failed to read `{}`", path.display()))?;
    let mut outage: Option<Outage> = serde_json::from_slice(&bytes).ok();
    if let Some(outage) = &mut outage {
        outage.starts.truncate(MAX_STARTS);
        // No database keeps other times or a NUL.
        let is_storable =
            |start: &Start| (2_000..=9_998).contains(&start.at.year()) && !start.line.contains('\0');
        outage.starts.retain(is_storable);
    }
    Ok(outage)
}

fn write(path: &Path, outage: &Outage) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(outage)?;
    write_privately(path, |file| Ok(file.write_all(text.as_bytes())?))
}

/// Nobody writes while the folder is locked.
fn remove_leftovers(path: &Path) {
    let Some(name) = path.file_name() else { return };
    let prefix = format!(".{}.", name.to_string_lossy());
    let entries = std::fs::read_dir(folder_of(path)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        // One that stays does no harm.
        drop(std::fs::remove_file(entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use rustix::process::geteuid;

    use super::*;

    const NAME: &str = ".batchctl-prod.0123456789abcdef.outage.json";

    /// A configuration's folder, and a root for the folders of our own.
    fn folders() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let store = Store::new(&folder.path().join("etc"), NAME, folder.path());
        (folder, store)
    }

    fn outage(reason: &str) -> Outage {
        serde_json::from_value(serde_json::json!({
            "place": { "file": "/shop.db" }, "since": "2026-11-20T00:00:00Z", "starts": [], "told": {},
            "reason": reason, "is_of_process": false,
        }))
        .unwrap()
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_file_is_beside_the_configuration_and_leaves_nothing_behind() {
        let (folder, store) = folders();
        assert!(!store.exists());
        let locked = store.lock().await.unwrap();
        locked.write(&outage("a")).unwrap();
        assert!(folder.path().join("etc").join(NAME).is_file() && store.exists());
        assert_eq!(locked.read().unwrap(), Some(outage("a")));
        locked.remove().unwrap();
        assert!(!store.exists() && !folder_of(&store.own).exists());
    }

    #[tokio::test]
    async fn what_cannot_be_written_there_is_in_a_folder_that_only_we_can_use() {
        let (_folder, store) = folders();
        // A folder in the place of the file: whoever runs the tests may be root, whom no mode stops.
        std::fs::create_dir(&store.beside).unwrap();
        let locked = store.lock().await.unwrap();
        locked.write(&outage("a")).unwrap();
        locked.write(&outage("b")).unwrap();
        assert_eq!(locked.read().unwrap(), Some(outage("b")));
        assert_eq!(
            (mode(&store.own_base), mode(folder_of(&store.own)), mode(&store.own)),
            (0o700, 0o700, 0o600)
        );
        locked.remove().unwrap();
        assert!(!store.own.exists() && !folder_of(&store.own).exists());
    }

    #[tokio::test]
    async fn an_outage_that_was_begun_beside_the_configuration_goes_on_in_our_own_folder() {
        let (_folder, store) = folders();
        let locked = store.lock().await.unwrap();
        locked.write(&outage("a")).unwrap();
        // Killed between the two steps of the move: the newer one counts.
        store.make_own_folder().unwrap();
        write(&store.own, &outage("b")).unwrap();
        assert_eq!(locked.read().unwrap(), Some(outage("b")));
        locked.remove().unwrap();
        assert!(!store.exists());
    }

    #[test]
    fn two_configurations_have_two_folders() {
        let (folder, store) = folders();
        let other = Store::new(&folder.path().join("other"), NAME, folder.path());
        assert_eq!(store.own_base, other.own_base);
        assert_ne!(store.own, other.own);
    }

    #[tokio::test]
    async fn what_somebody_else_could_have_put_there_is_not_read() {
        let (folder, store) = folders();
        let forged = || {
            store.make_own_folder().unwrap();
            write(&store.own, &outage("forged")).unwrap();
            assert!(store.has_own());
        };
        let locked = store.lock().await.unwrap();
        for part in [&store.own_base, folder_of(&store.own), &store.own] {
            forged();
            let right = std::fs::metadata(part).unwrap().permissions();
            std::fs::set_permissions(part, Permissions::from_mode(right.mode() | 0o020)).unwrap();
            assert!(own_folder::refuse_foreign(part).is_err());
            assert_eq!(locked.read().unwrap(), None, "{} may be written by the group", part.display());
            std::fs::set_permissions(part, right).unwrap();

            let elsewhere = folder.path().join("elsewhere");
            std::fs::rename(part, &elsewhere).unwrap();
            symlink(&elsewhere, part).unwrap();
            assert!(own_folder::refuse_foreign(part).is_err());
            assert_eq!(locked.read().unwrap(), None, "{} is a link", part.display());
            std::fs::remove_file(part).unwrap();
            std::fs::rename(&elsewhere, part).unwrap();

            // Only root can give something away.
            if geteuid().is_root() {
                chown(part, Some(65_534), None).unwrap();
                assert!(own_folder::refuse_foreign(part).is_err());
                assert_eq!(locked.read().unwrap(), None, "{} belongs to another user", part.display());
                chown(part, Some(0), None).unwrap();
            }
        }
        assert!(store.has_own());
    }

    #[tokio::test]
    async fn a_foreign_folder_in_the_place_of_our_own_is_refused() {
        let (folder, store) = folders();
        std::fs::create_dir(&store.beside).unwrap();
        symlink(folder.path().join("etc"), &store.own_base).unwrap();
        let error = store.lock().await.unwrap().write(&outage("a")).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("it is a directory") && error.contains("is a link, belongs to another user"),
            "{error}"
        );
    }

    #[test]
    fn the_files_of_all_databases_of_an_environment_are_known() {
        let (folder, store) = folders();
        let etc = folder.path().join("etc");
        let other = Store::new(&etc, ".batchctl-prod.fedcba9876543210.outage.json", folder.path());
        write(&store.beside, &outage("a")).unwrap();
        other.make_own_folder().unwrap();
        write(&other.own, &outage("b")).unwrap();
        for foreign in [".batchctl-dev.0123456789abcdef.outage.json", ".batchctl-prod.json", "..outage.json"]
        {
            std::fs::write(etc.join(foreign), "").unwrap();
        }
        let noted = Store::noted_in(&etc, ".batchctl-prod.", folder.path());
        assert!(noted == [store, other]);
    }

    #[tokio::test]
    async fn a_folder_that_its_owner_keeps_locked_does_not_keep_us_from_noting() {
        let (folder, store) = folders();
        let etc = File::open(folder.path().join("etc")).unwrap();
        flock(&etc, FlockOperation::LockExclusive).unwrap();
        let locked = store.lock().await.unwrap();
        locked.write(&outage("a")).unwrap();
        assert!(store.exists());
        // Whether the folder is locked or not, all lock the same one.
        drop(etc);
        assert!(lock_folder(&store.own_base, 1).await.is_err());
        drop(locked);
        assert!(lock_folder(&store.own_base, 1).await.is_ok());
    }

    #[test]
    fn a_database_is_known_from_its_mark_on() {
        let (folder, store) = folders();
        assert!(!store.is_known());
        store.know();
        store.know();
        assert!(store.is_known());
        let other = Store::new(
            &folder.path().join("etc"),
            ".batchctl-prod.fedcba9876543210.outage.json",
            folder.path(),
        );
        assert!(!other.is_known());
        assert!(Store::noted_in(&folder.path().join("etc"), ".batchctl-prod.", folder.path()).is_empty());
    }
}
