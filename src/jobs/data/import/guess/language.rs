//! Which of two encodings a text is in that can be read in both: `Shift_JIS` or EUC-KR. The text that comes out is either
//! plausible Japanese or plausible Korean.

use encoding_rs::EUC_KR;

use crate::text_encoding::TextEncoding;

use super::super::reader::Record;

/// What Korean text is mostly made of: particles, endings, family names, and words of addresses and orders.
const COMMON_SYLLABLES: &str = "가각간감강개거건경계고공관광구국군권기김나남내년노다당대도동동라로리마만명모무문미민박배번법변보부북분사산상서선성세소송수시신아안양어여연영오외용우원월위유은을의이인일임입자장재전정제조주준지진창천청최태통특평포품하한해행현호홍화확회";
/// What the three letters of a currency are worth, in characters.
const CURRENCY: i64 = 100;

/// How plausible a record is as a text in an encoding, per byte.
pub(super) fn plausibility(record: &Record, encoding: TextEncoding) -> i64 {
    (0..record.len()).map(|place| of_text(record.field(place), encoding)).sum()
}

fn of_text(text: &str, encoding: TextEncoding) -> i64 {
    let home = match encoding {
        TextEncoding::ShiftJis => "JPY",
        TextEncoding::EucKr => "KRW",
        TextEncoding::Utf8 | TextEncoding::Utf8Bom => return 0,
    };
    let mut sum = if text == home { CURRENCY } else { 0 };
    let mut before = ' ';
    for character in text.chars() {
        if !character.is_ascii() {
            sum += match encoding {
                TextEncoding::EucKr => as_korean(character),
                _ => as_japanese(before, character),
            };
        }
        before = character;
    }
    sum
}

fn as_japanese(before: char, character: char) -> i64 {
    match character {
        'ぁ'..='ヿ' => 6,
        '一'..='鿿' => 3,
        // A mark of voice belongs to few letters; bytes of another encoding put it anywhere.
        'ﾞ' if !matches!(before, 'ｳ' | 'ｶ'..='ﾄ' | 'ﾊ'..='ﾎ') => -6,
        'ﾟ' if !matches!(before, 'ﾊ'..='ﾎ') => -6,
        'ｧ'..='ｰ' if !matches!(before, 'ｧ'..='ﾟ') => -6,
        'ｦ'..='ﾟ' => 2,
        _ => 0,
    }
}

fn as_korean(character: char) -> i64 {
    match character {
        '가'..='힣' if COMMON_SYLLABLES.contains(character) => 6,
        '가'..='힣' if is_standard(character) => 2,
        // Syllables that Korean does not use, and Chinese characters, which shops do not write.
        '가'..='힣' | '一'..='鿿' | '豈'..='\u{faff}' => -6,
        _ => 0,
    }
}

/// Whether a syllable is one of the 2,350 of KS X 1001.
fn is_standard(syllable: char) -> bool {
    let mut buffer = [0; 4];
    let (bytes, ..) = EUC_KR.encode(syllable.encode_utf8(&mut buffer));
    bytes.iter().all(|byte| *byte >= 0xA1)
}

#[cfg(test)]
mod tests {
    use encoding_rs::{Encoding, SHIFT_JIS};

    use super::*;

    /// What a text is taken for that was written in an encoding and can be read in both.
    fn taken_for(text: &str, written: &'static Encoding) -> TextEncoding {
        let (bytes, ..) = written.encode(text);
        let read = |encoding: &'static Encoding| {
            encoding.decode_without_bom_handling_and_without_replacement(&bytes).expect(text).into_owned()
        };
        let japanese = of_text(&read(SHIFT_JIS), TextEncoding::ShiftJis);
        let korean = of_text(&read(EUC_KR), TextEncoding::EucKr);
        if japanese > korean { TextEncoding::ShiftJis } else { TextEncoding::EucKr }
    }

    #[test]
    fn a_text_that_can_be_read_in_both_is_taken_for_what_it_says() {
        for text in ["ﾔﾏﾀﾞｶﾆ", "ｻｲﾄｳﾊﾅ", "ﾀｶﾊｼ"] {
            assert_eq!(taken_for(text, SHIFT_JIS), TextEncoding::ShiftJis, "{text}");
        }
        for text in ["배송중", "홍길동"] {
            assert_eq!(taken_for(text, EUC_KR), TextEncoding::EucKr, "{text}");
        }
        assert!(of_text("JPY", TextEncoding::ShiftJis) > of_text("JPY", TextEncoding::EucKr));
    }
}
