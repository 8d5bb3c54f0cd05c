//! Headers and words as shops mean them: full width or half, with or without spaces, in capitals or not.

use std::borrow::Cow;
use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization as _;

/// The word for any text that is not empty.
pub(super) const ANY: &str = "*";

fn is_dropped(character: char) -> bool {
    character.is_whitespace() || matches!(character, '"' | '\'' | '`' | '“' | '”' | '‘' | '’' | '\u{feff}')
}

/// A header or word for comparison: in compatibility form (NFKC), without white space and quotes, in lower case.
pub(super) fn normal(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        let is_plain = |byte: u8| !byte.is_ascii_uppercase() && !is_dropped(char::from(byte));
        if text.bytes().all(is_plain) {
            return Cow::Borrowed(text);
        }
        let kept = text.chars().filter(|character| !is_dropped(*character));
        return Cow::Owned(kept.map(|character| character.to_ascii_lowercase()).collect());
    }
    let kept = text.nfkc().filter(|character| !is_dropped(*character));
    Cow::Owned(kept.flat_map(char::to_lowercase).collect())
}

/// What words mean. A word is found as it is, else as it is meant, else as any other.
#[derive(Debug, Clone)]
pub(super) struct Words<T> {
    exact: HashMap<String, T>,
    meant: HashMap<String, T>,
    any: Option<T>,
}

impl<T: Clone + PartialEq> Words<T> {
    /// Words with their meanings; two that differ only in how they are written must be written exactly.
    pub(super) fn new<'w>(words: impl IntoIterator<Item = (&'w str, T)>) -> Self {
        let (mut exact, mut any) = (HashMap::new(), None);
        for (word, meaning) in words {
            if word == ANY {
                any = Some(meaning);
            } else {
                exact.insert(word.trim().to_owned(), meaning);
            }
        }
        let mut meant: HashMap<String, Option<T>> = HashMap::new();
        for (word, meaning) in &exact {
            meant
                .entry(normal(word).into_owned())
                .and_modify(|other| *other = other.take().filter(|other| other == meaning))
                .or_insert_with(|| Some(meaning.clone()));
        }
        let meant = meant.into_iter().filter_map(|(word, meaning)| Some((word, meaning?))).collect();
        Self { exact, meant, any }
    }

    /// Whether any word means this.
    pub(super) fn has(&self, meaning: &T) -> bool {
        self.exact.values().chain(&self.any).any(|one| one == meaning)
    }

    /// What a word means, if anything.
    pub(super) fn find(&self, word: &str) -> Option<&T> {
        self.exact.get(word).or_else(|| {
            let meant = if self.meant.is_empty() { None } else { self.meant.get(normal(word).as_ref()) };
            // An empty field is not any word: it has to be named.
            meant.or_else(|| self.any.as_ref().filter(|_| !word.is_empty()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_compared_as_it_is_meant() {
        for (written, meant) in [
            ("Lineitem  SKU", "lineitemsku"),
            ("'meta:_Size", "meta:_size"),
            ("ﾃﾞﾊﾞｲｽ", "デバイス"),
            ("商品の合計金額（税込）", "商品の合計金額(税込)"),
            ("결제일시 (입금 확인일)", "결제일시(입금확인일)"),
            ("ＳＫＵ管理番号\u{3000}", "sku管理番号"),
        ] {
            assert_eq!(normal(written), meant);
        }
    }

    #[test]
    fn words_are_found_exactly_then_as_meant_then_as_any() {
        let words = Words::new([("Paid", 1), ("paid", 2), ("発送済み", 3), (ANY, 4), ("", 5)]);
        let found = |word| words.find(word).copied();
        assert_eq!(["Paid", "paid", "発送 済み", "else", ""].map(found), [1, 2, 3, 4, 5].map(Some));
        // Neither of the two is meant by a third way of writing.
        assert_eq!(found("PAID"), Some(4));
        assert_eq!(Words::new([("a", 1)]).find("b"), None);
        assert_eq!(Words::new([(ANY, 1)]).find(""), None);
    }
}
