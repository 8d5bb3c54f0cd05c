//! Signs mails (DKIM, RFC 6376: rsa-sha256, relaxed/relaxed), for servers that do not do it themselves.
//!
//! Of our own, and not the builder library's: that one takes PKCS #1 keys only, cannot cover the Content-Type of a
//! multipart mail, and recurses once per character of a header. The arithmetic is that of the TLS provider.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::failure::Failure;

/// What is covered where a mail has it; RFC 8058 wants both List-Unsubscribe headers among them.
const SIGNED_HEADERS: [&str; 11] = [
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-id",
    "mime-version",
    "content-type",
];
/// A signature's line is folded after as many characters.
const FOLD_CHARACTERS: usize = 72;

/// Signs with the key of `[mail.dkim]`.
pub struct DkimSigner {
    domain: String,
    selector: String,
    key: Arc<dyn SigningKey>,
}

impl fmt::Debug for DkimSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        formatter
            .debug_struct("DkimSigner")
            .field("domain", &self.domain)
            .field("selector", &self.selector)
            .finish_non_exhaustive()
    }
}

impl DkimSigner {
    /// Reads `[mail.dkim]` and its key; nothing is signed without the section.
    pub fn new(config: &Config) -> Result<Option<Self>, Failure> {
        let Some(settings) = &config.file().mail.dkim else { return Ok(None) };
        for (key, name) in [("domain", &settings.domain), ("selector", &settings.selector)] {
            if !is_domain_name(name) {
                return Err(Failure::configuration(format!(
                    "`mail.dkim.{key}` is not a name of the DNS: `{name}`"
                )));
            }
        }
        let variable = &settings.key_variable;
        let value = config.secret(variable).map_err(|error| Failure::configuration(error.to_string()))?;
        // What is wrong is said without the value: it is the key, or was meant to be.
        let pem = if value.contains("-----BEGIN") {
            value
        } else {
            std::fs::read_to_string(config.working_dir().join(&value)).map_err(|error| {
                Failure::configuration(format!(
                    "{variable} is neither a PEM nor the name of a readable file: {}",
                    error.kind()
                ))
            })?
        };
        let key = private_key(&pem).map_err(|problem| {
            Failure::configuration(format!("{variable}: {problem}"))
                .hint("make one with `openssl genrsa -out dkim.pem 2048`")
        })?;
        Ok(Some(Self { domain: settings.domain.clone(), selector: settings.selector.clone(), key }))
    }

    /// The header for a written mail, with its CRLF.
    pub(super) fn header(&self, mail: &[u8]) -> Result<String, String> {
        let text = std::str::from_utf8(mail).map_err(|_| "a mail that is not UTF-8 cannot be signed")?;
        let (headers, body) = text.split_once("\r\n\r\n").ok_or("a mail without a body cannot be signed")?;
        let mut covered = String::new();
        let mut names = Vec::new();
        let headers = fields(headers);
        for name in SIGNED_HEADERS {
            if let Some((_, value)) = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)) {
                covered.push_str(&format!("{name}:{}\r\n", relaxed_value(value)));
                names.push(name);
            }
        }
        let body_hash = STANDARD.encode(Sha256::digest(relaxed_body(body)));
        // Folded as sent: the relaxed form of a fold is one space.
        let unsigned = format!(
            "v=1; a=rsa-sha256; c=relaxed/relaxed; d={};\r\n s={}; h={};\r\n bh={body_hash};\r\n b=",
            self.domain,
            self.selector,
            names.join(":").replace(":list-unsubscribe:", ":\r\n list-unsubscribe:"),
        );
        covered.push_str(&format!("dkim-signature:{}", relaxed_value(&unsigned)));
        let signer = self
            .key
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
            .ok_or("the DKIM key signs no rsa-sha256")?;
        let signature = signer.sign(covered.as_bytes()).map_err(|_| "the DKIM key failed to sign")?;
        let signature = STANDARD.encode(signature);
        let mut header = format!("DKIM-Signature: {unsigned}");
        let mut rest = signature.as_str();
        while rest.len() > FOLD_CHARACTERS {
            let (line, next) = rest.split_at(FOLD_CHARACTERS);
            header.push_str(line);
            header.push_str("\r\n ");
            rest = next;
        }
        header.push_str(rest);
        header.push_str("\r\n");
        Ok(header)
    }
}

fn is_domain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// An RSA key in PKCS #1 or PKCS #8.
fn private_key(pem: &str) -> Result<Arc<dyn SigningKey>, &'static str> {
    // `env` files and Kubernetes keep a PEM on one line.
    let pem = pem.replace("\\n", "\n");
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| "holds no private key as PEM")?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(
        |_| "holds no usable RSA key: 2048 to 4096 bits, PKCS #1 or PKCS #8, without a passphrase",
    )?;
    if key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).is_none() {
        return Err("holds no RSA key");
    }
    Ok(key)
}

/// Names and values of headers, folds kept.
fn fields(headers: &str) -> Vec<(&str, &str)> {
    let mut fields = Vec::new();
    let mut start = 0;
    while start < headers.len() {
        let mut end = start;
        // A line that begins with white space goes on with the header before it.
        loop {
            match headers[end..].find("\r\n") {
                Some(length) => {
                    end += length;
                    if !headers[end + 2..].starts_with([' ', '\t']) {
                        break;
                    }
                    end += 2;
                }
                None => {
                    end = headers.len();
                    break;
                }
            }
        }
        if let Some((name, value)) = headers[start..end].split_once(':') {
            fields.push((name.trim_end(), value));
        }
        start = end + 2;
    }
    fields
}

/// RFC 6376 section 3.4.2: unfolded, runs of white space as one space, none at the ends.
fn relaxed_value(value: &str) -> String {
    let words = value.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// RFC 6376 section 3.4.4: runs of white space as one space, none at a line's end, no empty lines at the end.
fn relaxed_body(body: &str) -> Vec<u8> {
    let mut relaxed = Vec::with_capacity(body.len());
    let mut empty_lines = 0;
    for line in body.strip_suffix("\r\n").unwrap_or(body).split("\r\n") {
        let line = line.trim_end_matches([' ', '\t']);
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        for _ in 0..empty_lines {
            relaxed.extend_from_slice(b"\r\n");
        }
        empty_lines = 0;
        let mut was_space = false;
        for byte in line.bytes() {
            let is_space = matches!(byte, b' ' | b'\t');
            if !is_space {
                relaxed.push(byte);
            } else if !was_space {
                relaxed.push(b' ');
            }
            was_space = is_space;
        }
        relaxed.extend_from_slice(b"\r\n");
    }
    relaxed
}
