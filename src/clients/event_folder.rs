//! A folder of NDJSON files: a line of JSON for each event, in the order in which they were published.
//!
//! All processes append to the newest file, one at a time under a lock, so that the order holds from line to line and from
//! file to file. What a process that died has left of a line is cut off before the next one is written.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::folders;
use crate::config::Config;
use crate::failure::{Failure, without_error_numbers};

/// The file whose lock whoever writes has.
const LOCK: &str = "events.lock";
/// Digits of a file's number: enough for names that sort.
const DIGITS: usize = 8;
/// Events are about customers: for their owner, and for the group of whoever reads them.
const MODE: u32 = 0o640;
/// A process writes for milliseconds. One that has been stopped in the middle keeps the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// How often the lock is asked for.
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// How much of a file's end is read at a time, to find where its last line ends.
const BLOCK: u64 = 64 * 1024;

/// Writes events to files.
#[derive(Debug, Clone)]
pub struct EventFolder {
    folder: PathBuf,
    max_file_bytes: u64,
}

impl EventFolder {
    /// Refuses a folder that cannot be written to, or does not exist and could not be created. Creates nothing.
    pub fn check(config: &Config) -> Result<(), Failure> {
        let folder = place(config);
        folders::check(&folder).map_err(|error| unusable(&folder, &error))
    }

    /// The folder of `[events] folder`; created if it does not exist.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let folder = place(config);
        fs::create_dir_all(&folder).map_err(|error| unusable(&folder, &error))?;
        Ok(Self { folder, max_file_bytes: config.events().max_file_bytes() })
    }

    /// Appends whole lines, each ending in a line break, and returns once they would survive a loss of power. All of them are
    /// there, or none.
    pub async fn append(&self, lines: String) -> Result<(), Failure> {
        let folder = self.clone();
        match tokio::task::spawn_blocking(move || folder.append_now(lines.as_bytes())).await {
            Ok(appended) => appended,
            Err(error) => Err(Failure::failed(format!("failed to write events: {error}"))),
        }
    }

    fn append_now(&self, lines: &[u8]) -> Result<(), Failure> {
        let _lock = self.lock()?;
        let (path, mut file, end) = self.newest(lines.len() as u64)?;
        let appended = file.write_all(lines).and_then(|()| file.sync_data());
        appended.map_err(|error| {
            // What fails here too is cut off by the next process.
            let _ = file.set_len(end);
            failure(&path, &error)
        })
    }

    /// The lock, which is released when it is dropped or its process dies.
    fn lock(&self) -> Result<File, Failure> {
        let path = self.folder.join(LOCK);
        let file = opened(&path).map_err(|error| failure(&path, &error))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let seconds = LOCK_PATIENCE.as_secs();
                    return Err(Failure::try_later(format!(
                        "another process has held the lock `{}` for {seconds} s",
                        path.display()
                    ))
                    .hint(
                        "the events stay in the outbox; look for a process that was stopped while it wrote",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(failure(&path, &error)),
            }
        }
    }

    /// The file to append these bytes to, with its length.
    fn newest(&self, bytes: u64) -> Result<(PathBuf, File, u64), Failure> {
        let number = self.newest_number().map_err(|error| failure(&self.folder, &error))?;
        let path = self.path(number.unwrap_or(1));
        let (file, end) = self.open(&path)?;
        if end == 0 || end.saturating_add(bytes) <= self.max_file_bytes {
            return Ok((path, file, end));
        }
        let Some(next) = number.unwrap_or(1).checked_add(1) else {
            return Err(Failure::configuration(format!(
                "no number comes after that of `{}`, which is full: move it elsewhere",
                path.display()
            )));
        };
        let path = self.path(next);
        let (file, end) = self.open(&path)?;
        Ok((path, file, end))
    }

    fn newest_number(&self) -> io::Result<Option<u64>> {
        let mut newest = None;
        for entry in fs::read_dir(&self.folder)? {
            newest = newest.max(entry?.file_name().to_str().and_then(number_of));
        }
        Ok(newest)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("events-{number:0DIGITS$}.ndjson"))
    }

    /// A file, positioned behind its last whole line, where it ends.
    fn open(&self, path: &Path) -> Result<(File, u64), Failure> {
        let failed = |error| failure(path, &error);
        let mut file = opened(path).map_err(failed)?;
        let end = end_of_lines(&mut file).map_err(failed)?;
        if end == 0 {
            // Its name has to survive too. Whoever made the file may have died before that.
            File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        file.set_len(end).map_err(failed)?;
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        Ok((file, end))
    }
}

fn place(config: &Config) -> PathBuf {
    config.working_dir().join(config.events().folder())
}

fn unusable(folder: &Path, error: &io::Error) -> Failure {
    let (folder, error) = (folder.display(), in_words(error));
    Failure::configuration(format!("`events.folder`: `{folder}` cannot be written to: {error}"))
}

/// A disk will have room again; a folder that is gone or closed stays so until somebody opens it.
fn failure(path: &Path, error: &io::Error) -> Failure {
    let message = format!("failed to write events to `{}`: {}", path.display(), in_words(error));
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::Unsupported
        | ErrorKind::ReadOnlyFilesystem => {
            Failure::configuration(message).hint("the events stay in the outbox; see `events.folder`")
        }
        _ => Failure::try_later(message)
            .hint("the events stay in the outbox; the next run tries again")
            .retry_once("once the folder takes files again"),
    }
}

