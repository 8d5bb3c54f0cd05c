//! Keeps secrets and addresses out of messages and logs.

use std::fmt;

use url::Url;

/// What replaces a secret. Its length says nothing about the secret's.
pub const MASK: &str = "***";

/// Shorter secrets are not searched for: `shop` as the password of a test database would turn every `shop` in
/// every message into the mask, and so give the password away. [`mask_url`] hides those by their position.
const MIN_SECRET_CHARACTERS: usize = 6;

/// Hosts whose URLs are themselves secrets: anybody who knows the path can post.
const WEBHOOK_HOSTS: [&str; 10] = [
    "hooks.slack.com",
    "hooks.slack-gov.com",
    "discord.com",
    "discordapp.com",
    "chat.googleapis.com",
    "webhook.office.com",
    "logic.azure.com",
    "api.powerplatform.com",
    "api.powerautomate.com",
    "flow.microsoft.com",
];

/// Words in the name of a variable or of a URL's parameter that make its value a secret.
const SECRET_WORDS: [&str; 5] = ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "KEY"];

/// Parameters of signed URLs (Azure, S3) that are as good as a password.
const SIGNATURE_PARAMETERS: [&str; 3] = ["sig", "signature", "X-Amz-Signature"];

/// A value that neither `{}` nor `{:?}` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

/// The address with only the first letter of its local part: `h*****@example.com`. Always five stars, so that
/// the length is hidden too; a single letter is also hidden. A display name is dropped.
pub fn mask_email(address: &str) -> String {
    const STARS: &str = "*****";
    let address = address.trim();
    let bare = match address.rsplit_once('<') {
        Some((_, rest)) => rest.trim_end_matches('>'),
        None => address,
    };
    match bare.rsplit_once('@') {
        None => STARS.to_owned(),
        Some((local, domain)) => {
            let mut letters = local.chars();
            match (letters.next(), letters.next()) {
                (Some(first), Some(_)) => format!("{first}{STARS}@{domain}"),
                _ => format!("{STARS}@{domain}"),
            }
        }
    }
}

/// The mask, or an empty text for an empty value, because that it is empty is worth knowing.
pub fn mask_secret(value: &str) -> String {
    if value.is_empty() { String::new() } else { MASK.to_owned() }
}

/// The URL without its password, without parameters that are secrets and, for a known webhook, without anything
/// after the host. A URL that cannot be parsed keeps only its scheme.
pub fn mask_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        // `sqlite:batchctl.db`, a path, or something that is not a URL at all.
        let known = text.starts_with("sqlite:") && !text.contains('@');
        return if known || text.is_empty() { text.to_owned() } else { MASK.to_owned() };
    };
    let hidden =
        || if scheme.chars().all(is_scheme) { format!("{scheme}://{MASK}") } else { MASK.to_owned() };
    let Ok(mut url) = Url::parse(text) else { return hidden() };
    let is_web = matches!(url.scheme(), "http" | "https");
    // A password with an unencoded `/`, `?` or `#` ends the host too early, and its rest looks like a path.
    let authority_ends = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if !is_web && rest[authority_ends..].contains('@') {
        return hidden();
    }
    if is_webhook(&url) {
        return format!("{}://{}/{MASK}", url.scheme(), url.host_str().unwrap_or_default());
    }
    let mut changed = false;
    if url.password().is_some() {
        changed |= url.set_password(Some(MASK)).is_ok();
    } else if is_web && !url.username().is_empty() {
        // A user without a password is a token, as in `https://TOKEN@git.example.com`.
        changed |= url.set_username(MASK).is_ok();
    }
    if let Some(query) = url.query() {
        let masked: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) if is_secret_name(name) || SIGNATURE_PARAMETERS.contains(&name) => {
                    format!("{name}={MASK}")
                }
                _ => pair.to_owned(),
            })
            .collect();
        let masked = masked.join("&");
        if masked != query {
            url.set_query(Some(&masked));
            changed = true;
        }
    }
    // A URL that needs no mask is shown as it was written, not as a parser would write it.
    if changed { url.to_string() } else { text.to_owned() }
}

fn is_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// Whether the whole path of this URL is a secret.
fn is_webhook(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    WEBHOOK_HOSTS.iter().any(|known| {
        host == *known || host.strip_suffix(known).is_some_and(|subdomain| subdomain.ends_with('.'))
    })
}

/// Whether a variable of this name holds a secret, by the words in its name.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Knows the secrets of this run and removes them from any text.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, because one secret may be part of another.
    secrets: Vec<Vec<char>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Redactor({} secrets)", self.secrets.len())
    }
}

/// The spellings in which a secret may appear in a message.
#[derive(Clone, Copy)]
enum Spelling {
    Plain,
    /// As in a URL or a form: any character may be `%XX`, and a space may be `+`.
    Percent,
    /// As in JSON or in `{:?}`.
    Json,
    /// As in HTML: any character may be `&#104;`, `&#x68;` or `&amp;`.
    Html,
}

