//! Proves that a stored command line is one that this program stored.
//!
//! A retry runs a text from a table. It starts only the job that its row names, but what that job reads or writes is in
//! the text too: whoever can write the table, and nothing else, could have any file of this machine read or replaced by
//! the operator who retries a run. So a line is stored with a seal under a key derived from `BATCHCTL_SECRET_KEY`, or from
//! a key of this user's on this machine, and files of a line without one are used only in the folder where batchctl works, and
//! nothing is mailed to an address that it names.

use std::path::{Component, Path, PathBuf};

use crate::config::Config;
use crate::context::Context;
use crate::db::{Db, Kind};
use crate::digest::hmac_sha256;
use crate::failure::Failure;
use crate::files::{read_regular, write_privately};
use crate::mask::Secret;
use crate::sealed::random_word;
use crate::values;

use super::own_folder;

/// Separates this key from others that are derived from the same secret.
const PURPOSE: &[u8] = b"batchctl stored command lines v1";

/// The key of this user's on this machine, in our own folder: for lines that are stored without a secret key.
const KEY_FILE: &str = "stored-lines.key";
const MAX_KEY: u64 = 1_024;

/// The seal of a job's line; `None` without any key.
pub(super) fn seal(config: &Config, job: &str, line: &str) -> Option<String> {
    // A line in SQLite needs no proof without a secret key: see `origin`.
    let local = || match Kind::of(config.database_url()) {
        Kind::Sqlite => None,
        Kind::Postgres => local_key(Path::new(own_folder::ROOT)),
    };
    let key = config.secret_key().ok().cloned().or_else(local)?;
    Some(seal_with(key.expose(), config.environment(), job, line))
}

/// The key of this user's on this machine, which is made when it is needed first; `None` if it cannot be kept.
fn local_key(root: &Path) -> Option<Secret> {
    let folder = own_folder::base(root);
    own_folder::make(&folder).ok()?;
    let file = folder.join(KEY_FILE);
    if !file.exists() {
        let word = random_word().ok()?;
        let made = folder.join(format!("{KEY_FILE}.{}", std::process::id()));
        write_privately(&made, |out| Ok(out.write_all(word.as_bytes())?)).ok()?;
        // Of two processes one links its key, and both read that one.
        let linked = std::fs::hard_link(&made, &file);
        std::fs::remove_file(&made).ok()?;
        linked.ok().or_else(|| file.exists().then_some(()))?;
    }
    own_folder::refuse_foreign(&file).ok()?;
    let word = String::from_utf8(read_regular(&file, MAX_KEY).ok()?).ok()?;
    (word.len() >= MIN_KEY).then(|| Secret::new(&word))
}

/// Fewer characters are not what [`random_word`] makes.
const MIN_KEY: usize = 16;

fn seal_with(secret_key: &str, environment: &str, job: &str, line: &str) -> String {
    let key = hmac_sha256(secret_key.as_bytes(), PURPOSE);
    // Neither an environment nor a job has a line break in its name.
    hex::encode(hmac_sha256(&key, format!("{environment}\n{job}\n{line}").as_bytes()))
}

/// How far a stored line is to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This program stored it, or nobody else can write the table.
    Own,
    /// Anybody who can write the table may have.
    Unproven,
}

/// Where the line of a run comes from.
pub async fn origin(cx: &Context, db: &mut Db, run: i64, job: &str, line: &str) -> anyhow::Result<Origin> {
    let sql = "SELECT command_seal FROM batch_execution WHERE id = $1";
    let (stored,): (Option<String>,) = db.fetch_one(sql, values![run]).await?;
    let keys = [cx.config.secret_key().ok(), cx.config.previous_secret_key()];
    let keys: Vec<Secret> = keys.into_iter().flatten().cloned().collect();
    // A file of SQLite is written by programs of its owner, who may as well start commands. With a key, it must fit.
    if keys.is_empty() && db.kind() == Kind::Sqlite {
        return Ok(Origin::Own);
    }
    let environment = cx.config.environment();
    let local = local_key(Path::new(own_folder::ROOT));
    let is_own = keys
        .into_iter()
        .chain(local)
        .any(|key| stored.as_deref() == Some(&seal_with(key.expose(), environment, job, line)));
    Ok(if is_own { Origin::Own } else { Origin::Unproven })
}

/// The files that jobs read and write, by their extensions: what else lies beside the configuration is not for them.
const DATA_FILES: [&str; 8] = ["csv", "html", "json", "pdf", "png", "tsv", "txt", "xlsx"];

