//! `[freshness]` of `batchctl.toml`: for which data of which mall a report waits before its figures are final.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::section::Section;

/// `[freshness]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FreshnessConfig {
    /// Orders and their payments.
    pub orders: Expectation,
    /// Refunds that come in files of their own.
    pub refunds: Expectation,
    /// Members.
    pub members: Expectation,
    /// `[freshness.malls.CODE]`: what differs for a mall.
    pub malls: BTreeMap<String, MallFreshness>,
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
        Expected {
            orders: own.orders.unwrap_or(self.orders),
            refunds: own.refunds.unwrap_or(self.refunds),
            members: own.members.unwrap_or(self.members),
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
        assert!(wrong.to_string().contains("expected one of `learned`, `always`, `never`"), "{wrong}");
    }
}
