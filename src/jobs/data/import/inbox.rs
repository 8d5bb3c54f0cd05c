//! The folder from which a nightly import takes its files: what waits in it, what is left alone, and where a file goes
//! afterwards.
//!
//! Other programs write to it at any moment, and anybody may have the right to: a file is taken once nobody seems to write
//! it any more, and only if it is a file of the folder itself. It is moved once its run has ended, by a rename within the
//! folder, so that it is there under one name or the other; a command that is killed in between finds it imported, and
//! moves it.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata, TryLockError};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use crate::failure::Failure;
use crate::period::format_duration;
use crate::runner::ExitCode;
use crate::runner::history::{Execution, Status};

use super::container::open;

/// Where files go that were imported.
const DONE: &str = "done";
/// Where files go that cannot be imported as they are.
const FAILED: &str = "failed";
/// What programs that transfer files call one that is not complete yet.
const INCOMPLETE: [&str; 7] = [".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download"];
/// How long a name may be on the file systems of Linux.
const MAX_NAME_BYTES: usize = 255;
/// Names that a file of the same name and run may get.
const MOST_NAMES: u32 = 1_000;

/// A folder of files that are to be imported.
#[derive(Debug)]
pub(super) struct Inbox {
    folder: PathBuf,
    /// Whether a file could not be moved: those after it cannot either, which is told once.
    is_stuck: Cell<bool>,
}

/// What the folder holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Files to be taken, by their names.
    pub(super) files: Vec<Found>,
    /// What is left where it is, and why: by itself it will be taken later, or somebody else's.
    pub(super) left: Vec<(String, String)>,
}

/// A file that may be taken.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name.
    pub(super) name: OsString,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its state when it was found.
    pub(super) seen: Seen,
    /// Why it cannot be read, whatever is in it.
    pub(super) refused: Option<&'static str>,
    /// The run after which it was moved.
    pub(super) run: Option<i64>,
}

impl Found {
    /// Whether it was moved as one that could not be imported.
    pub(super) fn has_failed(&self) -> bool {
        self.path.parent().is_some_and(|folder| folder.ends_with(FAILED))
    }
}

/// What tells whether a file is still the one that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// The state of the file there, without following a link; `None` if there is none.
    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    /// Its digest, for a file whose content cannot be read.
    pub(super) fn as_text(&self) -> String {
        format!("{} {} {:?}", self.inode, self.bytes, self.modified)
    }
}

