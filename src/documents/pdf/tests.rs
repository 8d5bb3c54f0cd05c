//! These need the fonts CI installs: fonts-noto-cjk.

use std::fs;

use crate::documents::{Document, sample};
use crate::locale::Locale;

use super::{PdfOptions, render};

fn options() -> PdfOptions<'static> {
    let created = sample::day().and_hms_opt(21, 5, 9).unwrap().and_utc();
    PdfOptions { template_dir: None, font_dirs: Vec::new(), font_families: Vec::new(), created }
}

fn failure(document: &Document, options: &PdfOptions<'_>) -> String {
    format!("{:#}", render(document, options).unwrap_err())
}

#[test]
fn every_language_becomes_the_same_pdf_each_time() {
    for locale in Locale::ALL {
        let document = sample::sales(locale, 40);
        let pdf = render(&document, &options()).unwrap();
        assert!(pdf.starts_with(b"%PDF-"));
        assert!(pdf == render(&document, &options()).unwrap(), "{locale}");
    }
}

#[test]
fn a_document_with_nothing_in_it_is_still_a_page() {
    let mut document = sample::sales(Locale::Ja, 0);
    document.facts.clear();
    document.notes.clear();
    document.charts.clear();
    document.tables.truncate(1);
    document.tables[0].rows.clear();
    render(&document, &options()).unwrap();
    document.tables.clear();
    render(&document, &options()).unwrap();
}

#[test]
fn text_no_font_has_is_an_error_that_says_what_to_install() {
    let mut document = sample::sales(Locale::En, 0);
    // A letter of the Ugaritic script; were it installed, the system would be an odd one.
    document.title = "Sales \u{10380}".into();
    assert_eq!(
        failure(&document, &options()),
        "failed to write document `daily-sales-2026-11-19` as PDF: no font found for this text (first: `\u{10380}`): \
         install Noto Sans (Debian: fonts-noto-core) or set pdf.font_dirs in batchctl.toml"
    );
}

#[test]
fn a_font_that_was_configured_and_is_not_there_is_named() {
    let document = sample::sales(Locale::En, 0);
    let options = PdfOptions { font_families: vec!["No Such Sans".into()], ..options() };
    assert_eq!(
        failure(&document, &options),
        "failed to write document `daily-sales-2026-11-19` as PDF: font family `No Such Sans` not found: install it, set \
         pdf.font_dirs or correct pdf.fonts in batchctl.toml"
    );
}

#[test]
fn a_user_s_template_reads_the_data_and_its_mistake_is_shown_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let document = sample::sales(Locale::Ko, 2);
    let options = PdfOptions { template_dir: Some(directory.path()), ..options() };
    let prefix = "failed to write document `daily-sales-2026-11-19` as PDF: ";
    let path = directory.path().join("report.typ");
    assert_eq!(
        failure(&document, &options),
        format!("{prefix}the template folder `{}` has no `report.typ`", directory.path().display())
    );

    fs::write(&path, "#let data = json(\"data.json\")\n#set text(font: data.fonts)\n#data.title").unwrap();
    render(&document, &options).unwrap();

    fs::write(&path, "Title\n  #wrong").unwrap();
    assert_eq!(
        failure(&document, &options),
        format!("{prefix}{}:2:4: unknown variable: wrong", path.display())
    );

    fs::write(&path, "#import \"@preview/cetz:0.3.0\"").unwrap();
    assert!(
        failure(&document, &options).contains("packages are not downloaded"),
        "{}",
        failure(&document, &options)
    );
}
