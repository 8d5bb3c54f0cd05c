//! Where the content of an import is: in a file, packed in one with gzip, a member of a ZIP archive, or on standard input.
//!
//! An import reads its content more than once: to know whether it was imported before, to check it, to load it. What can be
//! read only once, or not from its beginning, is kept in a temporary file without a name, so that it is gone with the
//! process, however that ends. Whoever packed a file may mean harm: how much it unpacks to is bounded before it fills the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::MultiGzDecoder;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::failure::Failure;

use super::foreign::{Packed, packed};
use super::reader::unreadable;

/// What a packed file may unpack to: more than any shop's export has, less than a disk. It is read through twice.
const MAX_UNPACKED_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// How much larger it may be than it was packed: text of the same few words reaches a hundredth, a trap a thousandth.
const MAX_RATIO: u64 = 250;
/// Below this, the ratio says nothing and harms nobody.
const HARMLESS_BYTES: u64 = 64 * 1024 * 1024;
/// Members of an archive: an export in parts has a few dozen.
const MAX_MEMBERS: usize = 200;
/// Bytes read at a time.
const BUFFER_BYTES: usize = 256 * 1024;
/// What to do about a packed file that cannot be unpacked.
const DAMAGED: &str = "get the file again: the download, or the copy, has most likely failed";
/// What standard input is called.
pub(super) const STANDARD_INPUT: &str = "-";

/// Whether what a thread works on is still wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        Ok(())
    }
}

/// Tells a thread that nobody waits for it any more.
struct GivesUp(Wanted);

impl Drop for GivesUp {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Does what reads or unpacks a whole content on a thread of its own, so that heartbeats, deadlines and stops go on meanwhile.
/// Whoever waits for it no longer, because of one of these, ends it too: the process does not wait for a content that may
/// unpack to gigabytes.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce(&Wanted) -> Result<T, Failure> + Send + 'static,
) -> anyhow::Result<Result<T, Failure>> {
    let wanted = Wanted::default();
    let _gives_up = GivesUp(wanted.clone());
    Ok(tokio::task::spawn_blocking(move || work(&wanted)).await?)
}

/// A content to be imported.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// Where it is.
    path: PathBuf,
    /// What messages call it.
    called: PathBuf,
    /// Where standard input is kept.
    kept: Option<Arc<File>>,
    /// How it is packed.
    packing: Packing,
    /// Whether a symbolic link is followed, as one that somebody typed.
    follows_links: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    /// The member of an archive: its place and its name.
    Member(usize, String),
}

impl Input {
    /// What a file contains: itself, or each member of the archive that it is.
    pub(super) fn of_file(path: PathBuf) -> Result<Vec<Self>, Failure> {
        Self { called: path.clone(), path, kept: None, packing: Packing::None, follows_links: true }
            .unpacked()
    }

    /// The same for a file in a folder to which others write, where a link leads to what they may not read themselves.
    pub(super) fn of_untrusted_file(path: PathBuf, called: PathBuf) -> Result<Vec<Self>, Failure> {
        Self { path, called, kept: None, packing: Packing::None, follows_links: false }.unpacked()
    }

    /// Reads all of standard input, and keeps it.
    pub(super) fn of_standard_input(source: &mut impl Read) -> Result<Vec<Self>, Failure> {
        let path = PathBuf::from("standard input");
        let input =
            Self { called: path.clone(), path, kept: None, packing: Packing::None, follows_links: true };
        let kept = keep(|file| copy(source, u64::MAX, &mut |bytes| file.write_all(bytes)))
            .map_err(|interrupted| input.fault(interrupted))?;
        Self { kept: Some(Arc::new(kept)), ..input }.unpacked()
    }

    fn unpacked(self) -> Result<Vec<Self>, Failure> {
        let mut file = self.open_packed()?;
        match packed(&mut file).map_err(|error| unreadable(&self.called, &error))? {
            None => Ok(vec![self]),
            Some(Packed::Gzip) => Ok(vec![Self { packing: Packing::Gzip, ..self }]),
            Some(Packed::Zip) => {
                let members = members(&self.called, file)?;
                let input = |(place, name)| Self { packing: Packing::Member(place, name), ..self.clone() };
                Ok(members.into_iter().map(input).collect())
            }
        }
    }

    /// What messages call it: the file, and the member of an archive below it.
    pub(super) fn shown(&self) -> PathBuf {
        match &self.packing {
            Packing::Member(_, name) => PathBuf::from(format!("{}/{name}", self.called.display())),
            _ => self.called.clone(),
        }
    }

