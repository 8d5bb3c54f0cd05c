//! The columns of an order that a mapping passes over although they may change its money: what was cancelled or went back,
//! what the buyer paid instead of the total, a second column of the same name.
//!
//! What counts is what the cells say. Names are judged by what they are made of, because shops have more of them than any
//! list: a cell that says that goods went back is a doubt under every header, and so is an amount that no other column
//! repeats.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Failure;
use crate::money::AmountStyle;
use crate::printable::shortened;
use crate::wording::counted;

use super::super::reader::{Record, Source};
use super::super::words::normal;
use super::names::WORD_CHARACTERS;
use super::numbers::loose_number;
use super::sample::Sample;

/// Parts of words for what was cancelled, went back, or was never meant.
const REVERSALS: &str = "返品 返金 返送 返却 返戻 払戻 払い戻 キャンセル 取消 取り消 受取拒否 受取辞退 赤伝 赤黒 削除 破棄 無効 \
    テスト 환불 취소 반품 반송 삭제 철회 무효 테스트";
/// Likewise, as whole words.
const REVERSAL_WORDS: &str = "refund refunds refunded refunding return returns returned cancel cancels canceled cancelled cancelling \
    canceling cancelation cancellation cancellations chargeback chargebacks void voided reversal reversed \
    dispute disputed undeliverable deleted test testing";
/// What makes a header about that beside those parts and words.
const REVERSAL_HEADER_WORDS: &str = "credit credits credited delete";
/// Headers that tell kinds of lines apart, without what stands between their words.
const KIND_HEADERS: &str = "区分 種別 取引区分 取引種別 取引種類 注文区分 注文種別 受注区分 受注種別 伝票区分 伝票種別 売上区分 \
    売上種別 販売区分 処理区分 明細区分 明細種別 行区分 データ区分 データ種別 type kind transactiontype \
    transactionkind transtype ordertype saletype salestype recordtype linetype rowtype entrytype \
    documenttype doctype 구분 유형 거래구분 거래유형 주문구분 주문유형 판매구분";
/// What makes a header one of a deadline, a place or a rule, and not of what happened.
const NOT_OF_EVENTS: &str =
    "期限 可否 可能 先 ポリシー 기한 가능 주소 deadline until policy address url window label card";
/// Parts of the names of amounts.
const MONEY: &str = "額 金 料 計 税 価 円 値引 割引 クーポン ポイント 금액 결제 세액 세금 부가세 가치세 과세 배송비 비용 요금 \
    수수료 합계 총액 가격 할인 쿠폰 적립금 포인트 예치금 입금";
/// Likewise, as whole words.
const MONEY_WORDS: &str = "amount amounts amt paid payment payments payable charge charges charged surcharge net gross total totals \
    subtotal sum price cost fee fees tax taxes vat gst duty revenue sales due balance discount discounts \
    coupon voucher points tip deposit";
/// English names of amounts that are written without anything between their words.
const MONEY_PARTS: &str = "amount total price discount";
/// What makes a number something else than an amount.
const NOT_MONEY: &str = "番号 コード 率 回数 件数 個数 点数 数量 人数 日時 時刻 電話 獲得 付与 加算 残 번호 코드 일시 일자 율 \
    횟수 수량 적립예정 적립율";
/// Likewise, as whole words.
const NOT_MONEY_WORDS: &str = "id no number code date time at rate percent percentage qty quantity count weight method ref reference \
    earned awarded on";
/// Cells that say no.
const NO: &str =
    "no n false off none null nil n/a - -- — ー × なし 無し 無 未 いいえ 否 없음 아니오 아니요 안함 해당없음";
/// What follows a word and takes it back: `返品不可`, `취소 안함`.
const DENIALS_AFTER: &str = "不可 可 なし 無し 無 対象外 不要 안함 불가 없음 가능 아님";
/// Likewise before it: `未キャンセル`. An order that is `未返金` waits for its refund, so not of any word.
const DENIED: &str = "未キャンセル 未取消 미취소 미반품";
const DENIALS_BEFORE: &str = "no not non never without un";
/// Different cells of a column whose meaning is remembered.
const KEPT_CELLS: usize = 1_000;
/// Words of a kind of line that are shown.
const SHOWN_WORDS: usize = 3;

// ---------------------------------------------------------------- words

fn is_one_of(these: &str, word: &str) -> bool {
    these.split(' ').any(|one| one == word)
}

