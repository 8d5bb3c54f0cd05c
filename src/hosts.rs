//! Hosts: which of them is this machine, and which may be reached outside prod.

use std::net::{IpAddr, Ipv6Addr};

use url::Host;

/// Whether a host is this machine: `localhost`, or an address that never leaves it. An address of IPv6 may stand in the
/// brackets of a URL or without them.
pub fn is_this_machine(host: &str) -> bool {
    match parsed(host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

/// Whether a host may be reached outside prod: it is this machine, or one of those that are listed for it.
pub fn is_allowed_outside_prod(host: &str, listed: &[String]) -> bool {
    let Some(host) = parsed(host) else { return false };
    is_this_machine(&host.to_string()) || listed.iter().any(|one| parsed(one).as_ref() == Some(&host))
}

/// Whether a text names a host.
pub fn is_host(text: &str) -> bool {
    parsed(text).is_some()
}

/// As a URL has it: a name in lower case, an address in its one form.
fn parsed(host: &str) -> Option<Host> {
    // A URL's host has no user, port or path: what looks like one is not a host.
    Host::parse(host).ok().or_else(|| host.parse::<Ipv6Addr>().ok().map(Host::Ipv6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_many_names_and_no_other_is_taken_for_it() {
        for local in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.8.9.10",
            "::1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0x7f.1",
        ] {
            assert!(is_this_machine(local), "{local}");
        }
        for other in [
            "",
            "localhost.example.jp",
            "local",
            "10.0.0.1",
            "0.0.0.0",
            "::",
            "[fe80::1]",
            "128.0.0.1",
            "127.0.0.1:80",
        ] {
            assert!(!is_this_machine(other), "{other}");
        }
    }

    #[test]
    fn outside_prod_only_this_machine_and_listed_hosts_are_reached() {
        let listed = ["events.DEV.example.jp", "10.0.0.7", "[fd00::7]", "not a host"].map(str::to_owned);
        for allowed in ["localhost", "::1", "Events.dev.example.jp", "10.0.0.7", "fd00::7", "[fd00:0::7]"] {
            assert!(is_allowed_outside_prod(allowed, &listed), "{allowed}");
        }
        for refused in [
            "events.example.jp",
            "a.events.dev.example.jp",
            "localhost.example.jp",
            "events.dev.example.jp@evil.jp",
            "10.0.0.1",
            "fd00::8",
            "not a host",
            "",
        ] {
            assert!(!is_allowed_outside_prod(refused, &listed), "{refused}");
        }
    }
}
