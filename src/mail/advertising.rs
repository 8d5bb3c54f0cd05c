//! What the law requires advertising by mail to show about its sender, and in its subject: rules by country, as data.
//!
//! The country is that of the mail's language: whoever reads Korean mail is, as a rule, in Korea. A mail that the rules
//! do not allow is not sent in any environment; whether the rules are complete is for the shop's counsel to say.

use crate::address;
use crate::config::{Config, ShopConfig};
use crate::failure::Failure;
use crate::locale::Locale;

/// The rule of one country.
#[derive(Debug)]
struct Rule {
    language: Locale,
    country: &'static str,
    /// Where it is written.
    law: &'static str,
    /// What is shown about the sender.
    shows: &'static [Particular],
    /// With what exactly the subject begins.
    subject_mark: Option<&'static str>,
    /// How the way to refuse is told: of each group one word is there, without blanks and in lower case.
    refusal: &'static [&'static [&'static str]],
    /// How a consent has to be confirmed to whoever gave it.
    confirmation: Option<Confirmation>,
}

/// A consent has to be confirmed to whoever gave it, again and again. Silence keeps it.
#[derive(Debug)]
pub struct Confirmation {
    /// The language that it is about.
    pub language: Locale,
    /// A consent is confirmed before this many months are over, counted from the day on which it was given.
    pub months: u32,
    /// Where it is written.
    law: &'static str,
    /// What is shown about the sender.
    shows: &'static [Particular],
}

/// The kind of the mails that confirm consents. They are not advertising, and pointless once the consent is gone.
pub const CONSENT_NOTICE: &str = "consent-notice";

/// What is shown about the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Particular {
    Name,
    PostalAddress,
    Telephone,
}

const RULES: [Rule; 3] = [
    Rule {
        language: Locale::Ja,
        country: "Japan",
        law: "Act on Regulation of Transmission of Specified Electronic Mail, article 4",
        shows: &[Particular::Name, Particular::PostalAddress],
        subject_mark: None,
        refusal: &[&["停止", "解除", "拒否", "中止", "不要", "希望しない", "希望されない", "unsubscribe"]],
        confirmation: None,
    },
    Rule {
        language: Locale::Ko,
        country: "Korea",
        law: "Network Act, article 50, and annex 6 of its decree",
        shows: &[Particular::Name, Particular::PostalAddress, Particular::Telephone],
        // `[광고]`, `(광 고)` or `AD` count as evasion.
        subject_mark: Some("(광고)"),
        refusal: &[&["수신거부"], &["unsubscribe"]],
        // The decree names what it shows: the sender, that and on which day consent was given, how to keep and to withdraw it.
        confirmation: Some(Confirmation {
            language: Locale::Ko,
            months: 24,
            law: "Network Act, article 50(8), and article 62-3 of its decree",
            shows: &[Particular::Name],
        }),
    },
    Rule {
        language: Locale::En,
        country: "the USA",
        law: "CAN-SPAM Act, section 5(a)(5)",
        shows: &[Particular::PostalAddress],
        subject_mark: None,
        refusal: &[],
        confirmation: None,
    },
];

impl Particular {
    /// Its key, its name, and an example as the language's country writes it.
    fn setting(self, language: Locale) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Name => ("name", "name", language.pick("Sample Shop", "サンプルショップ", "샘플 쇼핑몰")),
            Self::PostalAddress => {
                let example = language.pick(
                    "12 Sample Street, Springfield, IL 62701, USA",
                    "〒231-0001 神奈川県横浜市中区港町1-2-3",
                    "서울특별시 중구 세종대로 110",
                );
                ("address", "postal address", example)
            }
            Self::Telephone => (
                "phone",
                "telephone number",
                language.pick("+1 217 555 0100", "045-000-0000", "02-1234-5678"),
            ),
        }
    }
}

/// The rules, and what the shop says about itself.
#[derive(Debug, Clone)]
pub struct Advertising {
    shop: ShopConfig,
}

impl Advertising {
    /// Reads `[mail.shop]`; the name may also be that of the sender.
    pub fn new(config: &Config) -> Self {
        let mail = config.mail();
        let mut shop = mail.shop.clone();
        let from = mail.from.as_deref().and_then(|from| address::parse(from).ok());
        shop.name = shop.name.or(from.and_then(|from| from.name));
        Self { shop }
    }

    /// The rules for a shop that says this about itself.
    #[cfg(test)]
    pub fn of(shop: ShopConfig) -> Self {
        Self { shop }
    }

