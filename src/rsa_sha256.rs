//! RSA signatures over SHA-256 (RSASSA-PKCS1-v1_5, RFC 8017): rsa-sha256 of DKIM, RS256 of a JWT. The arithmetic is
//! that of the TLS provider.

use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;

/// A private key; it is never shown.
pub struct PrivateKey(Arc<dyn SigningKey>);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PrivateKey").finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Reads an RSA key in PKCS #1 or PKCS #8. An error never contains the key.
    pub fn from_pem(pem: &str) -> Result<Self, &'static str> {
        // `env` files and Kubernetes keep a PEM on one line.
        let pem = pem.replace("\\n", "\n");
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| "does not hold a private key as PEM")?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(
            |_| "does not hold a usable RSA key: 2048 to 4096 bits, PKCS #1 or PKCS #8, without a passphrase",
        )?;
        if key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).is_none() {
            return Err("does not hold an RSA key");
        }
        Ok(Self(key))
    }

    /// The signature of a text.
    pub fn sign(&self, text: &[u8]) -> Result<Vec<u8>, &'static str> {
        let signer = self
            .0
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
            .ok_or("the key does not sign with RSA and SHA-256")?;
        signer.sign(text).map_err(|_| "the key failed to sign")
    }
}