    /// Its name without its folder, and that of the member of an archive below the archive's.
    pub(super) fn name(&self) -> String {
        let own = self.called.file_name().unwrap_or(self.called.as_os_str()).to_string_lossy();
        match &self.packing {
            Packing::Member(_, member) => format!("{own}/{member}"),
            _ => own.into_owned(),
        }
    }

    /// The name of the member, if it is in an archive.
    pub(super) fn member(&self) -> Option<&str> {
        match &self.packing {
            Packing::Member(_, name) => Some(name),
            _ => None,
        }
    }

    /// Whether it came through standard input, and cannot be read again by another command.
    pub(super) fn is_standard_input(&self) -> bool {
        self.kept.is_some()
    }

    /// When the file was last written; `None` for standard input.
    pub(super) fn modified(&self) -> Option<std::time::SystemTime> {
        if self.is_standard_input() {
            return None;
        }
        std::fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok()
    }

    /// The SHA-256 of the content, in hexadecimal.
    pub(super) fn hash(&self, wanted: &Wanted) -> Result<String, Failure> {
        let mut hash = Sha256::new();
        self.read_through(wanted, &mut |bytes| {
            hash.update(bytes);
            Ok(())
        })
        .map_err(|interrupted| self.fault(interrupted))?;
        Ok(hex::encode(hash.finalize()))
    }

    /// A file with the content, to be read as often as needed.
    pub(super) fn content(&self, wanted: &Wanted) -> Result<Content, Failure> {
        let shown = self.shown();
        let kept = if self.packing == Packing::None {
            self.kept.clone()
        } else {
            let unpacked = keep(|file| self.read_through(wanted, &mut |bytes| file.write_all(bytes)));
            Some(Arc::new(unpacked.map_err(|interrupted| self.fault(interrupted))?))
        };
        Ok(Content { path: self.path.clone(), shown, kept, follows_links: self.follows_links })
    }

    /// Reads the content from its beginning to its end.
    fn read_through(
        &self,
        wanted: &Wanted,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Interrupted> {
        let take = &mut |bytes: &[u8]| wanted.check().and_then(|()| take(bytes));
        let file = self.open_packed()?;
        let packed_bytes = file.length().map_err(Interrupted::Reading)?;
        match &self.packing {
            Packing::None => copy(file, u64::MAX, take),
            Packing::Gzip => copy(MultiGzDecoder::new(io::BufReader::new(file)), allowed(packed_bytes), take),
            Packing::Member(place, name) => {
                let mut archive = ZipArchive::new(io::BufReader::new(file))?;
                let member = archive.by_index(*place)?;
                if member.name()? != *name {
                    return Err(Interrupted::Reading(io::Error::other(
                        "the archive changed while it was read",
                    )));
                }
                let most = allowed(member.compressed_size().min(packed_bytes));
                copy(member, most, take)
            }
        }
    }

    fn open_packed(&self) -> Result<Opened, Failure> {
        open_either(self.kept.as_ref(), &self.path, self.follows_links)
    }

    fn fault(&self, interrupted: Interrupted) -> Failure {
        let shown = self.shown();
        let shown = shown.display();
        match interrupted {
            Interrupted::Failure(failure) => failure,
            Interrupted::TooLarge(most) => Failure::bad_input(format!(
                "failed to unpack `{shown}`: it has more than {} MiB, which is too much for its {}",
                most / (1024 * 1024),
                if most < MAX_UNPACKED_BYTES { "packed size" } else { "kind" }
            ))
            .hint("unpack it, look at it, and import the CSV file that it contains"),
            Interrupted::Reading(error) if self.packing == Packing::None => unreadable(&self.shown(), &error),
            Interrupted::Reading(error) => {
                Failure::bad_input(format!("failed to unpack `{shown}`: it is damaged or cut off: {error}"))
                    .hint(DAMAGED)
            }
            Interrupted::Keeping(error) => not_kept(&shown.to_string(), &error),
        }
    }
}

/// A content that can be read more than once, and what messages call it.
#[derive(Debug, Clone)]
pub(super) struct Content {
    path: PathBuf,
    shown: PathBuf,
    kept: Option<Arc<File>>,
    follows_links: bool,
}

impl Content {
    /// The content of a file as it is.
    #[cfg(test)]
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), shown: path.to_owned(), kept: None, follows_links: true }
    }

    /// A part of it, kept in a file of its own that messages call the same.
    pub(super) fn part(&self, kept: File) -> Self {
        Self { kept: Some(Arc::new(kept)), ..self.clone() }
    }

    /// What messages call it.
    pub(super) fn shown(&self) -> &Path {
        &self.shown
    }

    /// Opens it at its beginning.
    pub(super) fn open(&self) -> Result<Opened, Failure> {
        open_either(self.kept.as_ref(), &self.path, self.follows_links)
    }

    /// The same, to be read as long as that is wanted.
    pub(super) fn open_while(&self, wanted: &Wanted) -> Result<impl Read, Failure> {
        Ok(WhileWanted { file: self.open()?, wanted: wanted.clone() })
    }
}

