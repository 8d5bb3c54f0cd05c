//! What readers call a payment method and the reason of a cancellation: the words of `batchctl.toml`, otherwise ours for
//! the usual codes of platforms and payment providers, otherwise the shop's own.
//!
//! Programs get the code as the shop wrote it. A code is recognised however it is spelt (`credit_card`, `Credit Card`), and
//! by its wording in another language: a shop's export has words and no codes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::config::{ReportConfig, Wording};
use crate::locale::Locale;

/// A wording in English, Japanese and Korean.
type Words = [&'static str; 3];

/// A built-in wording, and the codes that it stands for besides itself.
type Entry = (Words, &'static [&'static str]);

/// Payment methods. Names of brands are those that they bear in each language.
const PAYMENT_METHODS: &[Entry] = &[
    (
        ["Credit card", "クレジットカード", "신용카드"],
        &[
            "card",
            "cc",
            "クレジットカード決済",
            "クレジットカード払い",
            "クレジット決済",
            "クレジット",
            "カード決済",
            "カード払い",
            "카드",
            "카드 결제",
            "신용카드 결제",
        ],
    ),
    (["Debit card", "デビットカード", "체크카드"], &[]),
    (
        ["Bank transfer", "銀行振込", "무통장입금"],
        &[
            "bacs",
            "bank",
            "bank_deposit",
            "base_bt",
            "direct_bank_transfer",
            "wire_transfer",
            "銀行振込(前払い)",
            "振込",
            "무통장",
            "무통장 입금",
        ],
    ),
    (
        ["Real-time bank transfer", "リアルタイム口座振替", "실시간 계좌이체"],
        &["account_transfer", "realtime_transfer", "계좌이체"],
    ),
    (["Virtual account", "バーチャル口座", "가상계좌"], &["vbank", "virtual_bank", "仮想口座"]),
    (
        ["Convenience store", "コンビニ決済", "편의점 결제"],
        &[
            "konbini",
            "cvs",
            "コンビニ",
            "コンビニ払い",
            "コンビニエンスストア決済",
            "コンビニ決済(前払い)",
            "편의점",
        ],
    ),
    (
        ["Cash on delivery", "代金引換", "착불 결제(대금 상환)"],
        &[
            "cod",
            "cash_on_delivery_cod",
            "代引",
            "代引き",
            "商品代引",
            "代金引換払い",
            "착불 결제",
            "대금상환",
        ],
    ),
    (
        ["Pay later", "後払い", "후불 결제"],
        &["atobarai", "deferred", "deferred_payment", "後払い決済", "후불"],
    ),
    (
        ["Carrier billing", "キャリア決済", "휴대폰 결제"],
        &[
            "carrier",
            "cell",
            "mobile",
            "mobile_phone",
            "phone_bill",
            "携帯キャリア決済",
            "휴대폰",
            "휴대폰 소액결제",
        ],
    ),
    (["Pay-easy", "Pay-easy（ペイジー）", "Pay-easy"], &["ペイジー"]),
    (["Postal transfer", "郵便振替", "우체국 계좌이체"], &["ゆうちょ振替", "ゆうちょ銀行振込", "우편 대체"]),
    (["PayPal", "PayPal", "PayPal"], &["paypal_express_checkout", "ペイパル", "페이팔"]),
    (["Apple Pay", "Apple Pay", "Apple Pay"], &["애플페이"]),
    (["Google Pay", "Google Pay", "Google Pay"], &["구글페이"]),
    (["Amazon Pay", "Amazon Pay", "Amazon Pay"], &["amazon_payments", "アマゾンペイ", "아마존페이"]),
    (["PayPay", "PayPay", "PayPay"], &["ペイペイ", "페이페이"]),
    (["Rakuten Pay", "楽天ペイ", "라쿠텐페이"], &["楽天pay"]),
    (["LINE Pay", "LINE Pay", "라인페이"], &["ラインペイ"]),
    (["d Barai", "d払い", "d払い(디바라이)"], &["docomo", "d바라이"]),
    (["au PAY", "au PAY", "au PAY"], &["aupay", "auかんたん決済"]),
    (["Merpay", "メルペイ", "메르페이"], &[]),
    (["KakaoPay", "カカオペイ", "카카오페이"], &[]),
    (["Naver Pay", "ネイバーペイ", "네이버페이"], &["npay"]),
    (["Toss Pay", "トスペイ", "토스페이"], &["toss", "토스"]),
    (["PAYCO", "PAYCO", "페이코"], &[]),
    (["Samsung Pay", "サムスンペイ", "삼성페이"], &[]),
    (
        ["Points", "ポイント", "적립금"],
        &["point", "mileage", "ポイント払い", "全額ポイント払い", "포인트", "마일리지"],
    ),
    (["Store credit", "ストアクレジット", "예치금"], &["store_credit"]),
    (["Gift card", "ギフトカード", "기프트카드"], &["gift_certificate", "ギフト券", "상품권"]),
    (["Cash", "現金", "현금"], &["現金払い"]),
    (["Check", "小切手", "수표"], &["cheque", "check_payments", "cheque_payments"]),
    (["Invoice", "請求書払い", "청구서 결제"], &["掛け払い", "掛払い"]),
    (["Manual payment", "手動決済", "수동 결제"], &["manual"]),
    (["Other", "その他", "기타"], &["others", "etc"]),
];

