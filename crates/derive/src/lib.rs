//! The derive macros of batchctl.
//!
//! sqlx has a derive of the same name. It compiles all of sqlx, SQLite and the TLS library a second time, for the
//! compiler to load; this one needs only what serde's derive has built anyway.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, parse_macro_input};

/// Reads a struct from a row of SQLite or PostgreSQL: each field from the column of its name.
///
/// - `#[row(flatten)]` reads the field, a struct that also derives `FromRow`, from the same row.
/// - `#[row(skip)]` gives the field its default.
#[proc_macro_derive(FromRow, attributes(row))]
pub fn derive_from_row(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    from_row(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn from_row(input: &DeriveInput) -> Result<TokenStream, Error> {
    let named = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Some(&fields.named),
            _ => None,
        },
        _ => None,
    };
    let (Some(fields), true) = (named, input.generics.params.is_empty()) else {
        return Err(Error::new_spanned(
            &input.ident,
            "FromRow reads a struct with named fields and no parameters",
        ));
    };
    let values = fields.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    let name = &input.ident;
    let rows = [quote!(::sqlx::sqlite::SqliteRow), quote!(::sqlx::postgres::PgRow)];
    Ok(rows
        .iter()
        .map(|row| {
            quote! {
                #[automatically_derived]
                impl<'r> ::sqlx::FromRow<'r, #row> for #name {
                    fn from_row(row: &'r #row) -> ::sqlx::Result<Self> {
                        ::std::result::Result::Ok(Self { #(#values),* })
                    }
                }
            }
        })
        .collect())
}

/// `field: where its value comes from`.
fn value(field: &Field) -> Result<TokenStream, Error> {
    let name = &field.ident;
    let mut from = None;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("row")) {
        let word: Ident = attribute.parse_args()?;
        from = Some(match word.to_string().as_str() {
            "flatten" => quote!(::sqlx::FromRow::from_row(row)?),
            "skip" => quote!(::std::default::Default::default()),
            _ => return Err(Error::new_spanned(word, "expected `flatten` or `skip`")),
        });
    }
    let column = name.as_ref().map(|name| name.to_string().trim_start_matches("r#").to_owned());
    let from = from.unwrap_or_else(|| quote!(::sqlx::Row::try_get(row, #column)?));
    Ok(quote!(#name: #from))
}
