//! Mail addresses: `local@domain` or `Name <local@domain>`.

use lettre::Address;
use lettre::message::Mailbox;

/// Why a text is not a mail address. It never quotes the text, which is personal or worse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    /// A line break would inject a header.
    #[error("the address contains a line break or another control character")]
    ControlCharacter,
    /// It does not have the form that RFC 5321 requires.
    #[error("not a mail address")]
    Malformed,
}

/// Parses an address with or without a display name.
pub fn parse(text: &str) -> Result<Mailbox, AddressProblem> {
    if text.chars().any(char::is_control) {
        return Err(AddressProblem::ControlCharacter);
    }
    let text = text.trim();
    text.parse::<Mailbox>().ok().or_else(|| with_quoted_local_part(text)).ok_or(AddressProblem::Malformed)
}

/// `"hanako yamada"@example.jp` (RFC 5321 section 4.1.2): the parser of mailboxes loses the quotes, and then refuses what
/// needs them.
fn with_quoted_local_part(text: &str) -> Option<Mailbox> {
    let (name, bare) = match text.strip_suffix('>') {
        // The address begins at the last opening bracket that a quote follows.
        Some(rest) => rest.rsplit_once("<\"").map(|(name, _)| (name.trim(), &rest[name.len() + 1..]))?,
        None => ("", text),
    };
    let (local, _) = bare.rsplit_once('@')?;
    let is_quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let email: Address = bare.parse().ok().filter(|_| is_quoted)?;
    if name.is_empty() {
        return Some(Mailbox::new(None, email));
    }
    // Its name may be quoted itself.
    let named: Mailbox = format!("{name} <name@example.com>").parse().ok()?;
    Some(Mailbox::new(named.name, email))
}

/// The bare address in lower case: the key of suppressions and consents. A server may distinguish case in the local
/// part, but in practice no two people's addresses differ only in case.
pub fn normalised(mailbox: &Mailbox) -> String {
    format!("{}@{}", mailbox.email.user().to_lowercase(), domain(mailbox))
}

/// The ways in which another program may have written a normalised address: with its domain in ASCII, and as people do.
pub fn spellings(normalised: &str) -> impl Iterator<Item = String> + use<> {
    let national = normalised.rsplit_once('@').and_then(|(local, domain)| {
        let (national, is_valid) = idna::domain_to_unicode(domain);
        (is_valid.is_ok() && national != domain).then(|| format!("{local}@{national}"))
    });
    std::iter::once(normalised.to_owned()).chain(national)
}

/// The recipient's domain in lower case and in ASCII: `例え.jp` and `xn--r8jz45g.jp` are the same.
pub fn domain(mailbox: &Mailbox) -> String {
    let domain = mailbox.email.domain().to_lowercase();
    match url::Host::parse(&domain) {
        Ok(url::Host::Domain(ascii)) => ascii,
        _ => domain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_and_without_a_name() {
        let plain = parse("Hanako@Example.JP").unwrap();
        assert_eq!(
            (normalised(&plain).as_str(), domain(&plain).as_str()),
            ("hanako@example.jp", "example.jp")
        );
        let named = parse("山田 花子 <hanako@example.jp>").unwrap();
        assert_eq!(named.name.as_deref(), Some("山田 花子"));
        assert_eq!(normalised(&named), "hanako@example.jp");
    }

    #[test]
    fn a_local_part_may_be_quoted() {
        let bare = |text: &str| parse(text).map(|mailbox| mailbox.email.to_string());
        for text in ["\"hanako yamada\"@example.jp", "\"a@b\"@example.jp", "\"a<b>\"@example.jp"] {
            assert_eq!(bare(text).as_deref(), Ok(text));
            let named = parse(&format!("\"Yamada, Hanako\" <{text}>")).unwrap();
            assert_eq!((named.name.as_deref(), named.email.as_ref() as &str), (Some("Yamada, Hanako"), text));
        }
        // The quotes are only needed where they are needed: it is the same mailbox, and suppressed as that.
        assert_eq!(normalised(&parse("\"Hanako\"@example.jp").unwrap()), "hanako@example.jp");
        for text in ["\"\"@example.jp", "\"a@example.jp", "a\"@example.jp", "\"a\"b\"@example.jp", "\"a\"@"] {
            assert_eq!(bare(text), Err(AddressProblem::Malformed), "{text}");
        }
    }

    #[test]
    fn a_national_domain_is_written_in_two_ways() {
        let spelled = |address: &str| spellings(&normalised(&parse(address).unwrap())).collect::<Vec<_>>();
        assert_eq!(spelled("a@日本.JP"), ["a@xn--wgv71a.jp", "a@日本.jp"]);
        assert_eq!(spelled("a@xn--wgv71a.jp"), ["a@xn--wgv71a.jp", "a@日本.jp"]);
        assert_eq!(spelled("a@example.jp"), ["a@example.jp"]);
    }

    #[test]
    fn an_internationalised_domain_becomes_its_ascii_form() {
        assert_eq!(normalised(&parse("a@例え.jp").unwrap()), normalised(&parse("A@xn--r8jz45g.JP").unwrap()));
    }

    #[test]
    fn a_line_break_and_an_invalid_address_are_refused() {
        for text in ["a@example.jp\r\nBcc: all@example.jp", "a@example.jp\n", "a\u{0}@example.jp"] {
            assert_eq!(parse(text), Err(AddressProblem::ControlCharacter), "{text:?}");
        }
        for text in ["", "hanako", "@example.jp", "a@", "a b@example.jp", "a@example.jp, b@example.jp"] {
            assert_eq!(parse(text), Err(AddressProblem::Malformed), "{text:?}");
        }
    }
}
