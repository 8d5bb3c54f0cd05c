//! What a line of a record is.

/// What a line of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::jobs::data::import) enum Role {
    /// Something that was sold.
    Product,
    /// Something that was given away.
    Gift,
    /// Shipping.
    Shipping,
    /// A fee.
    Fee,
    /// A discount.
    Discount,
    /// Tax.
    Tax,
    /// What was paid back.
    Refund,
    /// Nothing that counts.
    Skipped,
}

impl Role {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "gift" => Self::Gift,
            "shipping" => Self::Shipping,
            "fee" => Self::Fee,
            "discount" => Self::Discount,
            "tax" => Self::Tax,
            "refund" => Self::Refund,
            "skip" => Self::Skipped,
            _ => Self::Product,
        }
    }

    /// Whether the line is one of the record's items.
    pub(in crate::jobs::data::import) fn is_item(self) -> bool {
        matches!(self, Self::Product | Self::Gift)
    }
}
