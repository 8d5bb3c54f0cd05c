//! Files of orders as shops' platforms export them, and the figures that they amount to.
//!
//! Each platform has a file here that writes invented orders exactly as the platform does: its header, encoding, line ends,
//! quotes, layout of an order's lines, words and forms of dates and money. What the figures have to be is not read from the
//! file: the writer says of each order what the platform tells ([`Told`]), and [`Figures`] adds that up by day.

pub(crate) mod amazon_jp;
pub(crate) mod base;
pub(crate) mod cafe24;
pub(crate) mod color_me;
pub(crate) mod ec_cube;
mod figures;
pub(crate) mod makeshop;
mod model;
pub(crate) mod rakuten;
mod sheet;
pub(crate) mod shopify;
pub(crate) mod woocommerce;
pub(crate) mod woocommerce_skyverge;

pub(crate) use figures::{Figures, Told, ToldLine};
pub(crate) use model::{FIRST_DAY, LAST_DAY, ORDERS};

/// A shop's file of orders.
pub(crate) struct Export {
    /// The code of its mall.
    pub(crate) mall: &'static str,
    /// The time zone of its mall.
    pub(crate) time_zone: &'static str,
    /// The currency of its mall.
    pub(crate) currency: &'static str,
    /// The file.
    pub(crate) file: Vec<u8>,
    /// What it tells of each order.
    pub(crate) told: Vec<Told>,
}

/// A header with a typo has its name twice, or one name less.
#[test]
fn the_headers_have_as_many_columns_as_those_of_the_platforms() {
    for (export, delimiter, columns) in [
        (&shopify::exports()[0], b',', 79),
        (&color_me::exports()[0], b',', 63),
        (&ec_cube::exports()[0], b',', 70),
        (&base::exports()[0], b',', 35),
        (&rakuten::exports()[0], b',', 158),
    ] {
        let header = export.file.split(|byte| *byte == b'\n').next().expect("a first line");
        assert_eq!(header.split(|byte| *byte == delimiter).count(), columns, "{}", export.mall);
    }
}
