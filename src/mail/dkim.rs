//! Signs mails (DKIM, RFC 6376: rsa-sha256, relaxed/relaxed), for servers that do not do it themselves.
//!
//! Our own implementation instead of the mail library's, which accepts only PKCS #1 keys, cannot sign the Content-Type
//! of a multipart mail, and recurses once per character of a header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::failure::Failure;
use crate::rsa_sha256::PrivateKey;

/// The headers that are signed if present; RFC 8058 requires both List-Unsubscribe headers.
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
/// The length at which a signature's line is folded, in characters.
const FOLD_CHARACTERS: usize = 72;

/// Signs with the key of `[mail.dkim]`.
#[derive(Debug)]
pub struct DkimSigner {
    domain: String,
    selector: String,
    key: PrivateKey,
}

impl DkimSigner {
    /// Reads `[mail.dkim]` and its key; nothing is signed without the section.
    pub fn new(config: &Config) -> Result<Option<Self>, Failure> {
        let Some(settings) = &config.mail().dkim else { return Ok(None) };
        for (key, name) in [("domain", &settings.domain), ("selector", &settings.selector)] {
            if !is_domain_name(name) {
                return Err(Failure::configuration(format!("`mail.dkim.{key}` is not a DNS name: `{name}`")));
            }
        }
        let variable = &settings.key_variable;
        let pem = config.private_key(variable).map_err(|error| Failure::configuration(error.to_string()))?;
        let key = PrivateKey::from_pem(pem.expose()).map_err(|problem| {
            Failure::configuration(format!("{variable}: {problem}"))
                .hint("create one with `openssl genrsa -out dkim.pem 2048`")
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
        let signature = STANDARD.encode(self.key.sign(covered.as_bytes())?);
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

/// Names and values of headers. A line that begins with white space continues the one before it.
fn fields(headers: &str) -> Vec<(&str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in headers.split("\r\n") {
        match (fields.last_mut(), line.split_once(':')) {
            (Some((_, value)), _) if line.starts_with([' ', '\t']) => value.push_str(line),
            (_, Some((name, value))) => fields.push((name, value.to_owned())),
            _ => {}
        }
    }
    fields
}

/// RFC 6376 section 3.4.2: unfolded, runs of white space collapsed to one space, none at the ends.
fn relaxed_value(value: &str) -> String {
    let words = value.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// RFC 6376 section 3.4.4: runs of white space collapsed to one space, none at line ends, no empty lines at the end.
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::config::{ConfigError, LoadOptions};

    /// A new private key.
    fn key(openssl: &[&str]) -> String {
        let output = Command::new("openssl").args(openssl).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn rsa(bits: &str) -> String {
        key(&["genrsa", bits])
    }

    /// The TXT record of a private key.
    fn record(pem: &str) -> String {
        let mut openssl = Command::new("openssl")
            .args(["rsa", "-pubout", "-outform", "DER"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        openssl.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
        let public = openssl.wait_with_output().unwrap().stdout;
        format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public))
    }

    fn signer(folder: &Path, key: &str) -> Result<Option<DkimSigner>, Failure> {
        std::fs::write(
            folder.join("batchctl.toml"),
            "[mail.dkim]\ndomain = \"example.jp\"\nselector = \"s2026\"\nkey_variable = \"SHOP_DKIM_KEY\"\n",
        )
        .unwrap();
        let process_env = [("SHOP_DKIM_KEY".to_owned(), key.to_owned())].into();
        let options =
            LoadOptions { env_flag: None, working_dir: folder.to_owned(), process_env, full_paths: false };
        DkimSigner::new(
            &Config::load(options).map_err(|error: ConfigError| Failure::failed(error.to_string()))?,
        )
    }

    /// The headers of each mail that dkimpy finds signed, or `invalid`.
    fn verified(mails: &[String], record: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let dns = folder.path().join("dns");
        std::fs::write(&dns, format!("s2026._domainkey.example.jp {record}\n")).unwrap();
        let files: Vec<PathBuf> =
            (0..mails.len()).map(|number| folder.path().join(number.to_string())).collect();
        for (file, mail) in files.iter().zip(mails) {
            std::fs::write(file, mail).unwrap();
        }
        let mut python = Command::new("/usr/bin/python3");
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/verify_dkim.py"));
        let output = python.arg(dns).args(files).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn another_library_verifies_our_signature_and_notices_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let pkcs8 = rsa("2048");
        let pkcs1 = key(&["genrsa", "-traditional", "2048"]);
        assert!(pkcs8.contains("BEGIN PRIVATE KEY") && pkcs1.contains("BEGIN RSA PRIVATE KEY"));
        std::fs::write(folder.path().join("dkim.pem"), &pkcs8).unwrap();
        let one_line = pkcs1.replace('\n', "\\n");
        let mail = "From: =?utf-8?b?44GK?= <shop@example.jp>\r\nTo: hanako@example.jp\r\nSubject: folded\r\n \t words  here \r\n\
            Date: Sat, 21 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@example.jp>\r\nX-Other: 1\r\n\
            List-Unsubscribe: <https://example.jp/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
            MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
        let headers = "from:to:subject:date:message-id:list-unsubscribe:list-unsubscribe-post:mime-version:content-type";
        for (key, pem) in [("dkim.pem", &pkcs8), (pkcs1.as_str(), &pkcs1), (one_line.as_str(), &pkcs1)] {
            let signer = signer(folder.path(), key).unwrap().unwrap();
            let bodies = ["", "\r\n\r\n", "a  b\t c \r\n\r\n end\t\r\n\r\n\r\n", "no blank lines\r\n"];
            let mut mails = Vec::new();
            for body in bodies {
                let mail = format!("{mail}{body}");
                let complete = [signer.header(mail.as_bytes()).unwrap(), mail].concat();
                assert!(complete.split("\r\n").all(|line| line.len() < 200), "{complete}");
                let forged = complete.replace("<https://example.jp/u>", "<https://example.com/u>");
                let longer = format!("{complete}P.S.\r\n");
                mails.extend([complete, forged, longer]);
            }
            let expected = bodies.map(|_| [headers, "invalid", "invalid"]).concat();
            assert_eq!(verified(&mails, &record(pem)), expected, "{key}");
        }
    }

    #[test]
    fn a_bad_key_is_reported_by_its_variable_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let encrypted = key(&["genrsa", "-aes128", "-passout", "pass:hunter2", "2048"]);
        let elliptic = key(&["ecparam", "-genkey", "-name", "prime256v1", "-noout"]);
        let short = rsa("1024");
        let broken = rsa("2048").replace('A', "B");
        for (key, problem) in [
            ("no-such-file.pem", "neither a PEM nor the name of a readable file"),
            ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7", "neither a PEM nor the name of"),
            ("-----BEGIN PRIVATE KEY-----\nhunter2", "does not hold a private key as PEM"),
            (&encrypted, "does not hold a private key as PEM"),
            (&elliptic, "does not hold an RSA key"),
            (&short, "does not hold a usable RSA key"),
            (&broken, "does not hold a"),
        ] {
            let failure = signer(folder.path(), key).unwrap_err();
            assert_eq!(failure.kind, crate::failure::FailureKind::Configuration);
            assert!(failure.message.starts_with("SHOP_DKIM_KEY"), "{}", failure.message);
            assert!(failure.message.contains(problem), "{}: {problem}", failure.message);
            for secret in ["hunter2", "MII", "BEGIN"] {
                assert!(!failure.message.contains(secret), "{}", failure.message);
            }
        }
        let unset = signer(folder.path(), "").unwrap_err();
        assert_eq!(unset.kind, crate::failure::FailureKind::Configuration);
        assert!(unset.message.contains("SHOP_DKIM_KEY"), "{}", unset.message);
    }
}
