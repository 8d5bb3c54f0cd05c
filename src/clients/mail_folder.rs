//! A folder of `.eml` files instead of a server: for development, for rehearsals, and for passing mails on by hand.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::folders;
use crate::config::Config;
use crate::failure::{Failure, one_line};
use crate::files::write_privately;
use crate::mail::delivery::{Deferral, Outcome, Stop};
use crate::mail::message::Built;
use crate::mail::outgoing::OutgoingMail;

/// The default folder.
const DEFAULT_FOLDER: &str = "mail";
/// Half of SHA-256: far more than is needed to distinguish the mails of one microsecond.
const NAME_BYTES: usize = 16;

/// Writes mails as files.
#[derive(Debug, Clone)]
pub struct MailFolder {
    folder: PathBuf,
    /// Whether it has been made sure that it is there: one that is gone later is gone.
    is_made: Arc<Mutex<bool>>,
}

impl MailFolder {
    /// The folder of `[mail] folder`. If it does not exist it is created with the first mail.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let folder = config.mail().folder.as_deref().unwrap_or(Path::new(DEFAULT_FOLDER));
        let folder = config.working_dir().join(folder);
        folders::check(&folder).map_err(|error| {
            Failure::configuration(format!("`mail.folder`: failed to make `{}`: {error}", folder.display()))
        })?;
        Ok(Self { folder, is_made: Arc::default() })
    }

    /// Creates it before the first mail.
    fn make(&self) -> anyhow::Result<()> {
        let mut is_made = self.is_made.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_made {
            fs::create_dir_all(&self.folder)
                .with_context(|| format!("failed to make `{}`", self.folder.display()))?;
            *is_made = true;
        }
        Ok(())
    }

    /// Writes a mail durably. It is named by its `Date` and its Message-ID: files sort by time, two mails never
    /// collide, and the same mail written again replaces itself.
    pub async fn send(&self, mail: &OutgoingMail, built: Built) -> Result<Outcome, Stop> {
        let name = file_name(&mail.content().message_id, mail.content().date);
        let path = self.folder.join(&name);
        let (folder, bytes) = (self.clone(), built.bytes);
        let written = tokio::task::spawn_blocking(move || {
            folder.make()?;
            write_privately(&path, |file| Ok(file.write_all(&bytes)?))
        });
        match written.await {
            Ok(Ok(())) => {
                Ok(Outcome::Accepted { reply: format!("written to `{name}`"), provider_message_id: None })
            }
            Ok(Err(error)) => failed(&error),
            Err(error) => Ok(Outcome::Deferred {
                reply: format!("failed to write `{name}`: {error}"),
                because: Deferral::Unsaid,
            }),
        }
    }
}

/// A full disk will be cleared; a folder that is gone or inaccessible stays so for every mail.
fn failed(error: &anyhow::Error) -> Result<Outcome, Stop> {
    let message = one_line(error);
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Err(Stop::Unreachable(message)),
        Some(io::ErrorKind::Interrupted | io::ErrorKind::ResourceBusy) => {
            Ok(Outcome::Deferred { reply: message, because: Deferral::Unsaid })
        }
        _ => Err(Stop::Refused(message)),
    }
}

fn file_name(message_id: &str, date: DateTime<Utc>) -> String {
    let digest = Sha256::digest(message_id.as_bytes());
    format!("{}-{}.eml", date.format("%Y%m%dT%H%M%S%.6fZ"), hex::encode(&digest[..NAME_BYTES]))
}

#[cfg(test)]
mod tests {
    use lettre::address::Envelope;

    use super::*;
    use crate::config::LoadOptions;
    use crate::mail::outgoing::{Content, Gate};

    fn config(folder: &Path) -> Config {
        std::fs::write(folder.join("batchctl.toml"), "[mail]\nfolder = \"out/mails\"\n").unwrap();
        let process_env =
            [("BATCHCTL_MAIL_REDIRECT_TO".to_owned(), "developer@example.jp".to_owned())].into();
        Config::load(LoadOptions {
            env_flag: None,
            working_dir: folder.to_owned(),
            process_env,
            full_paths: false,
        })
        .unwrap()
    }

    fn mail(config: &Config, message_id: &str, seconds: i64) -> OutgoingMail {
        let content = Content {
            message_id: message_id.to_owned(),
            date: DateTime::from_timestamp(seconds, 0).unwrap(),
            from: "shop@example.jp".parse().unwrap(),
            reply_to: None,
            subject: "subject".to_owned(),
            text: Some("text".to_owned()),
            html: None,
            headers: Vec::new(),
            unsubscription: Vec::new(),
            attachments: Vec::new(),
        };
        OutgoingMail::new(&Gate::new(config).unwrap(), content, "hanako@example.jp".parse().unwrap())
    }

    fn built(text: &str) -> Built {
        let envelope = Envelope::new(None, vec!["developer@example.jp".parse().unwrap()]).unwrap();
        Built { envelope, bytes: text.as_bytes().to_vec() }
    }

    fn files(folder: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    #[tokio::test]
    async fn files_sort_by_time_never_collide_and_the_same_mail_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let mails = MailFolder::new(&config).unwrap();
        for (message_id, seconds, text) in [
            ("<late@example.jp>", 1_795_219_201, "late"),
            ("<../../etc/a@example.jp>", 1_795_219_200, "first try"),
            ("<b@example.jp>", 1_795_219_200, "same second"),
            ("<../../etc/a@example.jp>", 1_795_219_200, "early"),
        ] {
            let outcome = mails.send(&mail(&config, message_id, seconds), built(text)).await;
            assert!(matches!(outcome, Ok(Outcome::Accepted { .. })), "{outcome:?}");
        }
        let files = files(&folder.path().join("out/mails"));
        let mut texts: Vec<_> = files.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts.pop(), Some("late"));
        texts.sort_unstable();
        assert_eq!(texts, ["early", "same second"]);
        assert!(files[0].0.starts_with("20261121T000000.000000Z-"), "{files:?}");
        assert!(files.iter().all(|(name, _)| Path::new(name).extension().is_some_and(|end| end == "eml")));
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_stops_all_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let mails = MailFolder::new(&config).unwrap();
        assert!(!folder.path().join("out").exists(), "nothing is created before the first mail");
        mails.send(&mail(&config, "<b@example.jp>", 0), built("text")).await.unwrap();
        fs::remove_dir_all(folder.path().join("out/mails")).unwrap();
        match mails.send(&mail(&config, "<a@example.jp>", 0), built("text")).await {
            Err(Stop::Refused(message)) => assert!(message.contains("out/mails"), "{message}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_full_disk_is_worth_another_try() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::StorageFull))
            .context("failed to write `a.eml`");
        assert!(matches!(failed(&error), Err(Stop::Unreachable(_))));
    }

    #[tokio::test]
    async fn only_the_owner_may_read_a_mail() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let mails = MailFolder::new(&config).unwrap();
        mails.send(&mail(&config, "<1@example.jp>", 0), built("private")).await.unwrap();
        let file = fs::read_dir(folder.path().join("out/mails")).unwrap().next().unwrap().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
