//! A folder of `.eml` files instead of a server: for development, for rehearsals, and for handing mails over by hand.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::failure::Failure;
use crate::files::write_atomically;
use crate::mail::delivery::{Outcome, Stop};
use crate::mail::message::Built;
use crate::mail::outgoing::OutgoingMail;

/// The folder without a setting.
const DEFAULT_FOLDER: &str = "mail";
/// Half of SHA-256: far more than tells the mails of a microsecond apart.
const NAME_BYTES: usize = 16;

/// Writes mails as files.
#[derive(Debug, Clone)]
pub struct MailFolder {
    folder: PathBuf,
}

impl MailFolder {
    /// The folder of `[mail] folder`; made where it is not there.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let folder = config.file().mail.folder.as_deref().unwrap_or(Path::new(DEFAULT_FOLDER));
        let folder = config.working_dir().join(folder);
        fs::create_dir_all(&folder).map_err(|error| {
            Failure::configuration(format!("`mail.folder`: failed to make `{}`: {error}", folder.display()))
        })?;
        Ok(Self { folder })
    }

    /// Writes a mail, safe on disk. Named by its `Date` and its Message-ID: files sort by time, two mails never meet,
    /// and the same mail written once more replaces itself.
    pub async fn send(&self, mail: &OutgoingMail, built: Built) -> Result<Outcome, Stop> {
        let name = file_name(&mail.content().message_id, mail.content().date);
        let path = self.folder.join(&name);
        let bytes = built.bytes;
        let written =
            tokio::task::spawn_blocking(move || write_atomically(&path, |file| Ok(file.write_all(&bytes)?)));
        match written.await {
            Ok(Ok(())) => {
                Ok(Outcome::Accepted { reply: format!("written to `{name}`"), provider_message_id: None })
            }
            Ok(Err(error)) => failed(&error),
            Err(error) => Ok(Outcome::Deferred { reply: format!("failed to write `{name}`: {error}") }),
        }
    }
}

/// A full disk is emptied; a folder that is gone or closed to us stays so for every mail.
fn failed(error: &anyhow::Error) -> Result<Outcome, Stop> {
    let message = format!("{error:#}");
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Err(Stop::Unreachable(message)),
        Some(io::ErrorKind::Interrupted | io::ErrorKind::ResourceBusy) => {
            Ok(Outcome::Deferred { reply: message })
        }
        _ => Err(Stop::Refused(message)),
    }
}

fn file_name(message_id: &str, date: DateTime<Utc>) -> String {
    let digest = Sha256::digest(message_id.as_bytes());
    format!("{}-{}.eml", date.format("%Y%m%dT%H%M%S%.6fZ"), hex::encode(&digest[..NAME_BYTES]))
}