/// A name or cell in its parts: `isCancelled`, `is_cancelled`, `Is Cancelled`.
fn words_of(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for character in text.chars() {
        let is_word = character.is_ascii_alphanumeric();
        let begins = character.is_ascii_uppercase() && before.is_ascii_lowercase();
        if (!is_word || begins) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if is_word && let Some(last) = words.last_mut() {
            last.push(character.to_ascii_lowercase());
        }
        before = character;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A name as it reads: `total_amount` is `Total Amount`.
fn as_read(name: &str) -> String {
    normal(name).chars().filter(|character| !matches!(character, '_' | '-' | '.' | '・')).collect()
}

/// The word in a text that says that something was cancelled, went back, or was never meant.
pub(super) fn reversal_in(text: &str) -> Option<&'static str> {
    let plain = normal(text);
    // An address of a mail or a page says nothing about the order.
    if plain.contains('@') || plain.contains("://") {
        return None;
    }
    if !plain.is_ascii() {
        let told = REVERSALS.split(' ').find(|part| says(&plain, part));
        if told.is_some() {
            return told;
        }
    }
    let words = words_of(text);
    for (place, word) in words.iter().enumerate() {
        let before = if place == 0 { "" } else { words[place - 1].as_str() };
        if is_one_of(DENIALS_BEFORE, before) {
            continue;
        }
        if word == "back" && before.starts_with("charge") {
            return Some("chargeback");
        }
        if let Some(told) = REVERSAL_WORDS.split(' ').find(|one| one == word) {
            return Some(told);
        }
    }
    None
}

/// Whether a text has a part that nothing takes back.
fn says(text: &str, part: &str) -> bool {
    text.match_indices(part).any(|(start, _)| {
        let (before, after) = (&text[..start], &text[start + part.len()..]);
        let after =
            after.trim_start_matches(['は', 'の', 'が', 'も', ':', '/', '(', '-', '은', '는', '이', '가']);
        let is_denied = DENIALS_AFTER.split(' ').any(|denial| after.starts_with(denial))
            || DENIED.split(' ').any(|denied| {
                denied.strip_suffix(part).is_some_and(|denial| !denial.is_empty() && before.ends_with(denial))
            });
        // A contest is not a test, and neither is a tester.
        let is_in_a_word = matches!(part, "テスト" | "테스트")
            && before.ends_with(|last: char| matches!(last, 'ァ'..='ー' | '콘'));
        !is_denied && !is_in_a_word
    })
}

/// Whether a cell says no: nothing, zero, or that something did not happen.
fn is_no(cell: &str) -> bool {
    let plain = normal(cell);
    if plain.is_empty() || is_one_of(NO, &plain) {
        return true;
    }
    if plain
        .chars()
        .all(|character| matches!(character, '0' | '.' | ',' | '-' | '¥' | '円' | '원' | '₩' | '$'))
    {
        return true;
    }
    let names_it = REVERSALS.split(' ').any(|part| plain.contains(part))
        || words_of(cell).iter().any(|word| is_one_of(REVERSAL_WORDS, word));
    names_it && reversal_in(cell).is_none()
}

/// What a header is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct About {
    /// What was cancelled, went back, or was never meant.
    reversal: bool,
    /// Which kind of line it is.
    kind: bool,
    money: bool,
}

impl About {
    fn of(header: &str) -> Self {
        let plain = as_read(header);
        let words = words_of(header);
        let has = |parts: &str| parts.split(' ').any(|part| plain.contains(part));
        let has_word = |these: &str| words.iter().any(|word| is_one_of(these, word));
        // 返品, 返金, 返送, 返数; but not 返信 (an answer) and 返礼 (a gift).
        let goes_back = plain.match_indices('返').any(|(start, part)| {
            let after = plain[start + part.len()..].chars().next();
            !after.is_some_and(|after| "信答事礼".contains(after))
        });
        let is_no_event = NOT_OF_EVENTS.split(' ').any(|part| {
            if part.is_ascii() { words.iter().any(|word| word == part) } else { plain.contains(part) }
        });
        let reversal =
            (goes_back || reversal_in(header).is_some() || has_word(REVERSAL_HEADER_WORDS)) && !is_no_event;
        let is_other_number = has(NOT_MONEY)
            || plain.ends_with("cd")
            || plain.ends_with(['日', '時', '일'])
            || has_word(NOT_MONEY_WORDS);
        let money = has(MONEY) || has(MONEY_PARTS) || has_word(MONEY_WORDS);
        Self { reversal, kind: is_one_of(KIND_HEADERS, &plain), money: money && !is_other_number }
    }
}

// ---------------------------------------------------------------- columns

/// What is known of the mapping.
pub(super) struct Known<'a> {
    /// The header.
    pub(super) header: &'a [String],
    /// How amounts are written.
    pub(super) style: &'a AmountStyle,
    /// Where the number of the order is.
    pub(super) order_no: Option<usize>,
    /// Where the total is.
    pub(super) total: Option<usize>,
    /// The places that are used.
    pub(super) used: &'a BTreeSet<usize>,
    /// Those that are passed over and about which nothing was said.
    pub(super) passed_over: &'a [usize],
}

