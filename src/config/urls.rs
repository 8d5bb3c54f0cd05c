//! Checks of URLs, and which of their parts are secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use url::Url;

use crate::hosts::is_this_machine;
use crate::mask::{Secret, is_secret_name};

/// The error for a URL whose parts are not where its author meant them.
pub(super) const UNREADABLE: &str = "is not a URL: percent-encode the characters @ : / ? # % of a password";

/// A URL of one of these schemes. It may contain a password, so an error shows at most the scheme.
pub(super) fn parse(text: &str, schemes: &[&str]) -> Result<Secret, String> {
    match scheme(text) {
        Some(scheme) if schemes.contains(&scheme) => {
            if is_readable(text) {
                Ok(Secret::new(text))
            } else {
                Err(UNREADABLE.to_owned())
            }
        }
        Some(scheme) => {
            Err(format!("the scheme `{scheme}` is not supported: write {}://…", schemes.join(":// or ")))
        }
        None => Err(format!("has no scheme: write {}://…", schemes.join(":// or "))),
    }
}

/// The scheme, if the text is built like a URL; anything else may be a bare password.
pub(super) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let plain = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    (plain && !scheme.is_empty()).then_some(scheme)
}

/// Whether the parts of a URL are where they seem: an unencoded `/`, `?` or `#` in a password ends the host early, and
/// the rest, with the `@`, is read as a path.
pub(super) fn is_readable(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        !url.path().contains('@')
            && url.fragment().is_none()
            && !url.query().is_some_and(|query| query.contains('@'))
    })
}

/// Whether what goes there is encrypted, or stays on this machine.
pub(crate) fn is_confidential(url: &Url) -> bool {
    let is_local = is_this_machine(url.host_str().unwrap_or_default());
    url.scheme() == "https" || (url.scheme() == "http" && is_local)
}

/// The passwords in a URL, encoded and plain, since a driver may print either, and as encoded in a login: a server may
/// quote what it was sent.
pub(super) fn secrets_of_url(text: &str) -> Vec<String> {
    let Ok(url) = Url::parse(text) else { return Vec::new() };
    let mut secrets = Vec::new();
    if let Some(password) = url.password() {
        // Parsing it as a form pair decodes the percent-encoding; a `+` in a password is not a space, and a `&` does
        // not start a second pair.
        let pair = format!("p={}", password.replace('+', "%2B").replace('&', "%26"));
        secrets.extend(url::form_urlencoded::parse(pair.as_bytes()).map(|(_, value)| value.into_owned()));
        secrets.push(password.to_owned());
        secrets.extend(logins(url.username(), password));
    }
    secrets.extend(
        url.query_pairs().filter(|(name, _)| is_secret_name(name)).map(|(_, value)| value.into_owned()),
    );
    secrets
}

/// A name and a password as encoded by SMTP (AUTH PLAIN and LOGIN) and HTTP (Basic).
fn logins(user: &str, password: &str) -> [String; 3] {
    let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (decoded(user), decoded(password));
    [format!("\0{user}\0{password}"), format!("{user}:{password}"), password]
        .map(|login| BASE64.encode(login))
}

/// The path of a webhook's URL, which is the secret itself, as a client's error may print it alone.
pub(crate) fn secrets_of_webhook(text: &str) -> Vec<String> {
    /// Shorter ones, such as `/alerts`, protect nothing and would only garble messages.
    const MIN_SECRET_LENGTH: usize = 16;
    let Ok(url) = Url::parse(text) else { return Vec::new() };
    // A parameter is assumed to be secret; the redactor itself leaves out values that are too short to be one.
    let parameters = url.query_pairs().map(|(_, value)| value.into_owned());
    std::iter::once(url.path().to_owned())
        .filter(|path| path.len() >= MIN_SECRET_LENGTH)
        .chain(parameters)
        .chain(std::iter::once(url.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_secret_in_every_spelling() {
        assert_eq!(
            secrets_of_url("redis://:a%26b&c=%2B+d@cache"),
            ["a&b&c=++d", "a%26b&c%3D%2B+d", "AABhJmImYz0rK2Q=", "OmEmYiZjPSsrZA==", "YSZiJmM9Kytk"]
        );
        assert_eq!(secrets_of_url("https://host/?token=abc&page=2"), ["abc"]);
        assert_eq!(secrets_of_url("https://host/path"), Vec::<String>::new());
    }

    #[test]
    fn a_webhook_is_secret_as_a_whole_and_by_a_long_path() {
        assert_eq!(secrets_of_webhook("https://example.jp/alerts"), ["https://example.jp/alerts"]);
        assert_eq!(
            secrets_of_webhook("https://example.jp/services/T000/B000"),
            ["/services/T000/B000", "https://example.jp/services/T000/B000"]
        );
    }
}
