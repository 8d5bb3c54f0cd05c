//! English words that depend on numbers, for messages.

use std::fmt::Display;

/// A count with its noun: `1 mail`, `2 mails`.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str, many: &str) -> String {
    let noun = if count == N::from(1) { one } else { many };
    format!("{count} {noun}")
}

/// A command of ours to type. A value may come from anybody's row or file: it is one word of it.
pub fn command(words: &[&str]) -> String {
    let words = std::iter::once("batchctl").chain(words.iter().copied());
    // Only a NUL cannot be quoted, and no shell would take it.
    shlex::try_join(words).unwrap_or_default()
}

/// How many of all are something, with the verb that goes with them: `1 of 812 lines is`, `3 of 812 lines are`.
pub fn share(count: u64, all: u64, one: &str, many: &str) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{count} of {} {verb}", counted(all, one, many))
}

#[cfg(test)]
mod tests {
    use super::{command, counted, share};

    #[test]
    fn a_value_is_one_word_of_a_command() {
        assert_eq!(command(&["mall", "enable", "tokyo"]), "batchctl mall enable tokyo");
        assert_eq!(command(&["mall", "enable", "x; rm -rf y #"]), "batchctl mall enable 'x; rm -rf y #'");
    }

    #[test]
    fn the_verb_goes_with_the_part_and_the_noun_with_the_whole() {
        let lines = [(0, 2), (1, 1), (1, 812), (2, 2), (3, 812)]
            .map(|(count, all)| share(count, all, "line", "lines") + " bad");
        assert_eq!(
            lines,
            [
                "0 of 2 lines are bad",
                "1 of 1 line is bad",
                "1 of 812 lines is bad",
                "2 of 2 lines are bad",
                "3 of 812 lines are bad"
            ]
        );
    }

    #[test]
    fn only_one_is_singular() {
        let mails = [-1_i64, 0, 1, 2].map(|count| counted(count, "mail", "mails"));
        assert_eq!(mails, ["-1 mails", "0 mails", "1 mail", "2 mails"]);
    }
}