impl Inbox {
    /// The folder there.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, is_stuck: Cell::new(false) }
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it holds: the files that `is_wanted` by their names and that nobody has written for `min_age`.
    pub(super) fn look(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        min_age: Duration,
        now: DateTime<Utc>,
    ) -> Result<Contents, Failure> {
        let mut contents = Contents::default();
        for entry in fs::read_dir(&self.folder).map_err(|error| self.unreadable(&error))? {
            let name = entry.map_err(|error| self.unreadable(&error))?.file_name();
            if name == DONE || name == FAILED || name.as_bytes().starts_with(b".") {
                continue;
            }
            let shown = name.to_string_lossy().into_owned();
            if let Some(ending) = INCOMPLETE.iter().find(|ending| has_ending(&shown, ending)) {
                contents
                    .left
                    .push((shown, format!("its name ends with `{ending}`, so that it is not complete")));
                continue;
            }
            if !is_wanted(&shown) {
                contents.left.push((shown, "its name matches no pattern".to_owned()));
                continue;
            }
            let path = self.folder.join(&name);
            // Moved by another command since it was listed.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let found = Found {
                refused: refusal(&name, &metadata),
                seen: Seen::of(&metadata),
                name,
                path,
                run: None,
            };
            match found
                .refused
                .is_none()
                .then(|| still_written(&found.path, &metadata, min_age, now))
                .flatten()
            {
                Some(reason) => contents.left.push((shown, reason)),
                None => contents.files.push(found),
            }
        }
        Ok(contents)
    }

    /// The places in which a file of this name may be: the folder itself, and those to which it was moved, the newest
    /// first.
    pub(super) fn places_of(&self, name: &str) -> Vec<Found> {
        let mut found = Vec::new();
        let mut add = |path: PathBuf, run: Option<u64>| {
            if let Ok(metadata) = fs::symlink_metadata(&path)
                && metadata.is_file()
            {
                let run = run.and_then(|run| i64::try_from(run).ok());
                found.push(Found { name: name.into(), path, seen: Seen::of(&metadata), refused: None, run });
            }
        };
        if Path::new(name).file_name() == Some(OsStr::new(name)) {
            add(self.folder.join(name), None);
        }
        for below in [FAILED, DONE] {
            let Ok(entries) = fs::read_dir(self.folder.join(below)) else { continue };
            let mut moved: Vec<(u64, PathBuf)> = entries
                .filter_map(Result::ok)
                .filter_map(|entry| Some((run_in(&entry.file_name(), OsStr::new(name))?, entry.path())))
                .collect();
            moved.sort_by(|one, other| other.cmp(one));
            for (run, path) in moved {
                add(path, Some(run));
            }
        }
        found
    }

    fn unreadable(&self, error: &io::Error) -> Failure {
        let folder = self.folder.display();
        let why = match error.kind() {
            io::ErrorKind::NotFound => "it does not exist".to_owned(),
            io::ErrorKind::NotADirectory => "it is not a folder".to_owned(),
            _ => error.to_string(),
        };
        Failure::bad_input(format!("failed to read the inbox `{folder}`: {why}"))
    }

    /// Moves a file below the folder, with the run's number in its name.
    fn clear(&self, path: &Path, name: &OsStr, below: &str, run: i64) -> Result<(), Failure> {
        let target = self.folder.join(below);
        let moved = folder_at(&target).and_then(|()| {
            let free = free_name(&target, name, run);
            fs::rename(path, free.ok_or_else(|| io::Error::from(io::ErrorKind::AlreadyExists))?)
        });
        match moved {
            Ok(()) => Ok(()),
            // By another command that found it imported too.
            Err(_) if Seen::at(path).is_none() => Ok(()),
            Err(error) => Err(self.unmoved(path, &target, &error)),
        }
    }

    /// Why a file could not be moved. What concerns the folder concerns all others too.
    fn unmoved(&self, path: &Path, target: &Path, error: &io::Error) -> Failure {
        let is_of_folder = concerns_folder(error);
        self.is_stuck.set(self.is_stuck.get() || is_of_folder);
        let failure = Failure::failed(format!(
            "failed to move `{}` to `{}`: {error}",
            path.display(),
            target.display()
        ));
        if is_of_folder {
            return failure
                .hint(
                    "its run is over, and is not run again while the file stays: let the user that runs batchctl write to \
                     the folder and what is in it, make room on its disk, or move the file by hand",
                )
                .retry_once("once the folder can be written to");
        }
        failure
            .hint("its run is over, and is not run again while the file stays: move the file by hand")
            .retry_once("once the file was moved")
    }
}

/// Whether an error is about the folder, its rights or its disk, and not about one file.
fn concerns_folder(error: &io::Error) -> bool {
    // In a folder like `/tmp`, only its owner moves a file.
    if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) {
        return false;
    }
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::NotADirectory
    )
}

/// A file of the folder while it is imported, alone or as the members of the archive that it is.
#[derive(Debug)]
pub(super) struct Waiting {
    inbox: Rc<Inbox>,
    path: PathBuf,
    /// The name that it came with.
    name: OsString,
    seen: Seen,
    /// Whether it may be moved.
    is_ours: bool,
    /// How many contents it has.
    contents: usize,
    /// Those whose runs have not ended.
    open: Cell<usize>,
    ends: RefCell<Vec<(End, i64)>>,
}

/// What the end of a run means for its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// It is imported, with the exception of bad lines that were allowed.
    Done,
    /// It cannot be imported as it is.
    Bad,
    /// It is still to be imported.
    Open,
}

