//! Which lines of an order are something else than a product that was sold.

use serde::Deserialize;

/// Which lines of an order are something else than a product that was sold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportLines {
    /// The header that says what a line is.
    pub column: Option<String>,
    /// The words for a product.
    pub product: Vec<String>,
    /// The words for a present: a line that may do without a price.
    pub gift: Vec<String>,
    /// The words for shipping.
    pub shipping: Vec<String>,
    /// The words for a fee.
    pub fee: Vec<String>,
    /// The words for a discount.
    pub discount: Vec<String>,
    /// The words for tax.
    pub tax: Vec<String>,
    /// The words for what was paid back.
    pub refund: Vec<String>,
    /// The words for lines that are left out.
    pub skip: Vec<String>,
}

impl ImportLines {
    /// The words of each role, with the role's name.
    pub fn roles(&self) -> [(&'static str, &[String]); 8] {
        [
            ("product", &self.product),
            ("gift", &self.gift),
            ("shipping", &self.shipping),
            ("fee", &self.fee),
            ("discount", &self.discount),
            ("tax", &self.tax),
            ("refund", &self.refund),
            ("skip", &self.skip),
        ]
    }

    fn roles_mut(&mut self) -> [&mut Vec<String>; 8] {
        [
            &mut self.product,
            &mut self.gift,
            &mut self.shipping,
            &mut self.fee,
            &mut self.discount,
            &mut self.tax,
            &mut self.refund,
            &mut self.skip,
        ]
    }

    /// These on top of others: another column replaces them all, a word moves to the role that has it here.
    pub(super) fn over(self, mut base: Self) -> Self {
        if self.column.is_some() {
            return self;
        }
        let own: Vec<Vec<String>> = self.roles().iter().map(|(_, words)| words.to_vec()).collect();
        for words in base.roles_mut() {
            words.retain(|word| !own.iter().flatten().any(|moved| moved == word));
        }
        for (words, own) in base.roles_mut().into_iter().zip(own) {
            words.extend(own);
        }
        base
    }

    pub(super) fn fault(&self) -> Option<(&'static str, String)> {
        let roles = self.roles();
        let words = || roles.iter().flat_map(|(_, words)| words.iter());
        if self.column.is_some() && words().next().is_none() {
            return Some(("column", "is of no use without words, such as `product = [\"…\"]`".to_owned()));
        }
        let twice = words().find(|word| words().filter(|other| other == word).count() > 1)?;
        let (role, _) = roles.iter().find(|(_, words)| words.contains(twice))?;
        Some((role, format!("`{twice}` is in more than one list")))
    }
}
