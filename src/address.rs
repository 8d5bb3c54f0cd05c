//! Mail addresses: `local@domain` or `Name <local@domain>`.

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
    text.trim().parse::<Mailbox>().map_err(|_| AddressProblem::Malformed)
}

/// The bare address in lower case: the key of suppressions and consents. A server may distinguish case in the local
/// part, but in practice no two people's addresses differ only in case.
pub fn normalised(mailbox: &Mailbox) -> String {
    format!("{}@{}", mailbox.email.user().to_lowercase(), domain(mailbox))
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