/// A column that is passed over.
struct Column<'a> {
    place: usize,
    name: &'a str,
    about: About,
    /// The used column that reads as the same name.
    namesake: Option<usize>,
    /// What its cells say, some of them.
    meanings: BTreeMap<String, Option<&'static str>>,
    /// The first word that says that something was cancelled or went back, and the lines that have one.
    reversal: Option<&'static str>,
    reversal_lines: u64,
    /// Lines whose cell is neither blank nor says no, and the first such cells.
    telling_lines: u64,
    telling: Vec<String>,
    amounts: u64,
    texts: u64,
    has_amount: bool,
    /// The used columns with the same amount on all lines.
    equal: BTreeSet<usize>,
    /// Lines with another amount than the total.
    differing_lines: u64,
    /// Lines with another cell than its namesake.
    unlike_lines: u64,
}

/// What is doubtful about the columns that are passed over.
pub(super) fn doubts(known: &Known<'_>, sample: &Sample, source: &Source) -> Result<Vec<String>, Failure> {
    let mut columns: Vec<Column<'_>> =
        known.passed_over.iter().map(|place| Column::new(known, *place)).collect();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let mut lines = 0;
    let mut before = String::new();
    sample.lines(source, |record| {
        lines += 1;
        let own = known.order_no.map(|place| record.field(place)).unwrap_or_default();
        let continues = own.is_empty() || own == before;
        for column in &mut columns {
            column.see(record, known, continues);
        }
        if !own.is_empty() {
            own.clone_into(&mut before);
        }
    })?;
    Ok(columns.iter().filter_map(|column| column.doubt(known, lines)).collect())
}

impl<'a> Column<'a> {
    fn new(known: &Known<'a>, place: usize) -> Self {
        let name = known.header[place].as_str();
        let own = as_read(name);
        Self {
            place,
            name,
            about: About::of(name),
            namesake: known.used.iter().copied().find(|used| as_read(&known.header[*used]) == own),
            meanings: BTreeMap::new(),
            reversal: None,
            reversal_lines: 0,
            telling_lines: 0,
            telling: Vec::new(),
            amounts: 0,
            texts: 0,
            has_amount: false,
            equal: known.used.clone(),
            differing_lines: 0,
            unlike_lines: 0,
        }
    }

    fn see(&mut self, record: &Record, known: &Known<'_>, continues: bool) {
        let cell = record.field(self.place);
        if self.namesake.is_some_and(|namesake| record.field(namesake) != cell) {
            self.unlike_lines += 1;
        }
        if cell.is_empty() {
            return;
        }
        if let Some(word) = self.meaning(cell) {
            self.reversal.get_or_insert(word);
            self.reversal_lines += 1;
        }
        if (self.about.reversal || self.about.kind) && !is_no(cell) {
            self.telling_lines += 1;
            if self.telling.len() < SHOWN_WORDS && !self.telling.iter().any(|known| known == cell) {
                self.telling.push(cell.to_owned());
            }
        }
        self.compare(cell, record, known, continues);
    }

