//! An API's address, and which links in its responses lead there.

use std::fmt;

use url::Url;

use crate::config::is_confidential;
use crate::failure::Failure;
use crate::hosts;

/// The URL that an API's calls go to, or start with.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
    is_secret: bool,
}

impl Address {
    /// The API below `text`, which the setting `key` names in errors. Traffic is encrypted, except to a fake on this
    /// machine.
    pub fn new(key: &str, text: &str) -> Result<Self, Failure> {
        Self::below_url(key, encrypted(key, text)?)
    }

    /// The same in a network of one's own, where traffic need not be encrypted: for an API that is sent no secret.
    pub fn in_own_network(key: &str, text: &str) -> Result<Self, Failure> {
        let url =
            Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        Self::below_url(key, url.ok_or_else(|| wrong(key, "not a URL: write https://HOST"))?)
    }

    fn below_url(key: &str, mut url: Url) -> Result<Self, Failure> {
        if has_more_than_a_path(&url) {
            return Err(wrong(key, "has more than a host and a path"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self { url, is_secret: false })
    }

    /// The API of a host, without a path.
    pub fn host(key: &str, text: &str) -> Result<Self, Failure> {
        let url = encrypted(key, text)?;
        if url.path() != "/" || has_more_than_a_path(&url) {
            return Err(wrong(key, "write https://HOST without a path"));
        }
        Ok(Self { url, is_secret: false })
    }

    /// The webhook of a service: a URL that is its own credential, and is never shown.
    pub fn service_webhook(text: &str) -> Result<Self, Failure> {
        let webhook = Self::webhook(text)?;
        if !is_confidential(&webhook.url) {
            return Err(Failure::configuration("the URL is not encrypted: write https://"));
        }
        Ok(webhook)
    }

    /// A webhook of one's own, which may be unencrypted in one's own network.
    pub fn webhook(text: &str) -> Result<Self, Failure> {
        let url =
            Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| Failure::configuration("the URL is not valid"))?;
        Ok(Self { url, is_secret: true })
    }

    /// The address of these path segments below this one, each percent-encoded.
    #[must_use]
    pub fn below(&self, segments: &[&str]) -> Self {
        let mut below = self.clone();
        // Only a URL without a host has no path, and that was refused.
        if let Ok(mut path) = below.url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        below
    }

    /// The whole URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether its host may be reached outside prod, of which these are listed.
    pub fn is_allowed_outside_prod(&self, hosts: &[String]) -> bool {
        hosts::is_allowed_outside_prod(self.url.host_str().unwrap_or_default(), hosts)
    }

    /// Whether it must not be shown.
    pub(super) fn is_secret(&self) -> bool {
        self.is_secret
    }

    /// The URL of one of our references, or of a link in a response; if it leads elsewhere, the error describes where.
    /// Such a link must not be followed with a token in the header.
    pub(super) fn join(&self, reference: &str) -> Result<Url, &'static str> {
        let url = self.url.join(reference).map_err(|_| "an invalid address")?;
        if url.scheme() != self.url.scheme() {
            return Err("another scheme");
        }
        let is_same_host = url.host() == self.url.host();
        if !is_same_host || url.port_or_known_default() != self.url.port_or_known_default() {
            return Err("another host");
        }
        if (url.username(), url.password()) != (self.url.username(), self.url.password()) {
            return Err("a login");
        }
        if !url.path().starts_with(self.url.path()) {
            return Err("another part of the host");
        }
        Ok(url)
    }
}

fn encrypted(key: &str, text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).map_err(|_| wrong(key, "not a URL: write https://HOST"))?;
    if is_confidential(&url) {
        return Ok(url);
    }
    Err(wrong(key, "the connection would not be encrypted: write https://HOST"))
}

fn has_more_than_a_path(url: &Url) -> bool {
    let has_login = !url.username().is_empty() || url.password().is_some();
    has_login || url.query().is_some() || url.fragment().is_some()
}