impl Redactor {
    /// A redactor for these values; those shorter than six characters are left out.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<Vec<char>> = secrets
            .into_iter()
            .map(|secret| secret.trim().chars().collect::<Vec<char>>())
            .filter(|secret| secret.len() >= MIN_SECRET_CHARACTERS)
            .collect();
        secrets.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        secrets.dedup();
        Self { secrets }
    }

    /// A redactor that also knows these values.
    #[must_use]
    pub fn with(&self, secrets: impl IntoIterator<Item = String>) -> Self {
        Self::new(self.secrets.iter().map(|secret| secret.iter().collect()).chain(secrets))
    }

    /// `text` with every known secret replaced by the mask, however it is spelled.
    pub fn redact(&self, text: &str) -> String {
        if self.secrets.is_empty() {
            return text.to_owned();
        }
        let mut redacted = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some(length) = self.match_at_start(rest) {
                redacted.push_str(MASK);
                rest = &rest[length..];
            } else {
                redacted.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        redacted
    }

    /// How many bytes at the start of `text` are a secret.
    fn match_at_start(&self, text: &str) -> Option<usize> {
        self.secrets.iter().find_map(|secret| {
            [Spelling::Plain, Spelling::Percent, Spelling::Json, Spelling::Html]
                .into_iter()
                .find_map(|spelling| spelled(secret, text, spelling))
        })
    }
}

/// How many bytes at the start of `text` spell `secret` in capitals or not, or its beginning where the text was cut off.
fn spelled(secret: &[char], text: &str, spelling: Spelling) -> Option<usize> {
    let mut rest = text;
    for (matched, c) in secret.iter().enumerate() {
        if matched >= MIN_SECRET_CHARACTERS && matches!(rest, "" | "…") {
            break;
        }
        let length = cases(*c).find_map(|c| match spelling {
            Spelling::Plain => rest.starts_with(c).then(|| c.len_utf8()),
            Spelling::Percent => percent_character(c, rest),
            Spelling::Json => json_character(c, rest),
            Spelling::Html => html_character(c, rest),
        })?;
        rest = &rest[length..];
    }
    Some(text.len() - rest.len())
}

/// A character as it is, as a small letter, and as a capital.
fn cases(c: char) -> impl Iterator<Item = char> {
    let is_other = move |other: &char| *other != c;
    let (small, capital) = (c.to_lowercase().filter(is_other), c.to_uppercase().filter(is_other));
    std::iter::once(c).chain(small).chain(capital)
}

/// Bytes of `c` at the start of `text`, itself or as `%XX`: encoders differ in which characters they escape.
fn percent_character(c: char, text: &str) -> Option<usize> {
    if c != '%' && text.starts_with(c) {
        return Some(c.len_utf8());
    }
    if c == ' ' && text.starts_with('+') {
        return Some(1);
    }
    let mut buffer = [0; 4];
    let encoded = c.encode_utf8(&mut buffer).bytes();
    let mut length = 0;
    for byte in encoded {
        let escape = text.get(length..length + 3)?.strip_prefix('%')?;
        if u8::from_str_radix(escape, 16) != Ok(byte) {
            return None;
        }
        length += 3;
    }
    Some(length)
}

/// Bytes of `c` at the start of `text`, itself or as a JSON escape (RFC 8259 section 7).
fn json_character(c: char, text: &str) -> Option<usize> {
    if !matches!(c, '"' | '\\') && text.starts_with(c) {
        return Some(c.len_utf8());
    }
    let escape = text.strip_prefix('\\')?;
    let short = match c {
        '"' | '\\' | '/' | '\'' => Some(c),
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\t' => Some('t'),
        _ => None,
    };
    if short.is_some_and(|short| escape.starts_with(short)) {
        return Some(2);
    }
    let mut units = [0; 2];
    let mut length = 0;
    for unit in c.encode_utf16(&mut units) {
        let hexadecimal = text.get(length..length + 6)?.strip_prefix("\\u")?;
        if u16::from_str_radix(hexadecimal, 16) != Ok(*unit) {
            return None;
        }
        length += 6;
    }
    Some(length)
}