    /// What the configuration lacks for advertising in a language. No mail can be sent before it is there.
    pub fn lacks(&self, language: Locale) -> Option<Failure> {
        let rule = rule(language);
        let law = format!("in {} ({})", rule.country, rule.law);
        self.lacking(rule.shows, language, &format!("advertising in this language (`{language}`)"), &law)
    }

    /// What the configuration lacks for the notices that confirm consents.
    pub fn lacks_for_notices(&self, confirmation: &Confirmation) -> Option<Failure> {
        let language = confirmation.language;
        let law = format!("in {} ({})", rule(language).country, confirmation.law);
        let what = format!("a notice that confirms a consent to advertising in this language (`{language}`)");
        self.lacking(confirmation.shows, language, &what, &law)
    }

    fn lacking(&self, shows: &[Particular], language: Locale, what: &str, law: &str) -> Option<Failure> {
        let lacking = shows.iter().find(|particular| self.is_unset(**particular))?;
        let (key, name, example) = lacking.setting(language);
        Some(
            Failure::configuration(format!(
                "`mail.shop.{key}` is not set: {what} has to show the sender's {name} {law}"
            ))
            .hint(format!(
                "write the shop's own below [mail.shop] of batchctl.toml, in the form {key} = \"{example}\""
            ))
            .retry_once("once it is set"),
        )
    }

    fn is_unset(&self, particular: Particular) -> bool {
        self.value(particular).is_none_or(|value| value.trim().is_empty())
    }

    fn value(&self, particular: Particular) -> Option<&str> {
        match particular {
            Particular::Name => self.shop.name.as_deref(),
            Particular::PostalAddress => self.shop.address.as_deref(),
            Particular::Telephone => self.shop.phone.as_deref(),
        }
    }

    /// Why advertising in a language may not have these texts: something that has to be shown is in neither of them. What is
    /// set is compared by its letters and digits, however it is spaced, broken into lines, punctuated or marked up.
    pub fn text_problem(&self, language: Locale, text: Option<&str>, html: Option<&str>) -> Option<String> {
        let rule = rule(language);
        let parts = compared_parts(text, html);
        self.unshown(rule.shows, rule, rule.law, &parts).or_else(|| refusal_missing(rule, &parts))
    }

    /// Why a notice that confirms a consent may not have these texts.
    pub fn notice_problem(
        &self,
        confirmation: &Confirmation,
        text: Option<&str>,
        html: Option<&str>,
    ) -> Option<String> {
        let rule = rule(confirmation.language);
        let parts = compared_parts(text, html);
        self.unshown(confirmation.shows, rule, confirmation.law, &parts)
            .or_else(|| refusal_missing(rule, &parts))
    }

    /// What of the sender is in none of these texts.
    fn unshown(&self, shows: &[Particular], rule: &Rule, law: &str, parts: &[String]) -> Option<String> {
        let is_shown = |value: &str| parts.iter().any(|part| part.contains(value));
        shows.iter().find_map(|particular| {
            let value = self.value(*particular).map(compared).unwrap_or_default();
            if value.is_empty() || is_shown(&value) {
                return None;
            }
            let (key, name, _) = particular.setting(rule.language);
            Some(format!(
                "the text does not show the sender's {name} (`mail.shop.{key}`), as it has to in {} ({law})",
                rule.country
            ))
        })
    }
}

/// The rules by which consents have to be confirmed.
pub fn confirmations() -> impl Iterator<Item = &'static Confirmation> {
    RULES.iter().filter_map(|rule| rule.confirmation.as_ref())
}

/// The parts of a mail as they are compared.
fn compared_parts(text: Option<&str>, html: Option<&str>) -> Vec<String> {
    text.map(compared).into_iter().chain(html.map(|html| compared(&seen(html)))).collect()
}

/// Why advertising in a language may not have this text: it does not tell how to refuse in all the languages it has to.
pub fn refusal_problem(language: Locale, text: &str) -> Option<String> {
    refusal_missing(rule(language), &[compared(text)])
}

fn refusal_missing(rule: &Rule, parts: &[String]) -> Option<String> {
    let is_told = |words: &[&str]| words.iter().any(|word| parts.iter().any(|part| part.contains(word)));
    let lacking = rule.refusal.iter().find(|words| !is_told(words))?;
    Some(format!(
        "the text does not say how to refuse advertising (`{}`), as it has to in {} ({}): include `_footer.{}.txt`",
        lacking[0], rule.country, rule.law, rule.language
    ))
}