    /// What a cell says; the same cells come again and again.
    fn meaning(&mut self, cell: &str) -> Option<&'static str> {
        if let Some(known) = self.meanings.get(cell) {
            return *known;
        }
        let told = reversal_in(cell);
        if self.meanings.len() < KEPT_CELLS {
            self.meanings.insert(cell.to_owned(), told);
        }
        told
    }

    /// Compares an amount with those that are used.
    fn compare(&mut self, cell: &str, record: &Record, known: &Known<'_>, continues: bool) {
        let Some(amount) = loose_number(cell, known.style) else {
            self.texts += 1;
            return;
        };
        self.amounts += 1;
        self.has_amount |= amount != 0;
        if !self.about.money {
            return;
        }
        // Below the first line of an order a blank cell may stand for the same.
        let is_same = |other: &str| match loose_number(other, known.style) {
            Some(other) => amount == other,
            None => other.is_empty() && (continues || amount == 0),
        };
        self.equal.retain(|place| is_same(record.field(*place)));
        if known.total.is_some_and(|total| !is_same(record.field(total))) {
            self.differing_lines += 1;
        }
    }

    fn doubt(&self, known: &Known<'_>, lines: u64) -> Option<String> {
        let shown = |name: &str| shortened(name, WORD_CHARACTERS).into_owned();
        let name = shown(self.name);
        let of = |count: u64| format!("{count} of {}", counted(lines, "sampled line", "sampled lines"));
        let is_amount = self.has_amount && self.amounts > self.texts;
        if let Some(word) = self.reversal {
            return Some(format!(
                "`{name}` says `{word}` on {}, but is not used: was something cancelled, returned or paid back?",
                of(self.reversal_lines)
            ));
        }
        if self.about.reversal && self.telling_lines > 0 {
            if is_amount {
                return Some(format!("whether `{name}` is money that was paid back: it is not used"));
            }
            return Some(format!(
                "`{name}` is filled on {}, but is not used: does it say that something was cancelled, returned or paid back?",
                of(self.telling_lines)
            ));
        }
        if self.about.kind && self.telling_lines > 0 {
            let words: Vec<String> = self.telling.iter().map(|word| format!("`{}`", shown(word))).collect();
            return Some(format!(
                "`{name}` is not used, but has words such as {}: does it tell sales from other lines?",
                words.join(", ")
            ));
        }
        if let Some(namesake) = self.namesake.filter(|_| self.unlike_lines > 0) {
            return Some(format!(
                "`{name}` is not used: its name reads like that of `{}`, and it differs on {}",
                shown(&known.header[namesake]),
                of(self.unlike_lines)
            ));
        }
        if !self.about.money || !is_amount || !self.equal.is_empty() {
            return None;
        }
        Some(match known.total {
            Some(total) => format!(
                "`{name}` is an amount that is not used: it differs from `{}`, the total, on {}",
                shown(&known.header[total]),
                of(self.differing_lines)
            ),
            None => format!("`{name}` is an amount that is not used"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_for_what_went_back_is_found_unless_it_is_taken_back() {
        for text in [
            "返送",
            "一部返金",
            "ｷｬﾝｾﾙ済",
            "注文 取り消し",
            "払い戻し済み",
            "テスト注文",
            "Partially Refunded",
            "returned to sender",
            "charge back",
            "VOID",
            "isCancelled",
            "test_order",
            "부분 취소",
            "반품완료",
            "未返金",
            "返品不可だが返金",
        ] {
            assert!(reversal_in(text).is_some(), "{text}");
        }
        for text in [
            "",
            "返品不可",
            "返品は不可",
            "キャンセル可能",
            "未キャンセル",
            "キャンセルなし",
            "취소안함",
            "취소 불가",
            "ファッションコンテスト",
            "not returned",
            "non-refundable",
            "returning customer",
            "latest",
            "avoid",
            "test@example.com",
            "https://example.com/return/1",
            "急ぎ",
        ] {
            assert_eq!(reversal_in(text), None, "{text}");
        }
    }

    #[test]
    fn a_header_is_about_what_its_parts_say() {
        for header in [
            "返品金額",
            "払い戻し",
            "キャンセル金額",
            "返品数",
            "返品数量",
            "キャンセル数量",
            "Returned Amount",
            "Chargeback",
            "Credit",
            "Cancelled Qty",
            "취소금액",
            "返金状況",
            "返品状況",
            "キャンセル状況",
            "キャンセルフラグ",
            "Refund Status",
            "Return Status",
            "Cancelled",
            "Is Cancelled",
            "IsCancelled",
            "テスト注文",
            "Void",
            "削除フラグ",
            "취소여부",
            "is_test",
        ] {
            assert!(About::of(header).reversal, "{header}");
        }
        for header in
            ["返信", "返礼品", "返品先", "キャンセル期限日", "Return Address", "Credit Card", "Avoid", "備考"]
        {
            assert!(!About::of(header).reversal, "{header}");
        }
        for header in ["取引区分", "区分", "Type", "Transaction Type", "order_type", "Order Type", "구분"]
        {
            assert!(About::of(header).kind, "{header}");
        }
        for header in ["会員区分", "税区分", "Card Type", "配送区分"] {
            assert!(!About::of(header).kind, "{header}");
        }
        for header in [
            "入金額",
            "決済金額",
            "実支払額",
            "ご請求額",
            "実請求額",
            "差引金額",
            "お支払金額",
            "Paid Amount",
            "AmountPaid",
            "Charged",
            "Net",
            "ordertotal",
            "うち消費税",
            "税",
            "부가세액",
            "결제금액",
            "10%対象税額",
            "使用ポイント",
        ] {
            assert!(About::of(header).money, "{header}");
        }
        for header in [
            "税率",
            "会計番号",
            "料金コード",
            "支払回数",
            "入金日",
            "決済日時",
            "Payment ID",
            "Tax Rate",
            "Paid At",
            "獲得ポイント",
            "결제번호",
            "결제일시",
            "数量",
            "Planet",
        ] {
            assert!(!About::of(header).money, "{header}");
        }
    }

    #[test]
    fn a_cell_says_no_in_many_ways() {
        for cell in
            ["", "0", "0.00", "¥0", "No", "FALSE", "なし", "-", "취소안함", "未キャンセル", "not cancelled"]
        {
            assert!(is_no(cell), "{cell}");
        }
        for cell in ["1", "yes", "○", "済", "취소", "未返金", "true", "500"] {
            assert!(!is_no(cell), "{cell}");
        }
    }
}
