//! `[freshness]` of `batchctl.toml`: for which data of which mall a report waits before its figures are final.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::import::ImportConfig;
use super::section::Section;

/// `[freshness]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FreshnessConfig {
    /// Orders and their payments.
    pub orders: Option<Expectation>,
    /// Refunds that come in files of their own.
    pub refunds: Option<Expectation>,
    /// Members.
    pub members: Option<Expectation>,
    /// `[freshness.malls.CODE]`: what differs for a mall.
    pub malls: BTreeMap<String, MallFreshness>,
    /// The malls whose files an inbox takes, by the kind of file.
    #[serde(skip)]
    in_inbox: BTreeMap<String, BTreeSet<String>>,
}

/// `[freshness.malls.CODE]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MallFreshness {
    /// Orders and their payments.
    pub orders: Option<Expectation>,
    /// Refunds that come in files of their own.
    pub refunds: Option<Expectation>,
    /// Members.
    pub members: Option<Expectation>,
}

/// Whether a kind of data is expected to come for every day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expectation {
    /// From the first import or synchronisation on.
    #[default]
    Learned,
    /// From when the mall was added on: what is said by an inbox that takes its files.
    #[serde(skip)]
    Announced,
    /// Even if none has ever come.
    Always,
    /// No: an application writes it into the database by itself.
    Never,
}

/// What is expected of a mall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Orders and their payments.
    pub orders: Expectation,
    /// Refunds that come in files of their own.
    pub refunds: Expectation,
    /// Members.
    pub members: Expectation,
}

impl FreshnessConfig {
    /// What is expected of the mall with this code.
    pub fn of(&self, mall: &str) -> Expected {
        let own = self.malls.get(mall).cloned().unwrap_or_default();
        let otherwise = |kind: &str| {
            let is_announced = self.in_inbox.get(kind).is_some_and(|malls| malls.contains(mall));
            if is_announced { Expectation::Announced } else { Expectation::Learned }
        };
        Expected {
            orders: own.orders.or(self.orders).unwrap_or_else(|| otherwise("orders")),
            refunds: own.refunds.or(self.refunds).unwrap_or_else(|| otherwise("refunds")),
            members: own.members.or(self.members).unwrap_or_else(|| otherwise("members")),
        }
    }

    /// Takes over which files an inbox takes: whoever names their pattern and their mall expects them.
    pub(super) fn announce(&mut self, imports: &ImportConfig) {
        for (kind, sections) in imports {
            let sections = sections.named.values().chain([&sections.own]);
            let of_inbox = sections.filter(|section| !section.inbox_pattern.is_empty());
            let malls = of_inbox.filter_map(|section| section.mall.clone()).collect();
            self.in_inbox.insert(kind.clone(), malls);
        }
    }
}

impl Section for FreshnessConfig {}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::*;

    #[test]
    fn a_mall_has_its_own_expectations_or_those_of_all() {
        let text = "[freshness]\norders = \"always\"\n[freshness.malls.outlet]\norders = \"never\"";
        let freshness = Sections::parse("batchctl.toml", text).unwrap().freshness;
        let orders = |mall| freshness.of(mall).orders;
        assert_eq!([orders("outlet"), orders("main")], [Expectation::Never, Expectation::Always]);
        assert_eq!(freshness.of("outlet").members, Expectation::Learned);
        let wrong = Sections::parse("batchctl.toml", "[freshness]\norders = \"sometimes\"").unwrap_err();
        assert!(wrong.to_string().contains(r#"write "learned", "always" or "never""#), "{wrong}");
        let wrong = Sections::parse("batchctl.toml", "[freshness]\norders = \"announced\"").unwrap_err();
        assert!(wrong.to_string().contains(r#"write "learned", "always" or "never""#), "{wrong}");
    }

    #[test]
    fn an_inbox_announces_the_files_of_the_malls_that_its_sections_name() {
        let text = "[import.orders]\nmall = \"main\"\ninbox_pattern = \"*.csv\"\n\
                    [import.orders.osaka]\nmall = \"osaka\"\n\
                    [import.members.kobe]\nmall = \"kobe\"\ninbox_pattern = \"m*.csv\"\n\
                    [import.orders.any]\ninbox_pattern = \"any*.csv\"\n\
                    [import.orders.shop]\nmall = \"shop\"\ninbox_pattern = \"shop*.csv\"\n\
                    [freshness.malls.shop]\norders = \"learned\"\n";
        let of = |text: &str, mall: &str| {
            let Expected { orders, refunds, members } =
                Sections::parse("batchctl.toml", text).unwrap().freshness.of(mall);
            [orders, refunds, members]
        };
        let (learned, announced) = (Expectation::Learned, Expectation::Announced);
        assert_eq!(of(text, "main"), [announced, learned, learned]);
        assert_eq!(of(text, "kobe"), [learned, learned, announced]);
        for mall in ["osaka", "any", "shop"] {
            assert_eq!(of(text, mall), [learned; 3], "{mall}");
        }
        let all = format!("{text}[freshness]\norders = \"learned\"\n");
        assert_eq!(of(&all, "main"), [learned; 3]);
    }
}