/// Codes of Cafe24 that mean something else elsewhere, or nothing.
const CAFE24_PAYMENT_METHODS: &[(&str, &str)] =
    &[("cash", "bank_transfer"), ("tcash", "account_transfer"), ("icash", "virtual_account")];

/// Reasons of cancellations.
const CANCELLATION_REASONS: &[Entry] = &[
    (
        ["Customer request", "お客様都合", "고객 요청"],
        &["customer", "buyer_request", "requested_by_customer", "お客様のご都合", "購入者都合", "고객 사정"],
    ),
    (
        ["Changed mind", "購入意思の変更", "단순 변심"],
        &["change_of_mind", "changed_my_mind", "お気持ちの変化", "변심"],
    ),
    (
        ["Ordered by mistake", "誤注文", "주문 실수"],
        &["order_mistake", "wrong_order", "mistake", "ご注文間違い", "注文間違い"],
    ),
    (["Duplicate order", "重複注文", "중복 주문"], &["duplicate", "二重注文"]),
    (
        ["Out of stock", "在庫切れ", "품절"],
        &["inventory", "no_stock", "sold_out", "items_unavailable", "在庫なし", "欠品", "재고 부족"],
    ),
    (
        ["Not paid in time", "入金期限切れ", "결제 기한 만료"],
        &[
            "payment_timeout",
            "payment_expired",
            "expired",
            "unpaid",
            "not_paid",
            "未入金",
            "미입금",
            "입금 기한 만료",
        ],
    ),
    (
        ["Payment declined", "決済エラー（承認不可）", "결제 실패"],
        &[
            "declined",
            "payment_failed",
            "payment_failure",
            "payment_error",
            "決済エラー",
            "決済不承認",
            "決済失敗",
            "결제 오류",
        ],
    ),
    (["Fraud", "不正注文", "부정 주문"], &["fraudulent", "fraud_suspected", "不正利用"]),
    (
        ["Wrong address", "住所不備", "배송지 오류"],
        &["invalid_address", "address_error", "incorrect_address", "住所間違い", "주소 오류"],
    ),
    (["Undeliverable", "配達不能", "배송 불가"], &["not_deliverable", "配送不可"]),
    (
        ["Delivery delay", "配送遅延", "배송 지연"],
        &["delayed", "shipping_delay", "delivery_delayed", "late_delivery", "発送遅延"],
    ),
    (["Pricing error", "価格誤表示", "가격 오류"], &["price_error", "wrong_price", "価格誤り"]),
    (["Damaged", "破損", "상품 파손"], &["damaged_in_transit", "파손"]),
    (["Defective", "商品不良", "상품 불량"], &["defect", "不良品", "初期不良", "불량"]),
    (["Returned", "返品", "반품"], &["return"]),
    (["Shop's decision", "店舗都合", "판매자 사정"], &["shop_request", "seller", "merchant", "판매자 요청"]),
    (["Staff error", "スタッフのミス", "직원 실수"], &["staff", "スタッフの誤り"]),
    (["Test order", "テスト注文", "테스트 주문"], &["test"]),
    (["Other", "その他", "기타"], &["others", "etc"]),
];

