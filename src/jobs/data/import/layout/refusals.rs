//! Why a file is refused by its header, and what to do about it.

use crate::failure::Failure;
use crate::shop::malls::{APP, Mall};
use crate::wording::{command, counted};

use super::super::bad_lines::masked;
use super::super::field::Column;
use super::super::kinds::Kind;
use super::super::mapping::{Mapping, ROLE_COLUMNS};
use super::super::words::Words;
use super::columns::Found;
use super::header::{is_data, is_value};
use super::roles::Role;

/// Refuses orders for a mall whose application keeps them in this database. Those of a file are copies of another system's:
/// they would take the place of the application's own, and `order expire` could cancel what only that system may cancel.
pub(in crate::jobs::data::import) fn refuse_copies_of_orders(kind: Kind, mall: &Mall) -> Result<(), Failure> {
    if kind != Kind::Orders || mall.platform != APP {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the orders of mall `{}` are its application's own (platform `{APP}`), which no file may replace",
        mall.code
    ))
    .hint(format!(
        "import them into a mall of their own; or, if no application keeps this one's: {}",
        command(&["mall", "add", &mall.code, "--platform", "csv"])
    )))
}

pub(super) fn refuse_duplicate_names(
    file_name: &str,
    header: &[String],
    mapping: &Mapping,
) -> Result<(), Failure> {
    for (place, name) in header.iter().enumerate() {
        if !name.is_empty() && header[..place].contains(name) {
            if is_data(header) {
                return Err(no_header(file_name, header, "two columns have the same name"));
            }
            return Err(Failure::bad_input(format!(
                "failed to read `{file_name}`: line 1: two columns are named `{name}`"
            ))
            .hint(format!(
                "if the first one counts, set duplicate_headers = \"first\" in [{}] of batchctl.toml",
                mapping.section
            )));
        }
    }
    Ok(())
}

pub(super) fn no_header(file_name: &str, header: &[String], problem: &str) -> Failure {
    Failure::bad_input(format!(
        "failed to read `{file_name}`: line 1: {problem}; the line has {} and looks like data: the header seems to be missing",
        counted(header.len() as u64, "field", "fields")
    ))
    .hint("export the file with its header line, which the platform may offer as an option; it names the columns")
}

/// A file may have our own name for an amount that some of its lines are added to.
pub(super) fn refuse_counting_twice(
    mapping: &Mapping,
    file_name: &str,
    columns: &[Column],
    roles: Option<&Words<Role>>,
    found: &Found,
) -> Result<(), Failure> {
    let section = &mapping.section;
    for (role, own) in ROLE_COLUMNS {
        let place = columns.iter().position(|column| column.name == own);
        let has_column = place.is_some_and(|place| found.written[place].is_some());
        if has_column && roles.is_some_and(|words| words.has(&Role::of(role))) {
            return Err(Failure::bad_input(format!(
                "failed to read `{file_name}`: line 1: {role} would count twice, as the column `{own}` and as \
                 `lines.{role}` of [{section}]"
            ))
            .hint("move the words to `lines.skip` if the column is the order's, or rename the column in the file"));
        }
    }
    Ok(())
}

/// `` missing column `status` (looked for as `a` or `b`) ``.
pub(super) fn missing_in_words(missing: &[(String, String)]) -> String {
    let names: Vec<String> = missing
        .iter()
        .map(|(ours, wanted)| {
            if let Some((header, reader)) = ours.rsplit_once(" (") {
                format!("`{header}` ({reader}")
            } else if ours == wanted {
                format!("`{ours}`")
            } else {
                format!("`{ours}` (looked for as {wanted})")
            }
        })
        .collect();
    format!("missing column {}", names.join(", "))
}

/// `malls` are the codes of the malls that the file could belong to, if it has to say so itself.
pub(super) fn missing_columns(
    mapping: &Mapping,
    file_name: &str,
    header: &[String],
    missing: &[(String, String)],
    malls: Option<&Vec<&str>>,
) -> Failure {
    let section = &mapping.section;
    // A name that is a value may be somebody's: errors are mailed and kept.
    let shown = |name: &String| if is_value(name) { masked(name) } else { name.clone() };
    let found: Vec<String> = header.iter().map(|name| format!("`{}`", shown(name))).collect();
    let failure = Failure::bad_input(format!(
        "failed to read `{file_name}`: line 1: {}; the header has {}",
        missing_in_words(missing),
        found.join(", ")
    ));
    if let [only] = header
        && let Some(delimiter) = ['\t', ';', ',', '|'].into_iter().find(|delimiter| only.contains(*delimiter))
    {
        let flag = match delimiter {
            '\t' => "--delimiter tab".to_owned(),
            delimiter => format!("--delimiter '{delimiter}'"),
        };
        let always = format!("`delimiter = \"{}\"`", delimiter.escape_default());
        return failure
            .hint(format!(
                "the fields seem to be separated by {delimiter:?}: add {flag}; if such files always are, set {always} in \
                 [{section}] of batchctl.toml"
            ))
            .retry_with(flag);
    }
    match (missing, malls.map(Vec::as_slice)) {
        ([(mall, _)], Some([only])) if mall == "mall" => {
            let flag = format!("--mall {only}");
            failure.hint(format!("name the mall of the whole file: add {flag}")).retry_with(flag)
        }
        ([(mall, _)], Some(malls)) if mall == "mall" => failure
            .hint(format!("name the mall of the whole file with --mall CODE{}", known_malls(malls)))
            .retry_with("--mall CODE"),
        _ if !mapping.others.is_empty() => failure.hint(format!(
            "[{section}] does not fit: choose another section with --section NAME ({})",
            mapping.others.join(", ")
        )),
        _ if mapping.preset.is_some() => {
            let preset = mapping.preset.as_deref().unwrap_or_default();
            // `columns` renames what columns read, and nothing what rules and kinds of lines do.
            if missing.iter().any(|(_, wanted)| wanted.is_empty()) {
                return failure.hint(format!(
                    "is it the export that the preset is for? if the shop calls the header otherwise, copy what `batchctl \
                     data presets show {preset}` prints into [{section}] of batchctl.toml, without `preset`, and rename the \
                     header there"
                ));
            }
            failure.hint(format!(
                "is it the export that the preset is for? `batchctl data presets show {preset}` says which; name columns \
                 that the shop calls otherwise in batchctl.toml: [{section}] preset = \"{preset}\", [{section}.columns] \
                 ours = \"theirs\""
            ))
        }
        _ if missing.iter().any(|(ours, wanted)| ours != wanted) => failure.hint(format!(
            "correct the names in batchctl.toml, [{section}.columns], or remove the columns that the file does not have"
        )),
        _ => failure.hint(format!(
            "map the file's column names in batchctl.toml: [{section}.columns] ours = \"theirs\"; for the export of a \
             well-known platform there may be a preset (`batchctl data presets list`)"
        )),
    }
}

/// The most malls that a message lists.
const MAX_LISTED_MALLS: usize = 5;

/// `; the malls are osaka, tokyo`, as long as that is a short list.
pub(in crate::jobs::data::import) fn known_malls(codes: &[&str]) -> String {
    match codes.len() {
        0 => String::new(),
        1..=MAX_LISTED_MALLS => format!("; the malls are {}", codes.join(", ")),
        _ => "; `batchctl mall list` shows the malls".to_owned(),
    }
}