impl End {
    fn of(last: &Execution) -> Self {
        if last.is(Status::Completed) || last.is(Status::Partial) {
            return Self::Done;
        }
        // Anything else is not the file's fault.
        let is_bad =
            last.is(Status::Failed) && last.exit_code == Some(i64::from(ExitCode::BadInput.number()));
        if is_bad { Self::Bad } else { Self::Open }
    }
}

impl Waiting {
    /// A file that was found, with so many contents.
    pub(super) fn new(inbox: &Rc<Inbox>, found: &Found, contents: usize) -> Self {
        Self {
            inbox: Rc::clone(inbox),
            path: found.path.clone(),
            name: found.name.clone(),
            seen: found.seen,
            is_ours: found.refused.is_none_or(|reason| reason == NOT_TEXT),
            contents,
            open: Cell::new(contents),
            ends: RefCell::default(),
        }
    }

    /// Whether it is no longer where it was found.
    pub(super) fn is_gone(&self) -> bool {
        Seen::at(&self.path).is_none()
    }

    /// Its state when it was found.
    pub(super) fn seen(&self) -> Seen {
        self.seen
    }

    /// The name that it came with.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// What it is called in messages, wherever it is by now.
    pub(super) fn shown(&self) -> PathBuf {
        self.inbox.folder.join(&self.name)
    }

    /// Where it is found once a run that cannot import it has ended; nothing if it stays where it is.
    pub(super) fn place_of_failure(&self, run: i64) -> Option<PathBuf> {
        if !self.is_ours || self.inbox.is_stuck.get() || Seen::at(&self.path) != Some(self.seen) {
            return None;
        }
        let target = self.inbox.folder.join(FAILED);
        // An archive moves with the number of its last run.
        let is_alone = self.contents == 1;
        Some(if is_alone { free_name(&target, &self.name, run).unwrap_or(target) } else { target })
    }

    /// Notes how the run of one of its contents ended; after the last one, moves the file. Returns why it stays, if that is
    /// not for its run's sake.
    pub(super) fn end(&self, last: Option<&Execution>) -> Result<Option<String>, Failure> {
        self.ends.borrow_mut().push(last.map_or((End::Open, 0), |last| (End::of(last), last.id)));
        self.open.set(self.open.get().saturating_sub(1));
        if self.open.get() > 0 {
            return Ok(None);
        }
        let ends = self.ends.borrow();
        let run = ends.iter().map(|(_, run)| *run).max().unwrap_or(0);
        let below = match ends.iter().map(|(end, _)| *end).max() {
            Some(End::Done) => DONE,
            Some(End::Bad) => FAILED,
            Some(End::Open) | None => return Ok(None),
        };
        if !self.is_ours || self.inbox.is_stuck.get() {
            return Ok(None);
        }
        match Seen::at(&self.path) {
            None => Ok(None),
            Some(seen) if seen != self.seen => {
                Ok(Some(format!("left `{}`: it was written to while it was imported", self.path.display())))
            }
            Some(_) => self.inbox.clear(&self.path, &self.name, below, run).map(|()| None),
        }
    }
}

const NOT_TEXT: &str = "its name is not valid UTF-8: rename it";

/// Why what has a name that is wanted is not read, whatever is in it.
fn refusal(name: &OsStr, metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        Some("it is a symbolic link, and only files of the folder itself are imported")
    } else if kind.is_dir() {
        Some("it is a folder")
    } else if !kind.is_file() {
        Some("it is not a regular file")
    } else if name.to_str().is_none() {
        Some(NOT_TEXT)
    } else {
        None
    }
}

/// Why a file is most likely still being written.
fn still_written(path: &Path, metadata: &Metadata, min_age: Duration, now: DateTime<Utc>) -> Option<String> {
    // Unlike the time of the last write, this one is never what the sender's clock said.
    let changed =
        DateTime::from_timestamp(metadata.ctime(), u32::try_from(metadata.ctime_nsec()).unwrap_or(0))?;
    let is_young = (now - changed).to_std().map_or(!min_age.is_zero(), |age| age < min_age);
    if is_young {
        return Some(format!("it was written less than {} ago", format_duration(min_age)));
    }
    // One that cannot be opened fails by its own run.
    let file = open(path, false).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => return Some("another process has locked it".to_owned()),
        // A file system without locks has none that is held.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    let held = fcntl_getlk(&file, &Flock::from(FlockType::ReadLock)).ok().flatten();
    held.map(|_| "another process has locked it".to_owned())
}