/// The letters and digits of a text, those of full width in their usual form: so an address is the same one on one line or
/// on three, with `－` or `-`.
fn compared(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
            _ => character,
        })
        // The long vowel is also written for a hyphen.
        .filter(|character| character.is_alphanumeric() && *character != 'ー')
        .flat_map(char::to_lowercase)
        .collect()
}

/// What a reader of HTML sees of it: no tags, comments or styles, and entities as what they stand for.
fn seen(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        let markup = &rest[start..];
        let is_element = |name: &str| {
            markup.get(1..=name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
                && !markup[1 + name.len()..].starts_with(|next: char| next.is_ascii_alphanumeric())
        };
        let closing = if markup.starts_with("<!--") {
            "-->"
        } else if is_element("style") {
            "</style>"
        } else if is_element("script") {
            "</script>"
        } else if is_element("title") {
            "</title>"
        } else {
            ">"
        };
        let end = position(markup, closing);
        rest = end.map_or("", |end| &markup[end + closing.len()..]);
    }
    text.push_str(rest);
    unescaped(&text)
}

/// Where an ASCII text begins in another, in any case.
fn position(text: &str, wanted: &str) -> Option<usize> {
    text.as_bytes().windows(wanted.len()).position(|found| found.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// A text with its character references replaced. Of the named ones, those of punctuation are as good as none.
fn unescaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        result.push_str(&rest[..start]);
        let reference = &rest[start + 1..];
        // The longest name has a few dozen characters; what is longer is not one.
        let end = reference.bytes().take(40).position(|byte| byte == b';');
        let Some(end) = end else {
            result.push('&');
            rest = reference;
            continue;
        };
        let name = &reference[..end];
        let number = match name.strip_prefix('#') {
            Some(number) => match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok(),
                None => number.parse().ok(),
            },
            None => None,
        };
        result.push(number.and_then(char::from_u32).unwrap_or(' '));
        rest = &reference[end + 1..];
    }
    result.push_str(rest);
    result
}

/// Why advertising in a language may not have this subject.
pub fn subject_problem(language: Locale, subject: &str) -> Option<String> {
    let rule = rule(language);
    let mark = rule.subject_mark.filter(|mark| !subject.starts_with(mark))?;
    Some(format!(
        "the subject does not begin with `{mark}`, as that of advertising has to in {} ({})",
        rule.country, rule.law
    ))
}

