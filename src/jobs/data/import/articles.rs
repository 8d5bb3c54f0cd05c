//! Articles and their summaries, one line each.

use super::line::Meaning::{Text, Time, Word};
use super::line::{LineColumn, LineKind, UPDATED_AT, column, key};

/// Articles.
pub(super) struct Articles;

/// The languages that mails are written in.
const LOCALES: &[&str] = &["en", "ja", "ko"];

impl LineKind for Articles {
    const LINE_COLUMNS: &'static [LineColumn] = &[
        key("article_key", Text),
        column("title", Text).required(),
        column("summary", Text).required(),
        column("url", Text).required(),
        column("published_at", Time).required(),
        column("free_summary", Text),
        column("locale", Word(LOCALES)),
        UPDATED_AT,
    ];
    const NOUNS: (&'static str, &'static str) = ("article", "articles");
    const TABLE: &'static str = "articles";
    const STAGING: &'static str = "import_articles";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locale::Locale;

    #[test]
    fn the_values_of_the_locale_are_the_languages_of_mails() {
        assert_eq!(LOCALES, Locale::ALL.map(Locale::tag));
    }
}