/// A file that ends with an error once nobody wants it any more.
struct WhileWanted {
    file: Opened,
    wanted: Wanted,
}

impl Read for WhileWanted {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.wanted.check()?;
        self.file.read(target)
    }
}

/// A file that is read from its beginning, whoever else reads it.
#[derive(Debug)]
pub(super) struct Opened {
    file: Arc<File>,
    offset: u64,
}

impl Opened {
    /// How many bytes it has.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl Read for Opened {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(target, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let offset = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length()?.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.offset.checked_add_signed(offset),
        };
        self.offset = offset.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.offset)
    }
}

fn open_either(kept: Option<&Arc<File>>, path: &Path, follows_links: bool) -> Result<Opened, Failure> {
    let file = match kept {
        Some(kept) => Arc::clone(kept),
        None => Arc::new(open(path, follows_links)?),
    };
    Ok(Opened { file, offset: 0 })
}

/// Why a content was not read to its end.
enum Interrupted {
    /// What it is about is said already.
    Failure(Failure),
    /// It unpacks to more than this.
    TooLarge(u64),
    /// It could not be read.
    Reading(io::Error),
    /// What was read could not be kept.
    Keeping(io::Error),
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<ZipError> for Interrupted {
    fn from(error: ZipError) -> Self {
        Self::Reading(match error {
            ZipError::Io(error) => error,
            other => io::Error::other(other),
        })
    }
}

/// What so many packed bytes may unpack to.
fn allowed(packed_bytes: u64) -> u64 {
    packed_bytes.saturating_mul(MAX_RATIO).clamp(HARMLESS_BYTES, MAX_UNPACKED_BYTES)
}

fn copy(
    mut source: impl Read,
    most: u64,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Interrupted> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes: u64 = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                bytes += count as u64;
                if bytes > most {
                    return Err(Interrupted::TooLarge(most));
                }
                take(&buffer[..count]).map_err(Interrupted::Keeping)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Interrupted::Reading(error)),
        }
    }
}

/// Writes a content into a temporary file.
fn keep(write: impl FnOnce(&mut File) -> Result<(), Interrupted>) -> Result<File, Interrupted> {
    let mut file = tempfile::tempfile().map_err(Interrupted::Keeping)?;
    write(&mut file)?;
    Ok(file)
}

fn not_kept(shown: &str, error: &io::Error) -> Failure {
    let folder = std::env::temp_dir();
    Failure::failed(format!(
        "failed to keep `{shown}` in a temporary file in `{}`: {error}",
        folder.display()
    ))
    .hint("make room there, or set TMPDIR to another folder")
    .retry_once("once there is room")
}

/// How many members the end of an archive says that it has; `None` if it has no such end.
fn declared_members(file: &Opened) -> io::Result<Option<u64>> {
    const END: &[u8] = b"PK\x05\x06";
    const END_BYTES: usize = 22;
    const END_64: &[u8] = b"PK\x06\x06";
    const LOCATOR_64: &[u8] = b"PK\x06\x07";
    const LOCATOR_BYTES: usize = 20;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    // A comment of at most 64 KiB may follow it, and the locator of a large archive stands before it.
    let length = file.length()?;
    let start = length.saturating_sub((LOCATOR_BYTES + END_BYTES + usize::from(u16::MAX)) as u64);
    let mut tail = Vec::new();
    Opened { file: Arc::clone(&file.file), offset: start }.read_to_end(&mut tail)?;
    let ends_file = |place: &usize| {
        let end = &tail[*place..];
        end.len() >= END_BYTES
            && end.starts_with(END)
            && number(&end[20..22]) == (end.len() - END_BYTES) as u64
    };
    let Some(place) = (0..tail.len()).rev().find(ends_file) else { return Ok(None) };
    let members = number(&tail[place + 10..place + 12]);
    let locator = place.checked_sub(LOCATOR_BYTES).map(|start| &tail[start..place]);
    let Some(locator) = locator.filter(|locator| locator.starts_with(LOCATOR_64)) else {
        return Ok(Some(members));
    };
    let mut end = [0; 40];
    let at = number(&locator[8..16]);
    Opened { file: Arc::clone(&file.file), offset: at }.read_exact(&mut end)?;
    Ok(if end.starts_with(END_64) { Some(number(&end[32..40])) } else { None })
}