fn rule(language: Locale) -> &'static Rule {
    // A test checks that there is one for each.
    RULES.iter().find(|rule| rule.language == language).unwrap_or(&RULES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(name: &str, address: &str, phone: &str) -> Advertising {
        let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let shop = ShopConfig {
            name: known(name),
            address: known(address),
            phone: known(phone),
            ..ShopConfig::default()
        };
        Advertising { shop }
    }

    #[test]
    fn each_language_has_a_rule() {
        for language in Locale::ALL {
            assert_eq!(rule(language).language, language);
            let confirmation = rule(language).confirmation.as_ref();
            assert!(confirmation.is_none_or(|confirmation| confirmation.language == language));
        }
    }

    #[test]
    fn a_notice_shows_who_sends_it_and_how_to_withdraw() {
        let korean = confirmations().next().unwrap();
        let nameless = shop("", "1-2-3 Minatocho", "02-1");
        let lacks = |shop: &Advertising| shop.lacks_for_notices(korean).map(|failure| failure.message);
        assert_eq!(
            lacks(&nameless).unwrap(),
            "`mail.shop.name` is not set: a notice that confirms a consent to advertising in this language (`ko`) has to \
             show the sender's name in Korea (Network Act, article 50(8), and article 62-3 of its decree)"
        );
        let shop = shop("Shop", "", "");
        assert_eq!(lacks(&shop), None);
        let text = "Shop, 무료 수신 거부 / unsubscribe";
        assert_eq!(shop.notice_problem(korean, Some(text), None), None);
        for (gone, missing) in
            [("Shop", "mail.shop.name"), ("거부", "수신거부"), ("unsubscribe", "unsubscribe")]
        {
            let problem = shop.notice_problem(korean, Some(&text.replace(gone, "")), None).unwrap();
            assert_eq!(problem.split('`').nth(1), Some(missing));
        }
    }

    #[test]
    fn what_the_country_of_the_language_asks_for_has_to_be_set() {
        let lacks = |shop: &Advertising| {
            let lacking = |language| shop.lacks(language).map(|failure| failure.message);
            Locale::ALL.map(|language| {
                lacking(language).map(|message| message.split('`').nth(1).unwrap().to_owned())
            })
        };
        let key = |key: &str| Some(format!("mail.shop.{key}"));
        // English, Japanese, Korean.
        assert_eq!(lacks(&shop("", "", "")), [key("address"), key("name"), key("name")]);
        assert_eq!(lacks(&shop("Shop", "", "")), [key("address"), key("address"), key("address")]);
        assert_eq!(lacks(&shop("Shop", "1-2-3", "")), [None, None, key("phone")]);
        assert_eq!(lacks(&shop("Shop", " ", "02-1")), [key("address"), key("address"), key("address")]);
        assert_eq!(lacks(&shop("Shop", "1-2-3", "02-1")), [None, None, None]);
    }

    #[test]
    fn a_korean_subject_begins_with_exactly_the_mark() {
        assert_eq!(subject_problem(Locale::Ko, "(광고) 새 소식"), None);
        for evasion in ["[광고] 새 소식", "(광 고) 새 소식", "새 소식 (광고)", " (광고) 새 소식", "AD", ""]
        {
            let problem = subject_problem(Locale::Ko, evasion).unwrap();
            assert!(problem.contains("`(광고)`") && problem.contains("Korea"), "{problem}");
        }
        assert_eq!(subject_problem(Locale::Ja, "新着のお知らせ"), None);
        assert_eq!(subject_problem(Locale::En, "News"), None);
    }

    #[test]
    fn what_has_to_be_shown_is_found_however_it_is_written() {
        let shop =
            shop("お花屋さん", "〒231-0001 神奈川県横浜市中区港町1-2-3 O'Neill & Søn ビル", "045-123-4567");
        let problem = |text: Option<&str>, html: Option<&str>| shop.text_problem(Locale::Ja, text, html);
        let footer = "配信停止はこちら";
        for text in [
            "お花屋さん\n〒231-0001\n神奈川県横浜市中区港町１－２－３\n　O’Neill ＆ Søn ビル\n配信停止はこちら".to_owned(),
            format!("お 花屋さん 231ー0001 神奈川県 横浜市中区港町 1ー2ー3, O'NEILL & SØN ビル {footer}"),
        ] {
            assert_eq!(problem(Some(&text), None), None, "{text}");
        }
        let html = "<STYLE>p { color: red }</STYLE><p>お花<b>屋さん</b>&nbsp;&#12306;231&#x2d;0001<br>神奈川県横浜市中区港町\
                    1-&#50;-3 O&#x27;Neill &amp; S&#248;n ビル</p><a href='x'>配信<br>停止</a>";
        assert_eq!(problem(Some("本文"), Some(html)), None, "either of the two shows it");
        // What nobody sees does not count.
        for hidden in [
            html.replace("港町", "港町<!-- ").replace("ビル", "ビル -->"),
            html.replace("<p>", "<p title=\"").replace("</p>", "\"></p>"),
            html.replace("<p>", "<style>").replace("</p>", "</style>"),
        ] {
            assert!(problem(None, Some(&hidden)).is_some(), "{hidden}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let shop = shop("Shop", "1-2-3 Minatocho", "02-1234-5678");
        let lacks = |language, text: &str| {
            let problem = shop.text_problem(language, Some(text), None)?;
            problem.split('`').nth(1).map(str::to_owned)
        };
        let ko = "Shop, 1-2-3 Minatocho, 02-1234-5678. 무료 수신 거부(로그인 없이 가능) / Unsubscribe";
        assert_eq!(lacks(Locale::Ko, ko), None);
        for (gone, missing) in [
            ("Shop", "mail.shop.name"),
            ("1-2-3", "mail.shop.address"),
            ("5678", "mail.shop.phone"),
            ("거부", "수신거부"),
            ("Unsubscribe", "unsubscribe"),
        ] {
            assert_eq!(lacks(Locale::Ko, &ko.replace(gone, "")).as_deref(), Some(missing));
        }
        assert_eq!(lacks(Locale::En, "1-2-3 Minatocho"), None);
        assert_eq!(lacks(Locale::En, "Shop").as_deref(), Some("mail.shop.address"));
        assert_eq!(lacks(Locale::Ja, "Shop 1-2-3 Minatocho").as_deref(), Some("停止"));
    }
}