fn has_ending(name: &str, ending: &str) -> bool {
    let tail = name.len().checked_sub(ending.len()).and_then(|start| name.get(start..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(ending))
}

/// Makes a folder, unless it is there.
fn folder_at(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::create_dir(path) {
            // By another command.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        },
        Err(error) => Err(error),
    }
}

/// Where the endings of a name begin: `.csv`, or `.csv.gz`.
fn endings(name: &[u8]) -> usize {
    let last_dot = |name: &[u8]| name.iter().rposition(|byte| *byte == b'.').filter(|place| *place > 0);
    let Some(last) = last_dot(name) else { return name.len() };
    if name[last..].eq_ignore_ascii_case(b".gz") {
        return last_dot(&name[..last]).unwrap_or(last);
    }
    last
}

/// Where a file of a run may be moved in a folder. A name is taken only by a file of the same name and content.
fn free_name(folder: &Path, name: &OsStr, run: i64) -> Option<PathBuf> {
    let mut names = (1..=MOST_NAMES).map(|copy| folder.join(numbered(name, run, copy)));
    names.find(|name| fs::symlink_metadata(name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound))
}

/// A name with the number of a run before its endings: `orders.csv` becomes `orders.run12.csv`. One that would be longer than
/// names may be loses the end of what stands before the number.
fn numbered(name: &OsStr, run: i64, copy: u32) -> OsString {
    let name = name.as_bytes();
    let (stem, endings) = name.split_at(endings(name));
    let copy = if copy == 1 { String::new() } else { format!("-{copy}") };
    let number = format!(".run{run}{copy}");
    let room = MAX_NAME_BYTES.saturating_sub(number.len() + endings.len());
    OsString::from_vec([cut(stem, room), number.as_bytes(), endings].concat())
}

/// The beginning of a name, at most so long, without half a character at its end.
fn cut(name: &[u8], most: usize) -> &[u8] {
    let Some(cut) = name.get(..most).filter(|_| name.len() > most) else { return name };
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
        _ => cut,
    }
}

/// The run after which a file with one name was moved to the other; `None` if it was not.
fn run_in(moved: &OsStr, name: &OsStr) -> Option<u64> {
    let (_, run) = original(moved)?;
    // A long name has lost its end, so that only the way there tells.
    let number = i64::try_from(run).ok()?;
    (1..=MOST_NAMES).any(|copy| numbered(name, number, copy) == moved).then_some(run)
}

/// The name that a file had before it was moved, and its run; `None` if it never was.
fn original(name: &OsStr) -> Option<(OsString, u64)> {
    let name = name.as_bytes();
    let last_dot = name.iter().rposition(|byte| *byte == b'.').unwrap_or(name.len());
    // A name may have no endings, or only `.gz`.
    [endings(name), last_dot, name.len()].into_iter().find_map(|place| original_before(name, place))
}

fn original_before(name: &[u8], endings: usize) -> Option<(OsString, u64)> {
    let (before, endings) = name.split_at(endings);
    let dot = before.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
    let number = std::str::from_utf8(&before[dot..]).ok()?.strip_prefix(".run")?;
    let (run, copy) = number.split_once('-').unwrap_or((number, "1"));
    copy.parse::<u32>().ok()?;
    Some((OsString::from_vec([&before[..dot], endings].concat()), run.parse().ok()?))
}

/// Whether a name matches a pattern, in which `*` stands for any characters and `?` for any one. What is packed has the name
/// of what it contains, with an ending more.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let unpacked = if has_ending(name, ".gz") { &name[..name.len() - 3] } else { name };
    let pattern: Vec<char> = pattern.chars().collect();
    [name, unpacked].iter().any(|name| is_match(&pattern, &name.chars().collect::<Vec<char>>()))
}

