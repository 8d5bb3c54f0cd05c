//! Which contents a command imports: those of the files that it names, of standard input, or of what waits in an inbox.

use std::io::IsTerminal;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use chrono::{DateTime, SubsecRound, Utc};

use crate::clock::SUBSECOND_DIGITS;
use crate::context::Context;
use crate::db::Db;
use crate::digest::{FINGERPRINT_DIGITS, fingerprint};
use crate::failure::{Failure, FailureKind};
use crate::runner::{Job as _, history};
use crate::wording::counted;

use super::Args;
use super::container::{Input, STANDARD_INPUT, on_a_thread};
use super::inbox::{Contents, Found, Inbox, Seen, Waiting, matches};
use super::kinds::Kind;

/// The names of an inbox's files, if `--kind` says what they are and the configuration does not name them.
const USUAL_NAMES: [&str; 4] = ["*.csv", "*.tsv", "*.txt", "*.zip"];
/// Files that are left alone and named one by one.
const NAMED_FILES: usize = 20;

/// One content to be imported, and how.
pub(super) struct Selected {
    /// The command for it alone.
    pub(super) args: Args,
    /// The file of the inbox that it is, or is in.
    pub(super) waiting: Option<Rc<Waiting>>,
    /// Why it cannot be read.
    pub(super) refused: Option<Failure>,
    /// When it was exported.
    pub(super) exported: DateTime<Utc>,
}

/// Files with these names are of this kind.
struct Wanted {
    kind: Kind,
    section: Option<String>,
    patterns: Vec<String>,
}

impl Wanted {
    fn has(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern, name))
    }

    fn section(&self) -> String {
        let name = self.section.as_ref().map(|name| format!(".{name}")).unwrap_or_default();
        format!("[import.{}{name}]", self.kind.name())
    }
}

impl Args {
    /// What the command imports, in the order in which it does.
    pub(super) async fn select(&self, cx: &Context, db: &mut Db) -> anyhow::Result<Vec<Selected>> {
        match &self.inbox {
            Some(folder) => self.select_waiting(cx, db, &cx.working_dir().join(folder)).await,
            None => self.select_named(cx).await,
        }
    }

    /// The only content that the command names: two mappings do not fit into one configuration.
    pub(super) async fn selected_alone(&self, cx: &Context) -> anyhow::Result<Input> {
        let mut inputs: Vec<Input> =
            self.select_named(cx).await?.into_iter().filter_map(|one| one.args.input).collect();
        match (inputs.pop(), inputs.first()) {
            (Some(only), None) => Ok(only),
            (last, first) => {
                let count = inputs.len() + usize::from(last.is_some());
                let failure = Failure::usage(format!("--guess looks at one file, and {count} were named"));
                Err(match first.and_then(Input::member) {
                    Some(member) => failure.hint(format!("add --member NAME, such as `{member}`")),
                    None => failure.hint("name one of them"),
                }
                .into())
            }
        }
    }

    async fn select_named(&self, cx: &Context) -> anyhow::Result<Vec<Selected>> {
        let mut selected = Vec::new();
        let mut has_read = false;
        for file in &self.file {
            let read = if file.as_os_str() == STANDARD_INPUT {
                if std::mem::replace(&mut has_read, true) {
                    return Err(Failure::usage("standard input (`-`) can be read only once").into());
                }
                Ok(self.piped.read().await?)
            } else {
                Input::of_file(cx.working_dir().join(file))
            };
            let inputs = match read.and_then(|inputs| self.of_member(inputs)) {
                Ok(inputs) => inputs,
                // Of several files, each fails alone.
                Err(failure) if self.file.len() > 1 && failure.kind == FailureKind::BadInput => {
                    let called = Some(cx.working_dir().join(file));
                    let args = Self { file: vec![file.clone()], called, ..self.clone() };
                    let exported = cx.now();
                    selected.push(Selected { args, waiting: None, refused: Some(failure), exported });
                    continue;
                }
                Err(failure) => return Err(failure.into()),
            };
            for input in inputs {
                let args = Self { file: vec![file.clone()], input: Some(input), ..self.clone() };
                let exported = args.exported(cx)?;
                selected.push(Selected { args, waiting: None, refused: None, exported });
            }
        }
        Ok(selected)
    }

