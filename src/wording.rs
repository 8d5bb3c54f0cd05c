//! English words that depend on numbers, for messages.

use std::fmt::Display;

/// A count with its noun: `1 mail`, `2 mails`.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str, many: &str) -> String {
    let noun = if count == N::from(1) { one } else { many };
    format!("{count} {noun}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn only_one_is_singular() {
        let mails = [-1_i64, 0, 1, 2].map(|count| counted(count, "mail", "mails"));
        assert_eq!(mails, ["-1 mails", "0 mails", "1 mail", "2 mails"]);
    }
}