/// In time that is bounded by the product of their lengths: only the last `*` is ever tried again.
fn is_match(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut last_star = None;
    while place < name.len() {
        match pattern.get(at) {
            Some('*') => {
                last_star = Some((at, place));
                at += 1;
            }
            Some(one) if *one == '?' || *one == name[place] => {
                at += 1;
                place += 1;
            }
            _ => match &mut last_star {
                Some((star, tried)) => {
                    *tried += 1;
                    (at, place) = (*star + 1, *tried);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|one| *one == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_file_has_the_number_of_its_run_in_its_name() {
        let cases = [
            ("orders.csv", "orders.run12.csv"),
            ("orders.2026-11-19.csv.gz", "orders.2026-11-19.run12.csv.gz"),
            ("orders.gz", "orders.run12.gz"),
            ("orders", "orders.run12"),
            ("a\nb.csv", "a\nb.run12.csv"),
        ];
        for (name, moved) in cases {
            assert_eq!(numbered(OsStr::new(name), 12, 1), OsStr::new(moved));
            for copy in [1, 2] {
                let moved = numbered(OsStr::new(name), 12, copy);
                assert_eq!(original(&moved), Some((name.into(), 12)), "{}", moved.display());
            }
        }
        assert_eq!(numbered(OsStr::new("orders.csv"), 12, 3), OsStr::new("orders.run12-3.csv"));
        for name in ["orders.csv", "orders.runner.csv", ".run12.csv", "run12.csv", "orders.run.csv", ""] {
            assert_eq!(original(OsStr::new(name)), None, "{name}");
        }
        let raw = OsStr::from_bytes(b"\xFF.csv");
        assert_eq!(original(&numbered(raw, 1, 1)), Some((raw.to_owned(), 1)));
    }

    #[test]
    fn a_name_that_would_be_too_long_loses_its_end_and_is_known_by_what_is_left() {
        let long = format!("{}.csv", "a".repeat(248));
        let japanese = format!("{}.csv.gz", "注".repeat(81));
        for name in [&long, &japanese] {
            for (run, copy) in [(7, 1), (12_345, 1), (7, 12)] {
                let moved = numbered(OsStr::new(name), run, copy);
                assert!((MAX_NAME_BYTES - 2..=MAX_NAME_BYTES).contains(&moved.len()), "{}", moved.len());
                assert!(moved.to_str().is_some());
                assert_eq!(run_in(&moved, OsStr::new(name)), u64::try_from(run).ok());
                assert_eq!(run_in(&moved, OsStr::new("other.csv")), None);
            }
        }
        assert_eq!(run_in(OsStr::new("orders.csv"), OsStr::new("orders.csv")), None);
    }

    #[test]
    fn only_what_concerns_the_folder_keeps_other_files_from_being_moved() {
        let is = |error: Errno| concerns_folder(&error.into());
        assert!([Errno::ACCESS, Errno::ROFS, Errno::NOSPC, Errno::DQUOT, Errno::NOTDIR].into_iter().all(is));
        assert!(![Errno::NAMETOOLONG, Errno::PERM, Errno::IO, Errno::EXIST].into_iter().any(is));
    }

    #[test]
    fn a_pattern_is_about_the_whole_name() {
        for (pattern, name) in [
            ("orders*.csv", "orders.csv"),
            ("orders*.csv", "orders-2026-11-19.csv"),
            ("orders*.csv", "orders.csv.gz"),
            ("orders-????.csv", "orders-1119.csv"),
            ("受注*.csv", "受注一覧.csv"),
            ("*", "anything\n"),
            ("*a*b*c", "aXbXbXcYc"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("orders*.csv", "my-orders.csv"),
            ("orders*.csv", "orders.csv.part"),
            ("orders-????.csv", "orders-119.csv"),
            ("orders*.csv", "ORDERS.CSV"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        let stars = "*a".repeat(2_000);
        assert!(!matches(&stars, &"a".repeat(1_999)));
    }
}