static PAYMENT_METHODS_BY_CODE: LazyLock<BTreeMap<String, Words>> =
    LazyLock::new(|| by_code(PAYMENT_METHODS));
static CANCELLATION_REASONS_BY_CODE: LazyLock<BTreeMap<String, Words>> =
    LazyLock::new(|| by_code(CANCELLATION_REASONS));

/// The words of a report.
#[derive(Debug, Clone, Default)]
pub struct Wordings {
    payment_methods: BTreeMap<String, Wording>,
    cancellation_reasons: BTreeMap<String, Wording>,
}

impl Wordings {
    /// The configured words over the built-in ones.
    pub fn new(config: &ReportConfig) -> Self {
        let by_spelling = |words: &BTreeMap<String, Wording>| {
            words.iter().map(|(code, wording)| (spelt(code), wording.clone())).collect()
        };
        Self {
            payment_methods: by_spelling(&config.payment_methods),
            cancellation_reasons: by_spelling(&config.cancellation_reasons),
        }
    }

    /// What readers call a payment method of a platform's mall.
    pub fn payment_method<'c>(&self, code: &'c str, platform: &str, locale: Locale) -> Cow<'c, str> {
        let spelling = spelt(code);
        if let Some(wording) = self.payment_methods.get(&spelling).and_then(|wording| wording.of(locale)) {
            return Cow::Owned(wording.to_owned());
        }
        let of_cafe24 =
            CAFE24_PAYMENT_METHODS.iter().find(|(code, _)| platform == "cafe24" && spelling == *code);
        let spelling = of_cafe24.map_or(spelling, |(_, same_as)| spelt(same_as));
        built_in(&PAYMENT_METHODS_BY_CODE, &spelling, locale).unwrap_or(Cow::Borrowed(code))
    }

    /// What readers call the reason of a cancellation.
    pub fn cancellation_reason<'c>(&self, reason: &'c str, locale: Locale) -> Cow<'c, str> {
        let spelling = spelt(reason);
        if let Some(wording) = self.cancellation_reasons.get(&spelling).and_then(|wording| wording.of(locale))
        {
            return Cow::Owned(wording.to_owned());
        }
        built_in(&CANCELLATION_REASONS_BY_CODE, &spelling, locale).unwrap_or(Cow::Borrowed(reason))
    }
}

/// Names for readers: the code where there is no name, and beside one that something else has too.
pub fn distinct<'n>(named: impl Iterator<Item = (&'n str, &'n str)>) -> Vec<String> {
    let named: Vec<(&str, &str)> =
        named.map(|(code, name)| (code, if name.trim().is_empty() { code } else { name.trim() })).collect();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, name) in &named {
        *uses.entry(*name).or_default() += 1;
    }
    let shown = |(code, name): &(&str, &str)| match uses.get(name) {
        Some(2..) if code != name => format!("{name} ({code})"),
        _ => (*name).to_owned(),
    };
    named.iter().map(shown).collect()
}

fn built_in(words: &BTreeMap<String, Words>, spelling: &str, locale: Locale) -> Option<Cow<'static, str>> {
    let [english, japanese, korean] = words.get(spelling)?;
    Some(Cow::Borrowed(locale.pick(*english, *japanese, *korean)))
}

/// The words by each spelling that they stand for.
fn by_code(entries: &[Entry]) -> BTreeMap<String, Words> {
    let spellings = |(words, codes): &Entry| {
        let words = *words;
        words
            .into_iter()
            .chain(codes.iter().copied())
            .map(move |code| (spelt(code), words))
            .collect::<Vec<_>>()
    };
    entries.iter().flat_map(spellings).collect()
}