/// Refuses files of a line that nobody vouches for, unless they are data in the folder where batchctl works.
pub fn refuse_foreign_files(cx: &Context, run: i64, paths: &[String]) -> Result<(), Failure> {
    let folders = [cx.working_dir().to_owned(), cx.config.folder()];
    let is_ours = |path: &&String| {
        folders.iter().any(|folder| {
            let file = folder.join(path);
            // A link is what it leads to.
            let (real, root) = (real(&file), real(folder));
            let names = [(&file, folder), (&real, &root)];
            is_inside(folder, &file)
                && names
                    .iter()
                    .all(|(file, root)| is_data(file.strip_prefix(root).unwrap_or(file), file.is_file()))
        })
    };
    let Some(foreign) = paths.iter().find(|path| !is_ours(path)) else { return Ok(()) };
    Err(unproven(run, &format!("names the file `{foreign}`")))
}

/// The refusal of what an unproven line asks for.
pub fn unproven(run: i64, what: &str) -> Failure {
    Failure::refused(format!(
        "the stored command line of run {run} {what}, and nothing proves that batchctl stored it"
    ))
    .hint(format!(
        "if that is what was meant, type the command that `batchctl runs show {run}` prints; lines are stored with a proof \
         that holds for all users and machines where BATCHCTL_SECRET_KEY is set, and for as long as it or \
         BATCHCTL_SECRET_KEY_PREVIOUS has the key they were stored under"
    ))
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Whether a path below the folder is a folder or may be a file of data. Settings and keys are kept in the folder too (`.env.prod`,
/// `dkim.pem`), and an error quotes what it does not understand.
fn is_data(path: &Path, is_file: bool) -> bool {
    let is_hidden = path.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'));
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    !is_hidden && extension.map_or(!is_file, |extension| DATA_FILES.contains(&extension.as_str()))
}

/// Whether a path is in a folder, whatever links are on the way.
fn is_inside(folder: &Path, path: &Path) -> bool {
    if path.components().any(|part| part == Component::ParentDir) {
        return false;
    }
    let Ok(folder) = folder.canonicalize() else { return false };
    // What does not exist yet is where its folder is; a link that leads nowhere may lead somewhere tomorrow.
    let mut existing: PathBuf = path.to_owned();
    loop {
        match existing.canonicalize() {
            Ok(real) => return real.starts_with(&folder),
            Err(_) if existing.is_symlink() || !existing.pop() => return false,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_of_one_job_one_line_one_environment_and_one_key() {
        let seal = seal_with("key", "prod", "report x", "report x --out a");
        assert_eq!(seal, seal_with("key", "prod", "report x", "report x --out a"));
        for other in [
            seal_with("kex", "prod", "report x", "report x --out a"),
            seal_with("key", "dev", "report x", "report x --out a"),
            seal_with("key", "prod", "report y", "report x --out a"),
            seal_with("key", "prod", "report x", "report x --out b"),
        ] {
            assert_ne!(seal, other);
        }
    }

    #[test]
    fn the_key_of_a_user_is_made_once_and_only_theirs() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let first = local_key(root.path()).unwrap();
        assert_eq!(local_key(root.path()).unwrap().expose(), first.expose());
        let file = own_folder::base(root.path()).join(KEY_FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // One that others could have written proves nothing.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(local_key(root.path()).is_none());
    }

    #[test]
    fn settings_and_keys_are_not_data() {
        for data in ["orders.csv", "in/orders.TSV", "reports/sales.xlsx"] {
            assert!(is_data(Path::new(data), true), "{data}");
        }
        for secret in
            [".env", ".env.prod", "batchctl.toml", "dkim.pem", "shop.key", ".kept/orders.csv", "id_rsa"]
        {
            assert!(!is_data(Path::new(secret), true), "{secret}");
        }
        assert!(is_data(Path::new("reports"), false) && is_data(Path::new("2026.11/reports"), false));
    }

    #[test]
    fn a_path_is_inside_whatever_it_looks_like() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", folder.path().join("dangling")).unwrap();
        let inside = |path: &str| is_inside(folder.path(), &folder.path().join(path));
        assert!(inside("") && inside("reports") && inside("a/b/c.csv"));
        for outside in ["../x", "reports/../../x", "link/x", "link", "dangling", "/etc/passwd", "/"] {
            assert!(!inside(outside), "{outside}");
        }
    }
}
