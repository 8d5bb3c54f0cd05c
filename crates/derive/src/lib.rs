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
/// - `#[row(problems)]`, on a field of the type `crate::db::Problems`, lets no value fail the row: one that cannot be read
///   is replaced by what is nearest to it, and noted there.
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
    let words = fields.iter().map(word).collect::<Result<Vec<_>, _>>()?;
    let problems = fields.iter().zip(&words).find(|(_, word)| matches!(word, Some(Word::Problems)));
    let problems = problems.and_then(|(field, _)| field.ident.as_ref());
    let values = fields.iter().zip(&words).map(|(field, word)| value(field, word.as_ref(), problems));
    let values: Vec<TokenStream> = values.collect();
    let idents: Vec<_> = fields.iter().map(|field| &field.ident).collect();
    let noted = problems.map(|field| quote!(let mut #field = crate::db::Problems::default();));
    let name = &input.ident;
    let rows = [quote!(::sqlx::sqlite::SqliteRow), quote!(::sqlx::postgres::PgRow)];
    Ok(rows
        .iter()
        .map(|row| {
            quote! {
                #[automatically_derived]
                impl<'r> ::sqlx::FromRow<'r, #row> for #name {
                    fn from_row(row: &'r #row) -> ::sqlx::Result<Self> {
                        #noted
                        #(#values)*
                        ::std::result::Result::Ok(Self { #(#idents),* })
                    }
                }
            }
        })
        .collect())
}

/// What an attribute says of its field.
enum Word {
    Flatten,
    Skip,
    Problems,
}

fn word(field: &Field) -> Result<Option<Word>, Error> {
    let mut found = None;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("row")) {
        let word: Ident = attribute.parse_args()?;
        found = Some(match word.to_string().as_str() {
            "flatten" => Word::Flatten,
            "skip" => Word::Skip,
            "problems" => Word::Problems,
            _ => return Err(Error::new_spanned(word, "expected `flatten`, `skip` or `problems`")),
        });
    }
    Ok(found)
}

/// `let field = where its value comes from;`. The field that the problems are noted in is a variable already.
fn value(field: &Field, word: Option<&Word>, problems: Option<&Ident>) -> TokenStream {
    let name = &field.ident;
    let column = name.as_ref().map(|name| name.to_string().trim_start_matches("r#").to_owned());
    let from = match (word, problems) {
        (Some(Word::Problems), _) => return TokenStream::new(),
        (Some(Word::Flatten), _) => quote!(::sqlx::FromRow::from_row(row)?),
        (Some(Word::Skip), _) => quote!(::std::default::Default::default()),
        (None, Some(problems)) => quote!(#problems.read(row, #column)?),
        (None, None) => quote!(::sqlx::Row::try_get(row, #column)?),
    };
    quote!(let #name = #from;)
}