/// Opens a file, or creates it. What is not a file stays what it is, however often it is tried: a FIFO, a device, a socket.
fn opened(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(io::Error::new(ErrorKind::Unsupported, "it is not a regular file"));
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)
}

fn in_words(error: &io::Error) -> String {
    without_error_numbers(&error.to_string()).into_owned()
}

/// The number in the name of one of our files.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("events-")?.strip_suffix(".ndjson")?;
    let is_ours = digits.len() >= DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_ours)
}

/// Where the last whole line of a file ends.
fn end_of_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        (&mut *file).take(end - start).read_to_end(&mut block)?;
        if let Some(place) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    fn folder(place: &Path, max_file_bytes: u64) -> EventFolder {
        EventFolder { folder: place.to_owned(), max_file_bytes }
    }

    /// The names and contents of the files of events.
    fn files(place: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(place).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = entries
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
            })
            .filter(|(name, _)| name != LOCK)
            .collect();
        files.sort();
        files
    }

    fn file(name: &str, content: &str) -> (String, String) {
        (name.to_owned(), content.to_owned())
    }

    #[test]
    fn no_file_comes_after_the_last_number_there_is() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(format!("events-{}.ndjson", u64::MAX)), "{1}\n{2}\n").unwrap();
        let failure = folder(place.path(), 6).append_now(b"{3}\n").unwrap_err();
        assert_eq!(failure.kind, FailureKind::Configuration);
        assert!(failure.message.contains("move it elsewhere"), "{}", failure.message);
    }

    #[test]
    fn a_file_that_is_full_is_followed_by_another_one() {
        let place = tempfile::tempdir().unwrap();
        for lines in ["{1}\n", "{2}\n{3}\n", "{4}\n", "{a line that is longer than a file}\n", "{5}\n"] {
            folder(place.path(), 12).append_now(lines.as_bytes()).unwrap();
        }
        assert_eq!(
            files(place.path()),
            [
                file("events-00000001.ndjson", "{1}\n{2}\n{3}\n"),
                file("events-00000002.ndjson", "{4}\n"),
                file("events-00000003.ndjson", "{a line that is longer than a file}\n"),
                file("events-00000004.ndjson", "{5}\n"),
            ]
        );
    }

    #[test]
    fn what_is_left_of_a_line_is_cut_off() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("events-00000007.ndjson");
        let half = format!("{{1}}\n{{\"payload\": \"{}", "x".repeat(200_000));
        for (left, then) in [(half.as_str(), "{1}\n{2}\n"), ("{\"half", "{2}\n"), ("", "{2}\n")] {
            fs::write(&path, left).unwrap();
            folder(place.path(), 1_000_000).append_now(b"{2}\n").unwrap();
            assert_eq!(files(place.path()), [file("events-00000007.ndjson", then)]);
        }
    }

    #[test]
    fn other_files_in_the_folder_are_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let others = ["events-1.ndjson", "events-00000009.ndjson.gz", "events-+0000009.ndjson", "notes.txt"];
        for other in others {
            fs::write(place.path().join(other), "x").unwrap();
        }
        folder(place.path(), 100).append_now(b"{1}\n").unwrap();
        let files = files(place.path());
        assert!(files.contains(&file("events-00000001.ndjson", "{1}\n")), "{files:?}");
        assert!(others.iter().all(|other| files.contains(&file(other, "x"))), "{files:?}");
    }

    #[test]
    fn many_at_once_write_whole_lines() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let folder = folder(place.path(), 5_000);
                scope.spawn(move || {
                    for number in 0..50 {
                        folder
                            .append_now(format!("{{{writer} {number} {}}}\n", "x".repeat(100)).as_bytes())
                            .unwrap();
                    }
                });
            }
        });
        let all: String = files(place.path()).into_iter().map(|(_, content)| content).collect();
        for writer in 0..4 {
            let own: Vec<&str> =
                all.lines().filter(|line| line.starts_with(&format!("{{{writer} "))).collect();
            let expected: Vec<String> =
                (0..50).map(|number| format!("{{{writer} {number} {}}}", "x".repeat(100))).collect();
            assert_eq!(own, expected);
        }
        assert_eq!(all.lines().count(), 200);
    }

    #[test]
    fn what_is_not_a_file_is_named_and_waits_for_somebody() {
        for name in ["events-00000001.ndjson", LOCK] {
            for target in [None, Some("/dev/null")] {
                let place = tempfile::tempdir().unwrap();
                let path = place.path().join(name);
                match target {
                    None => {
                        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
                        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
                            .unwrap();
                    }
                    Some(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
                }
                let failure = folder(place.path(), 100).append_now(b"{1}\n").unwrap_err();
                assert_eq!(failure.kind, FailureKind::Configuration);
                assert!(failure.message.ends_with("`: it is not a regular file"), "{}", failure.message);
                assert!(failure.message.contains(name), "{}", failure.message);
            }
        }
    }

    #[test]
    fn a_folder_that_is_gone_is_named_and_waits_for_somebody() {
        let place = tempfile::tempdir().unwrap();
        let failure = folder(&place.path().join("gone"), 100).append_now(b"{1}\n").unwrap_err();
        assert_eq!(failure.kind, FailureKind::Configuration);
        assert!(failure.message.contains("gone/events.lock`: No such file"), "{}", failure.message);
    }
}