/// The members of an archive that are files, in their order: their places and names.
fn members(path: &Path, file: Opened) -> Result<Vec<(usize, String)>, Failure> {
    let shown = path.display();
    let damaged =
        |error: &ZipError| Failure::bad_input(format!("failed to unpack `{shown}`: {error}")).hint(DAMAGED);
    let refused = |name: &str, why: &str| {
        Failure::bad_input(format!("failed to unpack `{shown}`: its member `{name}` {why}"))
            .hint("unpack it, look at it, and import the CSV files that it contains")
    };
    let unpack = "unpack it, and import the CSV files that it contains";
    // Known before the list of members is read, which takes memory for each.
    let declared = declared_members(&file).map_err(|error| unreadable(path, &error))?;
    if let Some(declared) = declared.filter(|declared| *declared > MAX_MEMBERS as u64) {
        return Err(Failure::bad_input(format!(
            "failed to unpack `{shown}`: it has {declared} members, more than {MAX_MEMBERS}"
        ))
        .hint(unpack));
    }
    let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(|error| damaged(&error))?;
    // Of members of one name, only the last is listed: the others would be lost without a word.
    if declared.is_some_and(|declared| declared != archive.len() as u64) {
        return Err(Failure::bad_input(format!(
            "failed to unpack `{shown}`: several of its members have the same name"
        ))
        .hint(unpack));
    }
    let mut members = Vec::new();
    for place in 0..archive.len() {
        let member = match archive.by_index(place) {
            Ok(member) => member,
            Err(error) => return Err(damaged(&error)),
        };
        let name = member.name().map_err(|error| damaged(&error))?.into_owned();
        let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
        // What the Finder adds to each file, and what no shop exports.
        if member.is_dir() || name.starts_with("__MACOSX/") || last.starts_with('.') {
            continue;
        }
        if member.is_symlink() {
            return Err(refused(&name, "is a symbolic link"));
        }
        members.push((place, name));
    }
    if members.is_empty() {
        return Err(Failure::bad_input(format!("`{shown}` is an archive without a file in it")));
    }
    Ok(members)
}

