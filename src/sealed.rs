//! Encrypts texts that are stored: XChaCha20-Poly1305 under a key derived from `BATCHCTL_SECRET_KEY`.
//!
//! A sealed text is `v1:BASE64(nonce, ciphertext, tag)` and opens only in its own place: platform, account and column
//! are authenticated with it, so that somebody who can write the table cannot move one account's token to another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead, Generate, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use crate::digest::hmac_sha256;
use crate::mask::Secret;

/// The prefix of a sealed text; another construction will have another prefix.
const VERSION: &str = "v1:";
/// Separates this key from others that are derived from the same secret.
const PURPOSE: &[u8] = b"batchctl sealed text v1";
/// The length of the cipher's nonce.
const NONCE_BYTES: usize = 24;

/// Where a sealed text belongs.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The outside system.
    pub platform: &'a str,
    /// The account there.
    pub account: &'a str,
    /// The column.
    pub column: &'a str,
}

/// Why a text could not be opened or sealed. It never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was not written by [`Seal::seal`], or is truncated.
    #[error("it is not a text that this program encrypted")]
    Malformed,
    /// Another key, another place, or a changed text; the cipher does not say which.
    #[error("it was encrypted with another key or for another row, or it was changed")]
    Refused,
    /// The operating system provides no random numbers.
    #[error("the operating system provides no random numbers")]
    NoRandomness,
}

/// A new value for `BATCHCTL_SECRET_KEY`.
pub fn new_secret_key() -> Result<Secret, SealError> {
    let key = Key::try_generate().map_err(|_| SealError::NoRandomness)?;
    Ok(Secret::new(BASE64.encode(key)))
}

/// Seals and opens texts.
pub struct Seal(XChaCha20Poly1305);

impl Seal {
    /// A seal under the key that is derived from this secret.
    pub fn new(secret_key: &Secret) -> Self {
        let key = hmac_sha256(secret_key.expose().as_bytes(), PURPOSE);
        Self(XChaCha20Poly1305::new(&key.into()))
    }

    /// Encrypts a text for its place. Sealing the same text twice returns two different results.
    pub fn seal(&self, text: &Secret, place: Binding<'_>) -> Result<String, SealError> {
        let nonce = XNonce::try_generate().map_err(|_| SealError::NoRandomness)?;
        let payload = Payload { msg: text.expose().as_bytes(), aad: &place.bytes() };
        let ciphertext = self.0.encrypt(&nonce, payload).map_err(|_| SealError::Refused)?;
        let mut bytes = nonce.to_vec();
        bytes.extend(ciphertext);
        Ok(format!("{VERSION}{}", BASE64.encode(bytes)))
    }

    /// Opens what was sealed for this place.
    pub fn open(&self, sealed: &str, place: Binding<'_>) -> Result<Secret, SealError> {
        let encoded = sealed.strip_prefix(VERSION).ok_or(SealError::Malformed)?;
        let bytes = BASE64.decode(encoded).map_err(|_| SealError::Malformed)?;
        let (nonce, ciphertext) = bytes.split_at_checked(NONCE_BYTES).ok_or(SealError::Malformed)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| SealError::Malformed)?;
        let payload = Payload { msg: ciphertext, aad: &place.bytes() };
        let text = self.0.decrypt(&nonce, payload).map_err(|_| SealError::Refused)?;
        String::from_utf8(text).map(Secret::new).map_err(|_| SealError::Malformed)
    }
}

impl Binding<'_> {
    /// The parts with their lengths, so that `a` + `bc` is not `ab` + `c`.
    fn bytes(self) -> Vec<u8> {
        let parts = [self.platform, self.account, self.column];
        parts.iter().flat_map(|part| format!("{}:{part}", part.len()).into_bytes()).collect()
    }
}

/// A random word that nobody can guess, to recognise the response to a request.
pub fn random_word() -> Result<String, SealError> {
    <[u8; 16]>::try_generate().map(hex::encode).map_err(|_| SealError::NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Binding<'_> = Binding { platform: "cafe24", account: "shop1", column: "refresh_token" };

    fn seal() -> Seal {
        Seal::new(&Secret::new("hunter2-hunter2-hunter2-hunter2-"))
    }

    #[test]
    fn a_text_opens_in_its_place_and_is_sealed_differently_each_time() {
        let text = Secret::new("RT1-한글");
        let (one, other) = (seal().seal(&text, PLACE).unwrap(), seal().seal(&text, PLACE).unwrap());
        assert!(one.starts_with("v1:") && one != other && !one.contains("RT1"), "{one}");
        assert!(seal().open(&one, PLACE).unwrap() == text && seal().open(&other, PLACE).unwrap() == text);
    }

    #[test]
    fn a_moved_text_does_not_open() {
        let sealed = seal().seal(&Secret::new("RT1"), PLACE).unwrap();
        for place in [
            Binding { account: "shop2", ..PLACE },
            Binding { column: "access_token", ..PLACE },
            Binding { platform: "other", ..PLACE },
            Binding { platform: "cafe2", account: "4shop1", ..PLACE },
        ] {
            assert_eq!(seal().open(&sealed, place).unwrap_err(), SealError::Refused, "{place:?}");
        }
    }

    #[test]
    fn another_key_opens_nothing() {
        let sealed = seal().seal(&Secret::new("RT1"), PLACE).unwrap();
        let other = Seal::new(&Secret::new("hunter3-hunter3-hunter3-hunter3-"));
        assert_eq!(other.open(&sealed, PLACE).unwrap_err(), SealError::Refused);
    }

    #[test]
    fn a_truncated_text_is_refused_at_every_length() {
        let sealed = seal().seal(&Secret::new("RT1"), PLACE).unwrap();
        for end in 0..sealed.len() {
            assert!(seal().open(&sealed[..end], PLACE).is_err(), "{end}");
        }
        assert_eq!(seal().open("RT1 in the open", PLACE).unwrap_err(), SealError::Malformed);
        assert_eq!(seal().open(&sealed.replace("v1:", "v2:"), PLACE).unwrap_err(), SealError::Malformed);
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let sealed = seal().seal(&Secret::new("RT1"), PLACE).unwrap();
        let bytes = BASE64.decode(&sealed[VERSION.len()..]).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = format!("{VERSION}{}", BASE64.encode(changed));
            assert_eq!(seal().open(&changed, PLACE).unwrap_err(), SealError::Refused);
        }
    }
}
