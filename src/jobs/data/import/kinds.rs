//! The list of file kinds; each is defined in its own file.

use std::sync::Arc;

use crate::context::Context;
use crate::db::Db;
use crate::runner::Run;

use super::field::Column;
use super::guess::Trial;
use super::kind::FileKind;
use super::layout::Layout;
use super::reader::Source;
use super::{
    Args, File, articles, carts, consents, coupons, guess, members, orders, products, refunds, subscriptions,
};

/// Makes a variant for each kind from its help, its name on the command line and in `batchctl.toml`, and the type that
/// reads it.
macro_rules! kinds {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal: $type:ty,)+) => {
        /// What a file holds
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
        pub(super) enum Kind {
            $($(#[doc = $help])+ #[value(name = $name)] $variant,)+
        }

        impl Kind {
            /// Every kind.
            pub(super) const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name on the command line and in `batchctl.toml`.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Its columns; the mall's is the first.
            pub(super) fn columns(self) -> Vec<Column> {
                match self {
                    $(Self::$variant => <$type>::columns(),)+
                }
            }

            /// Imports a file of this kind.
            pub(super) async fn import(
                self,
                args: &Args,
                run: &mut Run<'_>,
                file: &File,
            ) -> anyhow::Result<()> {
                match self {
                    $(Self::$variant => args.import::<$type>(run, file).await,)+
                }
            }

            /// Reads the lines of a sample as its layout says.
            pub(super) async fn try_lines(
                self,
                source: &Source,
                layout: &Arc<Layout>,
                is_whole: bool,
            ) -> anyhow::Result<Trial> {
                match self {
                    $(Self::$variant => guess::try_lines::<$type>(source, layout, is_whole).await,)+
                }
            }

            /// Checks a file of this kind, and stores nothing.
            pub(super) async fn check(
                self,
                args: &Args,
                cx: &Context,
                db: &mut Db,
            ) -> anyhow::Result<()> {
                match self {
                    $(Self::$variant => args.check::<$type>(cx, db).await,)+
                }
            }
        }
    };
}

kinds! {
    /// Orders, a line for each of their lines
    Orders = "orders": orders::Orders,
    /// Members
    Members = "members": members::Members,
    /// Products and their stock
    Products = "products": products::Products,
    /// Refunds of orders
    Refunds = "refunds": refunds::Refunds,
    /// Carts, a line for each of their items
    Carts = "carts": carts::Carts,
    /// Single-use coupon codes
    Coupons = "coupons": coupons::Coupons,
    /// Subscriptions with their next charge
    Subscriptions = "subscriptions": subscriptions::Subscriptions,
    /// Articles and their summaries
    Articles = "articles": articles::Articles,
    /// What members agreed to, or took back
    Consents = "consents": consents::Consents,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_the_example_and_on_the_page_about_imports() {
        let example = include_str!("../../../../batchctl.example.toml");
        let page = include_str!("../../../../docs/import.md");
        let commands = page.split("```").nth(1).unwrap();
        for kind in Kind::ALL {
            let name = kind.name();
            assert!(example.contains(&format!("import.{name}")), "{name} is not in batchctl.example.toml");
            assert!(commands.contains(name), "{name} is not among the commands of docs/import.md");
        }
    }
}
