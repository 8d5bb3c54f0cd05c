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
    /// Words of the languages in which the way to refuse is told.
    refusal: &'static [&'static str],
}

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
        refusal: &[],
    },
    Rule {
        language: Locale::Ko,
        country: "Korea",
        law: "Network Act, article 50, and annex 6 of its decree",
        shows: &[Particular::Name, Particular::PostalAddress, Particular::Telephone],
        // `[광고]`, `(광 고)` or `AD` count as evasion.
        subject_mark: Some("(광고)"),
        refusal: &["수신거부", "unsubscribe"],
    },
    Rule {
        language: Locale::En,
        country: "the USA",
        law: "CAN-SPAM Act, section 5(a)(5)",
        shows: &[Particular::PostalAddress],
        subject_mark: None,
        refusal: &[],
    },
];

impl Particular {
    /// Its key, its name, and an example.
    fn setting(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Name => ("name", "name", "サンプルショップ"),
            Self::PostalAddress => ("address", "postal address", "〒231-0001 神奈川県横浜市中区港町1-2-3"),
            Self::Telephone => ("phone", "telephone number", "02-1234-5678"),
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

    /// What the configuration lacks for advertising in a language. No mail can be sent before it is there.
    pub fn lacks(&self, language: Locale) -> Option<Failure> {
        let rule = rule(language);
        let lacking = rule.shows.iter().find(|particular| self.is_unset(**particular))?;
        let (key, name, example) = lacking.setting();
        Some(
            Failure::configuration(format!(
                "`mail.shop.{key}` is not set: advertising in this language (`{language}`) has to show the sender's \
                 {name} in {} ({})",
                rule.country, rule.law
            ))
            .hint(format!("write the shop's own below [mail.shop] of batchctl.toml, in the form {key} = \"{example}\""))
            .retry_once("once it is set"),
        )
    }

    fn is_unset(&self, particular: Particular) -> bool {
        let value = match particular {
            Particular::Name => &self.shop.name,
            Particular::PostalAddress => &self.shop.address,
            Particular::Telephone => &self.shop.phone,
        };
        value.as_deref().is_none_or(|value| value.trim().is_empty())
    }
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

/// Why advertising in a language may not have this text: it does not tell how to refuse in all the languages it has to.
pub fn refusal_problem(language: Locale, text: &str) -> Option<String> {
    let rule = rule(language);
    let text: String = text.to_lowercase().chars().filter(|character| !character.is_whitespace()).collect();
    let lacking = rule.refusal.iter().find(|word| !text.contains(**word))?;
    Some(format!(
        "the text does not say how to refuse advertising (`{lacking}`), as it has to in {} ({}): include `_footer.{}.txt`",
        rule.country, rule.law, rule.language
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
    fn korean_advertising_says_how_to_refuse_in_korean_and_in_english() {
        let lacks = |text: &str| refusal_problem(Locale::Ko, text).is_some();
        assert!(!lacks("무료 수신 거부(로그인 없이 가능)\nUnsubscribe free of charge"));
        assert!(
            lacks("무료 수신 거부(로그인 없이 가능)") && lacks("Unsubscribe free of charge") && lacks("")
        );
        assert_eq!(refusal_problem(Locale::Ja, ""), None);
    }
}