/// Opens a file that can be read more than once.
pub(super) fn open(path: &Path, follows_links: bool) -> Result<File, Failure> {
    let failed =
        |error: &io::Error| Failure::bad_input(format!("failed to open `{}`: {error}", path.display()));
    // Checked before it is opened: opening a pipe waits for its writer, forever if there is none.
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::bad_input(format!("failed to open `{}`: it does not exist", path.display()))
        }
        _ => failed(&error),
    })?;
    if metadata.is_dir() {
        return Err(Failure::bad_input(format!("failed to open `{}`: it is a directory", path.display())));
    }
    let not_a_file = || {
        Failure::bad_input(format!("failed to open `{}`: it is not a regular file", path.display())).hint(
            "an import reads its file more than once: pipe a stream into `-`, or save it to a file first",
        )
    };
    if !metadata.is_file() {
        return Err(not_a_file());
    }
    // Others may write to the folder, and exchange the file for a link or a pipe at any moment.
    let flags = if follows_links { OFlags::empty() } else { OFlags::NOFOLLOW | OFlags::NONBLOCK };
    let flags = flags.bits().cast_signed();
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| failed(&error))?;
    if !follows_links && !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(not_a_file());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const CSV: &[u8] = b"a,b\n1,2\n";

    fn gzipped(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in members {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    /// The names and contents of what a file contains, or why it is refused.
    fn contents(file: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders");
        std::fs::write(&path, file).unwrap();
        let prefix = format!("{}/", folder.path().display());
        let read = || -> Result<Vec<(String, Vec<u8>)>, Failure> {
            let mut contents = Vec::new();
            for input in Input::of_untrusted_file(path.clone(), path.clone())? {
                let content = input.content(&Wanted::default())?;
                let mut bytes = Vec::new();
                content.open()?.read_to_end(&mut bytes).unwrap();
                assert_eq!(input.hash(&Wanted::default())?, hex::encode(Sha256::digest(&bytes)));
                contents.push((content.shown().display().to_string().replace(&prefix, ""), bytes));
            }
            Ok(contents)
        };
        read().map_err(|failure| failure.message.replace(&prefix, ""))
    }

    fn found(contents: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
        contents.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect()
    }

    #[test]
    fn a_content_is_the_same_however_it_is_packed() {
        assert_eq!(contents(CSV), Ok(found(&[("orders", CSV)])));
        assert_eq!(contents(&gzipped(CSV)), Ok(found(&[("orders", CSV)])));
        // As `cat a.gz b.gz` makes it.
        let two = [gzipped(CSV), gzipped(b"3,4\n")].concat();
        assert_eq!(contents(&two), Ok(found(&[("orders", b"a,b\n1,2\n3,4\n")])));
        let archive =
            zipped(&[("b/2.csv", CSV), ("__MACOSX/._2.csv", b"x"), ("1.csv", b"c\n"), (".DS_Store", b"x")]);
        assert_eq!(contents(&archive), Ok(found(&[("orders/b/2.csv", CSV), ("orders/1.csv", b"c\n")])));
    }

    #[test]
    fn standard_input_is_kept_and_unpacked() {
        for piped in [CSV.to_vec(), gzipped(CSV), zipped(&[("1.csv", CSV)])] {
            let inputs = Input::of_standard_input(&mut piped.as_slice()).unwrap();
            let [input] = inputs.as_slice() else { panic!("{inputs:?}") };
            let mut bytes = Vec::new();
            let content = input.content(&Wanted::default()).unwrap();
            content.open().unwrap().read_to_end(&mut bytes).unwrap();
            content.open().unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, [CSV, CSV].concat());
        }
    }

    #[test]
    fn what_is_packed_to_do_harm_is_refused() {
        let zeros = vec![0; usize::try_from(HARMLESS_BYTES).unwrap() + 1];
        let refused = contents(&gzipped(&zeros)).unwrap_err();
        assert_eq!(
            refused,
            "failed to unpack `orders`: it has more than 64 MiB, which is too much for its packed size"
        );
        let refused = contents(&zipped(&[("1.csv", &zeros)])).unwrap_err();
        assert_eq!(
            refused,
            "failed to unpack `orders/1.csv`: it has more than 64 MiB, which is too much for its packed size"
        );
        let names: Vec<String> = (0..=MAX_MEMBERS).map(|number| format!("{number}.csv")).collect();
        let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), CSV)).collect();
        assert_eq!(
            contents(&zipped(&members)).unwrap_err(),
            "failed to unpack `orders`: it has 201 members, more than 200"
        );
    }

    /// A list by name has only the last of them.
    #[test]
    fn members_of_one_name_are_refused() {
        let mut archive = zipped(&[("1.csv", CSV), ("2.csv", b"c\n")]);
        while let Some(place) = archive.windows(5).position(|bytes| bytes == b"2.csv") {
            archive[place] = b'1';
        }
        assert_eq!(
            contents(&archive).unwrap_err(),
            "failed to unpack `orders`: several of its members have the same name"
        );
    }

    #[test]
    fn what_is_cut_off_or_holds_nothing_is_refused() {
        let half = |packed: Vec<u8>| packed[..packed.len() - 6].to_vec();
        assert!(contents(&half(gzipped(CSV))).unwrap_err().contains("it is damaged or cut off"));
        assert!(
            contents(&half(zipped(&[("1.csv", CSV)])))
                .unwrap_err()
                .starts_with("failed to unpack `orders`: ")
        );
        assert_eq!(contents(&zipped(&[])).unwrap_err(), "`orders` is an archive without a file in it");
    }

    #[test]
    fn a_member_with_a_hostile_name_goes_nowhere() {
        // Where both could be written, if the names were paths.
        let folder = tempfile::tempdir().unwrap();
        let absolute = folder.path().join("absolute.csv").display().to_string();
        let relative =
            format!("{}{}", "../".repeat(30), &folder.path().join("relative.csv").display().to_string()[1..]);
        let archive = zipped(&[(absolute.as_str(), CSV), (relative.as_str(), CSV)]);
        let names: Vec<String> = contents(&archive).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [format!("orders/{absolute}"), format!("orders/{relative}")]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_unpacked_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.csv.gz");
        std::fs::write(&path, gzipped(&vec![b'x'; 3 * BUFFER_BYTES])).unwrap();
        let input = Input::of_file(path).unwrap().remove(0);
        let wanted = Wanted::default();
        let (mut pieces, gives_up) = (0, GivesUp(wanted.clone()));
        let mut gives_up = Some(gives_up);
        let read = input.read_through(&wanted, &mut |_| {
            pieces += 1;
            drop(gives_up.take());
            Ok(())
        });
        assert!(read.is_err());
        assert_eq!(pieces, 1);
    }

    #[test]
    fn a_link_is_followed_only_for_somebody_who_typed_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, CSV).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(open(&link, true).is_ok() && open(&file, false).is_ok());
        assert!(open(&link, false).is_err());
    }
}