fn wrong(key: &str, problem: &str) -> Failure {
    Failure::configuration(format!("`{key}`: {problem}"))
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_secret {
            write!(formatter, "{}", self.url.host_str().unwrap_or_default())
        } else {
            write!(formatter, "{}", self.url)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    #[test]
    fn only_own_links_are_followed() {
        let address = Address::new("test.base_url", "https://shop.example.jp/base").unwrap();
        let own = |href: &str| address.join(href).map(|url| url.to_string());
        assert_eq!(own("orders?offset=10").unwrap(), "https://shop.example.jp/base/orders?offset=10");
        assert_eq!(own("https://SHOP.example.jp:443/base/x").unwrap(), "https://shop.example.jp/base/x");
        for (href, what) in [
            ("https://shop.example.jp.evil.jp/base/x", "another host"),
            ("https://evil.jp/base/x", "another host"),
            ("//evil.jp/base/x", "another host"),
            ("https://shop.example.jp:8443/base/x", "another host"),
            ("https://shop.example.jp@evil.jp/base/x", "another host"),
            ("https://evil.jp\\@shop.example.jp/base/x", "another host"),
            ("https://me:pw@shop.example.jp/base/x", "a login"),
            ("https://me@shop.example.jp/base/x", "a login"),
            ("http://shop.example.jp/base/x", "another scheme"),
            ("file:///etc/passwd", "another scheme"),
            ("javascript:alert(1)", "another scheme"),
            ("/other/x", "another part of the host"),
            ("../other/x", "another part of the host"),
            ("/base/../other", "another part of the host"),
            ("https://[::1", "an invalid address"),
        ] {
            assert_eq!(own(href).unwrap_err(), what, "{href}");
        }
    }

    #[test]
    fn an_address_is_encrypted_unless_it_is_on_this_machine() {
        for local in ["http://127.0.0.1:8024/a", "http://localhost:1", "http://[::1]:1/"] {
            assert!(Address::new("test.base_url", local).is_ok(), "{local}");
        }
        let wrong = [
            "http://shop.example.jp",
            "ftp://localhost",
            "shop",
            "https://",
            "https://me:hunter22@shop.example.jp",
        ];
        for wrong in wrong {
            let failure = Address::new("test.base_url", wrong).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Configuration, "{wrong}");
            assert!(failure.message.starts_with("`test.base_url`: ") && !failure.message.contains("hunter"));
        }
    }

    #[test]
    fn in_a_network_of_ones_own_an_address_need_not_be_encrypted() {
        let own = |text| Address::in_own_network("REGISTRY", text).map(|address| address.to_string());
        assert_eq!(own("http://registry:8081").unwrap(), "http://registry:8081/");
        assert_eq!(own("https://a.jp/registry").unwrap(), "https://a.jp/registry/");
        for wrong in
            ["registry:8081", "ftp://registry", "http://me:hunter22@registry", "http://registry?key=hunter22"]
        {
            let failure = own(wrong).unwrap_err();
            assert!(
                failure.message.starts_with("`REGISTRY`: ") && !failure.message.contains("hunter"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_address_of_a_host_has_nothing_behind_it() {
        let host = |text| Address::host("mail.ses.endpoint", text).map(|address| address.to_string());
        assert_eq!(host("https://email.example.jp").unwrap(), "https://email.example.jp/");
        assert_eq!(host("http://127.0.0.1:8025/").unwrap(), "http://127.0.0.1:8025/");
        for wrong in ["email.example.jp", "http://email.example.jp", "ftp://localhost", "https://"] {
            let failure = host(wrong).unwrap_err();
            assert!(failure.message.starts_with("`mail.ses.endpoint`: "), "{}", failure.message);
        }
        for wrong in ["https://a.jp/v2", "https://a.jp?x=1", "https://key@a.jp"] {
            let failure = host(wrong).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Configuration);
            assert!(failure.message.contains("without a path"), "{wrong}");
        }
    }

    #[test]
    fn a_webhook_is_called_as_it_is_and_never_shown() {
        let text = "https://hooks.example.jp/services/hunter22?sig=hunter23";
        let address = Address::webhook(text).unwrap();
        assert_eq!(address.join("").unwrap().as_str(), text);
        assert_eq!(format!("{address} {address:?}"), "hooks.example.jp Address(hooks.example.jp)");
        let failure = Address::service_webhook("http://hooks.example.jp/services/hunter22").unwrap_err();
        assert_eq!(failure.message, "the URL is not encrypted: write https://");
        assert!(Address::service_webhook("http://127.0.0.1:8080/services/hunter22").is_ok());
        for wrong in ["hunter22", "ftp://hunter22/x", "mailto:hunter22@example.jp"] {
            assert_eq!(Address::webhook(wrong).unwrap_err().message, "the URL is not valid");
        }
    }

    #[test]
    fn a_segment_is_percent_encoded() {
        let address =
            Address::new("k", "https://www.example.jp").unwrap().below(&["users", "kim@a.jp/x", "messages"]);
        assert_eq!(address.to_string(), "https://www.example.jp/users/kim@a.jp%2Fx/messages");
        assert_eq!(address.join("").unwrap(), *address.url());
    }
}