/// Bytes of `c` at the start of `text`, itself or as an HTML entity.
fn html_character(c: char, text: &str) -> Option<usize> {
    let plain = text.starts_with(c).then(|| c.len_utf8());
    let entity = || {
        let (name, _) = text.strip_prefix('&')?.split_once(';')?;
        let is_it = match name.strip_prefix('#') {
            Some(number) => {
                let hexadecimal = number.strip_prefix(['x', 'X']);
                let code =
                    hexadecimal.map_or_else(|| number.parse(), |digits| u32::from_str_radix(digits, 16));
                code == Ok(u32::from(c))
            }
            None => {
                matches!((name, c), ("amp", '&') | ("lt", '<') | ("gt", '>') | ("quot", '"') | ("apos", '\''))
            }
        };
        is_it.then(|| name.len() + 2)
    };
    entity().or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_first_letter_and_its_domain() {
        for (address, masked) in [
            ("hanako@example.com", "h*****@example.com"),
            ("h@example.com", "*****@example.com"),
            ("@example.com", "*****@example.com"),
            ("はなこ@example.jp", "は*****@example.jp"),
            ("\"a@b\"@example.com", "\"*****@example.com"),
            ("Hanako <hanako@example.com>", "h*****@example.com"),
            ("no address", "*****"),
            ("", "*****"),
        ] {
            assert_eq!(mask_email(address), masked);
        }
    }

    #[test]
    fn a_url_loses_its_password_and_nothing_else() {
        for (url, masked) in [
            (
                "postgres://shop:pw@db.example.jp:5432/shop?sslmode=require",
                "postgres://shop:***@db.example.jp:5432/shop?sslmode=require",
            ),
            ("postgres://shop:p@ss@db/shop", "postgres://shop:***@db/shop"),
            ("postgres://shop@db/shop", "postgres://shop@db/shop"),
            (
                "postgres:///shop?host=/run/postgresql&password=pw",
                "postgres:///shop?host=/run/postgresql&password=***",
            ),
            ("redis://:pw@cache:6379/0", "redis://:***@cache:6379/0"),
            ("smtps://user:pw@smtp.example.jp", "smtps://user:***@smtp.example.jp"),
            ("https://TOKEN@git.example.com/x", "https://***@git.example.com/x"),
            ("https://example.com/a?sig=abc&b=1", "https://example.com/a?sig=***&b=1"),
            ("sqlite:batchctl.db", "sqlite:batchctl.db"),
            ("sqlite://var/batchctl.db?mode=rwc", "sqlite://var/batchctl.db?mode=rwc"),
            ("", ""),
        ] {
            assert_eq!(mask_url(url), masked);
        }
    }

    #[test]
    fn a_webhook_shows_its_host_only() {
        for (url, masked) in [
            ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/***"),
            (
                "https://prod-1.japaneast.logic.azure.com:443/workflows/1?sig=x",
                "https://prod-1.japaneast.logic.azure.com/***",
            ),
            ("https://shop.webhook.office.com/webhookb2/1@2", "https://shop.webhook.office.com/***"),
        ] {
            assert_eq!(mask_url(url), masked);
        }
    }

    #[test]
    fn a_url_that_cannot_be_parsed_is_hidden() {
        for (url, masked) in [
            ("postgres://shop:pa/ss@db/shop", "postgres://***"),
            ("postgres://shop:12/ss@db/shop", "postgres://***"),
            ("postgres://shop:12#ss@db/shop", "postgres://***"),
            ("hunter2", "***"),
            ("hunter2:rest@x", "***"),
        ] {
            assert_eq!(mask_url(url), masked);
        }
    }

    fn redacted(secrets: &[&str], text: &str) -> String {
        Redactor::new(secrets.iter().map(|secret| (*secret).to_owned())).redact(text)
    }

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let secret = "p@ss w/\"日\\x%41";
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let json = serde_json::to_string(secret).unwrap();
        let ascii_json = "p@ss w\\/\\u0022\\u65e5\\\\x%41";
        for text in
            [secret, &encoded, &encoded.to_lowercase(), &encoded.replace('+', "%20"), &json, ascii_json]
        {
            let text = format!("before {text} after");
            let shown = redacted(&[secret], &text).replace("\"***\"", "***");
            assert_eq!(shown, "before *** after", "{text}");
        }
        assert_eq!(redacted(&["🔑secret"], "\\ud83d\\udd11secret"), "***");
    }

    #[test]
    fn a_secret_is_found_in_capitals_and_in_html() {
        let secret = "p@ss<&\"'>Wörd";
        for text in [
            "P@SS<&\"'>WÖRD",
            "p@ss&lt;&amp;&quot;&#39;&gt;Wörd",
            "&#112;&#x40;&#115;&#X73;&#60;&amp;&quot;&apos;&gt;w&#246;RD",
            "%50%40SS%3C%26%22%27%3EW%C3%96RD",
            "P@SS<&\\\"'>W\\u00d6RD",
        ] {
            assert_eq!(redacted(&[secret], &format!("550 {text}.")), "550 ***.", "{text}");
        }
        assert_eq!(redacted(&["hunter2!"], "&#104;unter2? Hunter &#x68"), "&#104;unter2? Hunter &#x68");
    }

    #[test]
    fn the_longest_secret_goes_first_and_repeats_go_too() {
        assert_eq!(redacted(&["secret1", "secret1-long"], "secret1-long secret1 secret1"), "*** *** ***");
    }

    #[test]
    fn short_values_and_other_text_are_left_alone() {
        assert_eq!(
            redacted(&["shop", ""], "the shop's 100% sale: 日本 \\u00"),
            "the shop's 100% sale: 日本 \\u00"
        );
        assert_eq!(redacted(&["secret"], "secre %73ecre %"), "secre %73ecre %");
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let debug = format!("{:?} {:?}", Secret::new("hunter22"), Redactor::new(["hunter22".to_owned()]));
        assert_eq!(debug, "*** Redactor(1 secrets)");
    }
}