/// A code without what its spellings differ in: case, spaces, hyphens, brackets.
fn spelt(code: &str) -> String {
    code.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text in each language.
    fn in_each(wording: impl Fn(Locale) -> String) -> [String; 3] {
        Locale::ALL.map(wording)
    }

    #[test]
    fn a_usual_code_is_read_in_the_readers_language_however_it_is_spelt() {
        let words = Wordings::default();
        let method = |code: &str| in_each(|locale| words.payment_method(code, "csv", locale).into_owned());
        for code in ["card", "CREDIT_CARD", "credit-card", "Credit card", "クレジットカード", "신용 카드"]
        {
            assert_eq!(method(code), ["Credit card", "クレジットカード", "신용카드"], "{code}");
        }
        assert_eq!(method("KONBINI"), ["Convenience store", "コンビニ決済", "편의점 결제"]);
        assert_eq!(method("銀行振込（前払い）"), ["Bank transfer", "銀行振込", "무통장입금"]);
        assert_eq!(method("VIRTUAL_ACCOUNT"), ["Virtual account", "バーチャル口座", "가상계좌"]);
        assert_eq!(method("PAYPAY"), ["PayPay", "PayPay", "PayPay"]);
        let reason = |code: &str| in_each(|locale| words.cancellation_reason(code, locale).into_owned());
        assert_eq!(reason("CUSTOMER_REQUEST"), ["Customer request", "お客様都合", "고객 요청"]);
        assert_eq!(reason("inventory"), ["Out of stock", "在庫切れ", "품절"]);
        assert_eq!(reason("欠品"), ["Out of stock", "在庫切れ", "품절"]);
    }

    #[test]
    fn an_unknown_code_stays_as_it_is() {
        let words = Wordings::default();
        for code in ["NP後払いwiz", "サイズ違い", "<b>card</b>", "-", "credit"] {
            assert_eq!(words.payment_method(code, "csv", Locale::Ja), code);
            assert_eq!(words.cancellation_reason(code, Locale::Ko), code);
        }
    }

    #[test]
    fn a_code_means_what_its_platform_means_by_it() {
        let words = Wordings::default();
        assert_eq!(words.payment_method("cash", "cafe24", Locale::Ko), "무통장입금");
        assert_eq!(words.payment_method("cash", "csv", Locale::Ko), "현금");
        assert_eq!(words.payment_method("tcash", "cafe24", Locale::Ko), "실시간 계좌이체");
    }

    #[test]
    fn the_configured_words_come_first_and_a_missing_language_is_ours() {
        let mut config = ReportConfig::default();
        let own: BTreeMap<String, Wording> = toml::from_str(
            "card = { ja = \"カード（GMO）\" }\n\"NP後払いwiz\" = \"NP\"\nC1 = { en = \"Size\", ja = \"サイズ違い\" }",
        )
        .unwrap();
        config.payment_methods.clone_from(&own);
        config.cancellation_reasons = own;
        let words = Wordings::new(&config);
        assert_eq!(words.payment_method("CARD", "csv", Locale::Ja), "カード（GMO）");
        assert_eq!(words.payment_method("CARD", "csv", Locale::Ko), "신용카드");
        assert_eq!(words.payment_method("np後払いWIZ", "csv", Locale::Ko), "NP");
        assert_eq!(words.cancellation_reason("c1", Locale::Ja), "サイズ違い");
        assert_eq!(words.cancellation_reason("c1", Locale::Ko), "c1");
    }

    #[test]
    fn a_name_that_two_have_is_shown_with_its_code_and_none_is_the_code() {
        let named = [
            ("tokyo", "本店"),
            ("osaka", "本店 "),
            ("seoul", "서울몰"),
            ("kobe", " "),
            ("a", "b"),
            ("b", "b"),
        ];
        assert_eq!(
            distinct(named.into_iter()),
            ["本店 (tokyo)", "本店 (osaka)", "서울몰", "kobe", "b (a)", "b"]
        );
    }

    #[test]
    fn no_spelling_stands_for_two_words() {
        for entries in [PAYMENT_METHODS, CANCELLATION_REASONS] {
            let mut seen: BTreeMap<String, Words> = BTreeMap::new();
            for (words, codes) in entries {
                for code in words.iter().chain(codes.iter()) {
                    let other = seen.insert(spelt(code), *words);
                    assert!(other.is_none_or(|other| other == *words), "{code}");
                }
            }
        }
        let targets = CAFE24_PAYMENT_METHODS.iter().map(|(_, same_as)| spelt(same_as));
        assert!(targets.into_iter().all(|code| PAYMENT_METHODS_BY_CODE.contains_key(&code)));
    }
}
