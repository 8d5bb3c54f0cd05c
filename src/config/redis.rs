//! Where Redis is: only a variable, since its URL may contain a password.

use url::Url;

use super::Config;
use super::error::ConfigError;
use super::section::Section;
use super::urls;
use super::variables::{Shown, Variables};
use crate::hosts::is_this_machine;
use crate::mask::Secret;

/// The variable.
const URL: &str = "BATCHCTL_REDIS_URL";
/// Redis's own port.
const PORT: u16 = 6379;
const ADVICE: &str = "write rediss://USER:PASSWORD@HOST/NUMBER, or redis://… on this machine";

/// Redis, if there is one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RedisSettings {
    /// `BATCHCTL_REDIS_URL`.
    pub target: Option<RedisTarget>,
}

/// One server of Redis, and how to log in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisTarget {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection is encrypted, and the server's certificate verified.
    pub has_tls: bool,
    /// The user; Redis's `default` if absent.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The number of its database.
    pub database: u32,
}

impl Section for RedisSettings {
    fn read(&mut self, variables: &mut Variables<'_>) -> Result<(), ConfigError> {
        variables.optional(&mut self.target, URL, Shown::Url, parse)
    }
}

impl Config {
    /// The variable that names Redis, and where it was set: what has to be changed if it is wrong.
    pub fn redis_origin(&self) -> String {
        self.set_at(URL)
    }
}

/// The parts of a URL. An error shows none of them: it may be a password that was meant.
fn parse(text: &str) -> Result<RedisTarget, String> {
    let Some(scheme) = urls::scheme(text) else { return Err(format!("has no scheme: {ADVICE}")) };
    let has_tls = match scheme {
        "redis" => false,
        "rediss" => true,
        "redis-cluster" | "rediss-cluster" | "redis+cluster" | "rediss+cluster" => {
            return Err(
                "names a cluster, which is not supported: name one server that has all keys".to_owned()
            );
        }
        "redis-sentinel" | "rediss-sentinel" | "redis+sentinel" | "rediss+sentinel" => {
            return Err("names a sentinel, which is not supported: name the primary itself".to_owned());
        }
        _ => return Err(format!("the scheme `{scheme}` is not supported: {ADVICE}")),
    };
    if !urls::is_readable(text) {
        // A comma is also legal in a password, whose URL can be read.
        let authority = text.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let hosts = authority.rsplit('@').next().unwrap_or_default();
        return Err(if hosts.contains(',') { SEVERAL_HOSTS.to_owned() } else { urls::UNREADABLE.to_owned() });
    }
    let url = Url::parse(text).map_err(|_| urls::UNREADABLE.to_owned())?;
    let host = match url.host_str() {
        Some(host) if host.contains(',') => return Err(SEVERAL_HOSTS.to_owned()),
        Some(host) if !host.is_empty() => host.trim_matches(['[', ']']).to_owned(),
        _ => return Err(format!("names no host: {ADVICE}")),
    };
    let database = match url.path().trim_matches('/') {
        "" => 0,
        number => {
            number.parse().map_err(|_| "the path is not the number of a database, such as /0".to_owned())?
        }
    };
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| "user and password are not UTF-8".to_owned())
    };
    let user = Some(url.username()).filter(|user| !user.is_empty()).map(decoded).transpose()?;
    let password = url.password().map(decoded).transpose()?.map(Secret::new);
    if user.is_some() && password.is_none() {
        return Err(
            "has a user and no password: a password alone is written as redis://:PASSWORD@HOST".to_owned()
        );
    }
    let mut is_plain_accepted = false;
    for (name, value) in url.query_pairs() {
        match (name.as_ref(), value.as_ref()) {
            ("tls", "none") => is_plain_accepted = true,
            _ => return Err("has a parameter other than `?tls=none`".to_owned()),
        }
    }
    if has_tls && is_plain_accepted {
        return Err("`?tls=none` contradicts rediss://: write redis://".to_owned());
    }
    if password.is_some() && !has_tls && !is_plain_accepted && !is_this_machine(&host) {
        return Err("would send its password unencrypted: write rediss://…, or, if everything on the way is trusted, add \
                    `?tls=none`"
            .to_owned());
    }
    Ok(RedisTarget { host, port: url.port().unwrap_or(PORT), has_tls, user, password, database })
}

const SEVERAL_HOSTS: &str =
    "names several hosts, but a cluster is not supported: name one server that has all keys";

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> RedisTarget {
        parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn a_url_names_one_server_and_how_to_log_in() {
        let plain = target("redis://localhost");
        assert_eq!(
            (plain.host.as_str(), plain.port, plain.has_tls, plain.database),
            ("localhost", 6379, false, 0)
        );
        assert_eq!((plain.user, plain.password), (None, None));
        let full = target("rediss://shop:p%40ss%3A1@cache.example.jp:6380/3");
        assert_eq!(
            (full.host.as_str(), full.port, full.has_tls, full.database),
            ("cache.example.jp", 6380, true, 3)
        );
        assert_eq!(full.user.as_deref(), Some("shop"));
        assert_eq!(full.password.unwrap().expose(), "p@ss:1");
        assert_eq!(target("redis://:a,b@127.0.0.1").password.unwrap().expose(), "a,b");
        assert_eq!(target("redis://[::1]:7000").host, "::1");
        assert_eq!(target("redis://:secret@cache/1?tls=none").database, 1);
        // Without a password nothing secret is sent.
        assert!(!target("redis://cache").has_tls);
    }

    #[test]
    fn what_could_not_be_used_or_would_betray_the_password_is_refused() {
        for (url, problem) in [
            ("hunter22", "has no scheme"),
            ("http://cache", "the scheme `http` is not supported"),
            ("unix:///run/redis.sock", "the scheme `unix` is not supported"),
            ("redis-cluster://:hunter22@cache", "a cluster, which is not supported"),
            ("rediss-sentinel://:hunter22@cache", "name the primary itself"),
            ("redis://:hunter22@a:6379,b:6379", "names several hosts"),
            ("redis://a,b,c/0", "names several hosts"),
            ("redis://:hunter/22@cache", "percent-encode"),
            ("redis://localhost/shop", "not the number of a database"),
            ("redis://localhost/-1", "not the number of a database"),
            ("redis://:hunter22@cache.example.jp", "would send its password unencrypted"),
            ("rediss://:hunter22@cache?tls=none", "contradicts rediss://"),
            ("rediss://:hunter22@cache?insecure=true", "a parameter other than"),
            ("rediss://:hunter22@cache/#insecure", "percent-encode"),
            ("rediss://shop@cache", "a user and no password"),
            ("redis://", "names no host"),
        ] {
            let found = parse(url).unwrap_err();
            assert!(found.contains(problem), "{url}: {found}");
            assert!(!found.contains("hunter"), "{found}");
        }
    }
}