    /// Limits the contents of a file to the member of an archive that is asked for.
    fn of_member(&self, inputs: Vec<Input>) -> Result<Vec<Input>, Failure> {
        let Some(member) = &self.member else { return Ok(inputs) };
        let shown = inputs.first().map(Input::shown).unwrap_or_default();
        let found: Vec<Input> =
            inputs.into_iter().filter(|input| input.member() == Some(member.as_str())).collect();
        if found.is_empty() {
            let archive = shown.parent().unwrap_or(&shown).display().to_string();
            return Err(Failure::bad_input(format!("`{archive}` has no member `{member}`")));
        }
        Ok(found)
    }

    async fn select_waiting(
        &self,
        cx: &Context,
        db: &mut Db,
        folder: &Path,
    ) -> anyhow::Result<Vec<Selected>> {
        let inbox = Rc::new(Inbox::new(folder.to_owned()));
        let wanted = self.wanted(cx)?;
        let found = if let Some(name) = &self.inbox_file {
            vec![self.found_again(db, &inbox, name).await?]
        } else {
            let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted.has(name));
            let contents = inbox.look(is_wanted, self.min_age, cx.machine_time())?;
            tell_of_rest(cx, &inbox, &contents);
            contents.files
        };
        let mut selected = Vec::new();
        for found in found {
            selected.extend(self.select_contents(cx, &inbox, &found, &wanted)?);
        }
        // What refunds are about has to be there; otherwise the oldest first.
        selected.sort_by_cached_key(|one: &Selected| {
            (one.args.kind == Some(Kind::Refunds), one.exported, one.args.shown())
        });
        Ok(selected)
    }

    /// The contents of a file, each with how it is written.
    fn select_contents(
        &self,
        cx: &Context,
        inbox: &Rc<Inbox>,
        found: &Found,
        wanted: &[Wanted],
    ) -> anyhow::Result<Vec<Selected>> {
        let name = found.name.to_string_lossy();
        let of_name: Vec<&Wanted> = wanted.iter().filter(|wanted| wanted.has(&name)).collect();
        // A stored line says what its file is, whatever the patterns are by now.
        let first = of_name.first().or(wanted.first().as_ref()).copied();
        let Some(first) = first else { return Ok(Vec::new()) };
        let waiting = |contents| Waiting::new(inbox, found, contents);
        let called = waiting(1).shown();
        let read = match (found.refused, of_name.as_slice()) {
            (Some(reason), _) => {
                Err(Failure::bad_input(format!("failed to read `{}`: {reason}", called.display())))
            }
            (None, [one, other, ..]) if self.inbox_file.is_none() => {
                let (one, other) = (one.section(), other.section());
                Err(Failure::configuration(format!(
                    "`{}` matches the inbox_pattern of both {one} and {other}",
                    called.display()
                ))
                .hint("narrow one of the two patterns, so that each name matches only one"))
            }
            _ => Input::of_untrusted_file(found.path.clone(), called.clone())
                .and_then(|inputs| self.of_member(inputs)),
        };
        let args = Self {
            kind: Some(first.kind),
            section: first.section.clone(),
            inbox_file: Some(waiting(1).name().to_string_lossy().into_owned()),
            called: Some(called),
            ..self.clone()
        };
        let inputs = match read {
            Ok(inputs) => inputs,
            // Another command has taken it since.
            Err(_) if Seen::at(&found.path).is_none() => return Ok(Vec::new()),
            Err(failure) => {
                let waiting = Some(Rc::new(waiting(1)));
                return Ok(vec![Selected { exported: cx.now(), args, waiting, refused: Some(failure) }]);
            }
        };
        let waiting = Rc::new(waiting(inputs.len()));
        let one = |input| {
            let args = Self { input: Some(input), ..args.clone() };
            let exported = args.exported(cx)?;
            Ok(Selected { args, waiting: Some(Rc::clone(&waiting)), refused: None, exported })
        };
        inputs.into_iter().map(one).collect()
    }

    /// The file of that name: if its content is known, the one that has it, wherever it was moved; else the one that was moved
    /// after a run of that content, because somebody has corrected it since; else the newest one that still has to be
    /// imported.
    async fn found_again(&self, db: &mut Db, inbox: &Inbox, name: &str) -> anyhow::Result<Found> {
        let mut places = inbox.places_of(name);
        let place = match &self.content {
            None => None,
            Some(content) => {
                let unread = |found: &Found| unread(&inbox.folder().join(name), Some(found.seen));
                let same = match places.iter().position(|found| unread(found) == *content) {
                    Some(place) => Some(place),
                    None => self.place_of_content(&places, content).await?,
                };
                let runs = self.runs_of_content(db, content).await?;
                same.or_else(|| {
                    places.iter().position(|found| found.run.is_some_and(|run| runs.contains(&run)))
                })
                .or_else(|| places.iter().position(Found::has_failed))
            }
        };
        if places.is_empty() {
            return Err(Failure::bad_input(format!(
                "`{name}` is neither in the inbox `{}` nor where files are moved from there",
                inbox.folder().display()
            ))
            .into());
        }
        Ok(places.swap_remove(place.unwrap_or(0)))
    }

    /// The runs of the content with this hash.
    async fn runs_of_content(&self, db: &mut Db, content: &str) -> anyhow::Result<Vec<i64>> {
        let Some(kind) = self.kind else { return Ok(Vec::new()) };
        let key = instance_key(kind, self.mall_code(db).await?.as_deref(), content);
        Ok(history::runs_of(db, Self::SPEC.name, &key).await?)
    }

    /// The first place at which the content with this hash is.
    async fn place_of_content(&self, places: &[Found], hash: &str) -> anyhow::Result<Option<usize>> {
        for (place, found) in places.iter().enumerate() {
            let inputs = Input::of_untrusted_file(found.path.clone(), found.path.clone());
            for input in inputs.and_then(|inputs| self.of_member(inputs)).unwrap_or_default() {
                if short_hash(&input).await?.is_ok_and(|own| own == hash) {
                    return Ok(Some(place));
                }
            }
        }
        Ok(None)
    }

    /// Which names are wanted in an inbox, and what they mean.
    fn wanted(&self, cx: &Context) -> Result<Vec<Wanted>, Failure> {
        let kinds = Kind::ALL.iter().filter(|kind| self.kind.is_none_or(|only| only == **kind));
        let mut wanted = Vec::new();
        for &kind in kinds {
            let Some(sections) = cx.config.import_sections(kind.name()) else { continue };
            let named = sections.named.iter().map(|(name, section)| (Some(name), section));
            for (name, section) in std::iter::once((None, &sections.own)).chain(named) {
                let is_asked_for = self.section.is_none() || self.section.as_ref() == name;
                if is_asked_for && !section.inbox_pattern.is_empty() {
                    let patterns = section.inbox_pattern.to_vec();
                    wanted.push(Wanted { kind, section: name.cloned(), patterns });
                }
            }
        }
        match self.kind {
            Some(kind) if wanted.is_empty() => {
                let patterns = USUAL_NAMES.map(str::to_owned).to_vec();
                Ok(vec![Wanted { kind, section: self.section.clone(), patterns }])
            }
            None if wanted.is_empty() => Err(Failure::configuration(
                "no section of [import] in batchctl.toml has an inbox_pattern: it is not known what the files are",
            )
            .hint("set inbox_pattern = \"orders*.csv\" in [import.orders], or add --kind if all files are of one kind")),
            _ => Ok(wanted),
        }
    }

    /// When a content was exported: as was said, or when its file was last written, and never later than now.
    fn exported(&self, cx: &Context) -> anyhow::Result<DateTime<Utc>> {
        let now = cx.now();
        if let Some(text) = &self.as_of {
            return Ok(cx.moment("--as-of", text)?.min(now));
        }
        let written = self.input.as_ref().and_then(Input::modified).map(instant);
        Ok(written.map_or(now, |written| now.min(written)).trunc_subsecs(SUBSECOND_DIGITS))
    }
}

