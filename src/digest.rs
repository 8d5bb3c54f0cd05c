//! Digests: short ones that identify a content where the content itself would be too long or too private, and keyed ones.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Hexadecimal digits of a fingerprint: 64 bits, enough to distinguish everything that one table or key holds.
pub const FINGERPRINT_DIGITS: usize = 16;

/// The first digits of the SHA-256 of some content, in hexadecimal.
pub fn fingerprint(content: impl AsRef<[u8]>) -> String {
    let mut digest = hex::encode(Sha256::digest(content));
    digest.truncate(FINGERPRINT_DIGITS);
    digest
}

/// The HMAC of a message with SHA-256 (RFC 2104).
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_beginning_of_the_sha_256() {
        // FIPS 180-4's example, whose digest begins with ba7816bf 8f01cfea.
        assert_eq!(fingerprint("abc"), "ba7816bf8f01cfea");
    }

    #[test]
    fn an_hmac_is_that_of_the_rfc() {
        // RFC 4231, test case 2.
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex::encode(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
