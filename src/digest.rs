//! Short digests that identify a content where the content itself would be too long or too private.

use sha2::{Digest, Sha256};

/// Hexadecimal digits of a fingerprint: 64 bits, enough to tell apart all that one table or key holds.
pub const FINGERPRINT_DIGITS: usize = 16;

/// The first digits of the SHA-256 of a content, in hexadecimal.
pub fn fingerprint(content: impl AsRef<[u8]>) -> String {
    let mut digest = hex::encode(Sha256::digest(content));
    digest.truncate(FINGERPRINT_DIGITS);
    digest
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn a_fingerprint_is_the_beginning_of_the_sha_256() {
        // FIPS 180-4's example, whose digest begins with ba7816bf 8f01cfea.
        assert_eq!(fingerprint("abc"), "ba7816bf8f01cfea");
    }
}