/// When a file was written. Its time may be anything: neither databases nor calendars reach as far as file systems.
fn instant(written: SystemTime) -> DateTime<Utc> {
    let seconds = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let instant = i64::try_from(seconds.as_secs())
        .ok()
        .and_then(|whole| DateTime::from_timestamp(whole, seconds.subsec_nanos()));
    instant.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The key of the instance that imports a content.
pub(super) fn instance_key(kind: Kind, mall: Option<&str>, content: &str) -> String {
    format!("{} {} {content}", kind.name(), mall.unwrap_or("*"))
}

/// What stands for the content of a file that cannot be read: the same file again is the same instance, wherever it was
/// moved, as long as nobody writes to it.
pub(super) fn unread(shown: &Path, seen: Option<Seen>) -> String {
    let seen = seen.map(|seen| seen.as_text());
    format!("unread-{}", fingerprint(format!("{} {seen:?}", shown.display())))
}

/// Standard input, once it was read: a dry run looks at it twice.
#[derive(Debug, Clone, Default)]
pub(super) struct Piped(Arc<OnceLock<Vec<Input>>>);

impl Piped {
    async fn read(&self) -> anyhow::Result<Vec<Input>> {
        if let Some(read) = self.0.get() {
            return Ok(read.clone());
        }
        let read = read_standard_input().await?;
        Ok(self.0.get_or_init(|| read).clone())
    }
}

/// The beginning of the hash of a content, or why it cannot be read.
pub(super) async fn short_hash(input: &Input) -> anyhow::Result<Result<String, Failure>> {
    let input = input.clone();
    let hash = on_a_thread(move |wanted| input.hash(wanted)).await?;
    Ok(hash.map(|mut hash| {
        hash.truncate(FINGERPRINT_DIGITS);
        hash
    }))
}

/// Reads standard input on a thread of its own, so that a stop need not wait for whoever writes it.
async fn read_standard_input() -> anyhow::Result<Vec<Input>> {
    let mut input = std::io::stdin();
    if input.is_terminal() {
        return Err(
            Failure::usage("standard input (`-`) is a terminal: pipe the file into the command").into()
        );
    }
    Ok(tokio::task::spawn_blocking(move || Input::of_standard_input(&mut input)).await??)
}

/// Says what is left in an inbox, and that nothing waits there.
fn tell_of_rest(cx: &Context, inbox: &Inbox, contents: &Contents) {
    for (name, reason) in contents.left.iter().take(NAMED_FILES) {
        cx.output.warn(&format!("left `{name}` in the inbox: {reason}"));
    }
    if let Some(more @ 1..) = contents.left.len().checked_sub(NAMED_FILES) {
        cx.output.warn(&format!("left {} more in the inbox", counted(more, "file", "files")));
    }
    if contents.files.is_empty() {
        cx.output.status(&format!("Nothing to import in `{}`", inbox.folder().display()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_time_of_a_file_may_be_anything() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(instant(epoch + Duration::from_millis(1_500)).timestamp_millis(), 1_500);
        assert_eq!(instant(epoch + Duration::from_hours(2_500_000_000)), DateTime::<Utc>::MAX_UTC);
        assert_eq!(instant(epoch - Duration::from_hours(2_500_000_000_000)), DateTime::UNIX_EPOCH);
    }
}
