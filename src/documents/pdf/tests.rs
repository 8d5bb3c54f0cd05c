//! No test here needs a system font.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::documents::{Cell, Column, ColumnKind, Document, Row, Table, sample};
use crate::failure;
use crate::locale::Locale;

use super::{FontFolders, Pdf, PdfOptions, render};

const PREFIX: &str = "failed to write document `daily-sales-2026-11-19` as PDF: ";

fn options() -> PdfOptions {
    let created = sample::day().and_hms_opt(21, 5, 9).unwrap().and_utc().with_timezone(&chrono_tz::Tz::UTC);
    PdfOptions { template_dir: None, fonts: FontFolders::default(), created, stop: Arc::default() }
}

fn pdf(document: &Document) -> Pdf {
    render(document, &options()).unwrap()
}

fn failure(document: &Document, options: &PdfOptions) -> String {
    format!("{:#}", render(document, options).unwrap_err())
}

/// The number of pages, from the page tree.
fn pages(pdf: &Pdf) -> usize {
    let text = String::from_utf8_lossy(&pdf.bytes);
    let tree = text.split("/Type /Pages").nth(1).unwrap();
    let count = tree.split("/Count ").nth(1).unwrap();
    count.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// A document of one table.
fn table(columns: Vec<Column>, rows: Vec<Row>) -> Document {
    let mut document = sample::sales(Locale::En, 0);
    document.charts.clear();
    document.tables = vec![Table { key: "t", title: "T".into(), columns, rows }];
    document
}

fn text_column() -> Column {
    Column::new("text", "Text", ColumnKind::Text)
}

#[test]
fn every_language_becomes_the_same_pdf_each_time() {
    for locale in Locale::ALL {
        let document = sample::sales(locale, 40);
        let pdf = pdf(&document);
        assert!(pdf.bytes.starts_with(b"%PDF-1.7"));
        assert_eq!(pdf.missing, [] as [char; 0], "{locale}");
        assert!(pdf == render(&document, &options()).unwrap(), "{locale}");
    }
}

#[test]
fn a_pdf_says_what_it_is() {
    let text = String::from_utf8_lossy(&pdf(&sample::sales(Locale::En, 3)).bytes).into_owned();
    for entry in [
        "/Title (Daily sales, 19 November 2026)",
        "/CreationDate (D:20261119210509Z)",
        "/Lang (en)",
        "/Marked true",
        "/Title (Best sellers)",
    ] {
        assert!(text.contains(entry), "no {entry}");
    }
    assert!(!text.contains("/Author"), "nobody was named");
}

#[test]
fn a_document_with_nothing_in_it_is_still_a_page() {
    let mut document = sample::sales(Locale::Ja, 0);
    document.facts.clear();
    document.notes.clear();
    document.charts.clear();
    document.tables.truncate(1);
    document.tables[0].rows.clear();
    assert_eq!(pages(&pdf(&document)), 1);
    document.tables[0].columns.clear();
    assert_eq!(pages(&pdf(&document)), 1);
    document.tables.clear();
    document.title.clear();
    assert_eq!(pages(&pdf(&document)), 1);
}

#[test]
fn a_character_that_no_font_has_is_named_and_the_document_is_made() {
    let mut document = sample::sales(Locale::En, 0);
    // Letters of the Ugaritic script, and an emoji.
    document.title = "Sales \u{10380}\u{10381} \u{1f381}".into();
    document.notes = vec!["\u{10380}".into()];
    let pdf = pdf(&document);
    assert_eq!(pdf.missing, ['\u{10380}', '\u{10381}', '\u{1f381}']);
    assert_eq!(super::name_missing(&pdf.missing[1..]), "`\u{10381}` (U+10381), `🎁` (U+1F381)");
    assert_eq!(
        super::name_missing(&['a', 'b', 'c', 'd', 'e', 'f', 'g']),
        "`a` (U+0061), `b` (U+0062), `c` (U+0063), `d` (U+0064), `e` (U+0065) and 2 more"
    );
}

#[test]
fn a_character_that_only_a_folder_s_font_has_is_set_in_it() {
    // A font with a glyph for a letter of Ugaritic.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    fs::write(folder.path().join("below/Own-Regular.otf"), font_with('\u{10380}')).unwrap();
    fs::write(folder.path().join("Broken.ttf"), "not a font").unwrap();
    let mut document = sample::sales(Locale::En, 0);
    document.title = "Sales \u{10380}".into();
    for fonts in [
        FontFolders { own: vec![folder.path().into()], system: Vec::new() },
        FontFolders { own: Vec::new(), system: vec!["/no/such/folder".into(), folder.path().into()] },
    ] {
        let pdf = render(&document, &PdfOptions { fonts, ..options() }).unwrap();
        assert_eq!(pdf.missing, [] as [char; 0]);
        assert!(String::from_utf8_lossy(&pdf.bytes).contains("+OwnRegular"), "the font is embedded");
    }
}

#[test]
fn a_family_of_the_style_is_used_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Own-Regular.otf"), font_with('A')).unwrap();
    fs::write(folder.path().join("style.toml"), "[fonts]\nfamilies = [\"own family\"]\n").unwrap();
    let document = sample::sales(Locale::En, 0);
    let options = PdfOptions { template_dir: Some(folder.path().into()), ..options() };
    let pdf = render(&document, &options).unwrap();
    assert!(String::from_utf8_lossy(&pdf.bytes).contains("+OwnRegular"), "the font is embedded");

    fs::write(folder.path().join("style.toml"), "[fonts]\nfamilies = [\"No Such Sans\"]\n").unwrap();
    assert_eq!(
        failure(&document, &options),
        format!(
            "{PREFIX}font family `No Such Sans` not found: install it, set pdf.font_dirs in batchctl.toml or correct \
             fonts.families in style.toml"
        )
    );
}

#[test]
fn a_font_folder_that_is_not_there_is_bad_configuration() {
    let fonts = FontFolders { own: vec!["/no/such/folder".into()], system: Vec::new() };
    assert_eq!(
        failure(&sample::sales(Locale::En, 0), &PdfOptions { fonts, ..options() }),
        format!(
            "{PREFIX}the font folder `/no/such/folder` does not exist: correct pdf.font_dirs in batchctl.toml"
        )
    );
}

#[test]
fn a_style_changes_the_look_and_its_mistake_is_shown_with_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let document = sample::sales(Locale::Ko, 2);
    let options = PdfOptions { template_dir: Some(folder.path().into()), ..options() };
    let path = folder.path().join("style.toml");
    assert_eq!(
        failure(&document, &options),
        format!("{PREFIX}the template folder `{}` has no `style.toml`", folder.path().display())
    );

    fs::write(&path, "author = \"ACME\"\n[page]\nsize = \"letter\"\norientation = \"portrait\"\n").unwrap();
    let text = String::from_utf8_lossy(&render(&document, &options).unwrap().bytes).into_owned();
    assert!(text.contains("/MediaBox [0 0 612 792]"), "{text}");
    assert!(text.contains("/Author (ACME)"), "{text}");

    fs::write(&path, "[page]\nsise = \"letter\"").unwrap();
    assert_eq!(
        failure(&document, &options),
        format!(
            "{PREFIX}{} line 2: unknown key `sise`, expected one of `size`, `orientation`, `left_mm`, `right_mm`, \
             `top_mm`, `bottom_mm`",
            path.display()
        )
    );

    fs::write(&path, "[logo]\nfile = \"logo.svg\"").unwrap();
    fs::write(folder.path().join("logo.svg"), "<svg/>").unwrap();
    let error = render(&document, &options).unwrap_err();
    assert_eq!(failure::hint(&error), Some("correct logo.file in style.toml"));
}

#[test]
fn a_logo_is_drawn_on_the_first_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 2);
    encoder.set_color(png::ColorType::Rgba);
    encoder.write_header().unwrap().write_image_data(&[90; 32]).unwrap();
    fs::write(folder.path().join("logo.png"), bytes).unwrap();
    for side in ["left", "right"] {
        let style = format!("[logo]\nfile = \"logo.png\"\nside = \"{side}\"\n");
        fs::write(folder.path().join("style.toml"), style).unwrap();
        let options = PdfOptions { template_dir: Some(folder.path().into()), ..options() };
        let pdf = render(&sample::sales(Locale::En, 2), &options).unwrap();
        let text = String::from_utf8_lossy(&pdf.bytes).into_owned();
        assert!(text.contains("/Subtype /Image") && text.contains("/SMask"), "{side}");
    }
}

#[test]
fn ten_thousand_rows_are_as_many_pages_as_they_need() {
    let document = sample::sales(Locale::Ja, 10_000);
    let pdf = pdf(&document);
    assert!((250..500).contains(&pages(&pdf)), "{}", pages(&pdf));
    assert!(pdf.bytes.len() < 20_000_000, "{}", pdf.bytes.len());
}

#[test]
fn more_pages_than_anybody_reads_are_refused() {
    // A row or two per page.
    let folder = tempfile::tempdir().unwrap();
    let style =
        "[page]\nsize = \"a5\"\ntop_mm = 55\nbottom_mm = 55\n[fonts]\ntable = 40\nsmallest_table = 40\n";
    fs::write(folder.path().join("style.toml"), style).unwrap();
    let rows = (0..5_000).map(|row| Row::new(vec![Cell::Int(row)])).collect();
    let document = table(vec![Column::new("n", "N", ColumnKind::Number)], rows);
    let options = PdfOptions { template_dir: Some(folder.path().into()), ..options() };
    let error = render(&document, &options).unwrap_err();
    assert_eq!(format!("{error:#}"), format!("{PREFIX}it would have more than 2000 pages"));
    assert_eq!(failure::hint(&error), Some("write it as csv or xlsx"));
}

#[test]
fn a_document_that_nobody_waits_for_is_given_up() {
    let options = PdfOptions { stop: Arc::new(AtomicBool::new(true)), ..options() };
    assert_eq!(failure(&sample::sales(Locale::En, 500), &options), format!("{PREFIX}stopped"));
}

#[test]
fn a_cell_of_a_megabyte_goes_over_pages_and_is_cut() {
    let rows = vec![Row::new(vec![Cell::text("long text ".repeat(100_000)), Cell::text("short")])];
    let pdf = pdf(&table(vec![text_column(), text_column()], rows));
    assert!((3..20).contains(&pages(&pdf)), "{}", pages(&pdf));
}

#[test]
fn forty_columns_go_below_each_other() {
    let columns = || (0..40).map(|_| Column::new("amount", "Gross amount", ColumnKind::Money)).collect();
    let row = || Row::new((0..40).map(|column| Cell::money(column * 1_000_000_007, "JPY")).collect());
    assert_eq!(pages(&pdf(&table(columns(), vec![row(), row()]))), 1);
    // A word of a thousand letters, with no place to break it.
    let words = vec![Row::new(vec![Cell::text("W".repeat(1_000)); 40])];
    pdf(&table((0..40).map(|_| text_column()).collect(), words));
}

#[test]
fn hostile_text_does_no_harm() {
    let texts = [
        "\0\u{1}\u{7f}\u{9b}2J",
        "\u{202e}right to left\u{202c}",
        "שלום عربى हिन्दी ไทย",
        "e\u{301}\u{301}\u{301}\u{301}\u{301}",
        "👨\u{200d}👩\u{200d}👧 🇯🇵 \u{1f3fb}",
        "\u{feff}\u{fffe}\u{10ffff}",
        ") Tj ET \\( <</Type/Catalog>> endstream",
        "\u{1112}\u{1161}\u{11ab}",
        "",
        " ",
    ];
    let rows = texts.map(|text| Row::new(vec![Cell::text(text), Cell::text(text.repeat(200))]));
    let document = table(vec![text_column(), text_column()], rows.to_vec());
    assert!(pages(&pdf(&document)) < 20);
}

#[test]
fn extreme_styles_still_make_pages() {
    let folder = tempfile::tempdir().unwrap();
    let style = "[page]\nsize = \"a5\"\ntop_mm = 60\nbottom_mm = 60\nleft_mm = 60\nright_mm = 60\n\
                 [fonts]\ntable = 40\nsmallest_table = 40\ntitle = 40\nheading = 40\nfacts = 40\nnotes = 40\n";
    fs::write(folder.path().join("style.toml"), style).unwrap();
    let options = PdfOptions { template_dir: Some(folder.path().into()), ..options() };
    let pdf = render(&sample::sales(Locale::Ja, 2), &options).unwrap();
    assert!(pages(&pdf) > 1);
}

/// A font with one glyph, a box, for a character: the smallest possible font.
fn font_with(character: char) -> Vec<u8> {
    let word = |number: u16| number.to_be_bytes().to_vec();
    let long = |number: u32| number.to_be_bytes().to_vec();
    let name = |id: u16, length: u16, offset: u16| [3, 1, 0x409, id, length, offset].map(word).concat();
    let names: Vec<u8> = "Own FamilyOwn-Regular".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let code = u32::from(character);
    // One contour: a square of 500 units.
    let glyph = [
        [1_u16, 0, 0, 500, 500, 3, 0].map(word).concat(),
        vec![1, 1, 1, 1],
        [0_u16, 0, 500, 0].map(word).concat(),
        [0_u16, 500, 0, 0_u16.wrapping_sub(500)].map(word).concat(),
    ]
    .concat();
    let tables = [
        (b"OS/2", [vec![0; 4], word(400), vec![0; 72]].concat()),
        (
            b"cmap",
            [
                [0, 1, 3, 10].map(word).concat(),
                long(12),
                [12, 0].map(word).concat(),
                [28, 0, 1, code, code, 1].map(long).concat(),
            ]
            .concat(),
        ),
        (b"glyf", [vec![], glyph.clone()].concat()),
        (
            b"head",
            [
                long(0x10000),
                long(0),
                long(0),
                long(0x5f0f_3cf5),
                [0, 1000].map(word).concat(),
                vec![0; 16],
                [0, 0, 500, 500, 0, 8, 2, 1, 0].map(word).concat(),
            ]
            .concat(),
        ),
        (
            b"hhea",
            [long(0x10000), [800, 0_u16.wrapping_sub(200)].map(word).concat(), vec![0; 26], word(1)].concat(),
        ),
        (b"hmtx", [600, 0, 0].map(word).concat()),
        (b"loca", [0, 0, u32::try_from(glyph.len()).unwrap()].map(long).concat()),
        (b"maxp", [long(0x10000), word(2), vec![0; 26]].concat()),
        (b"name", [[0, 2, 30].map(word).concat(), name(1, 20, 0), name(6, 22, 20), names].concat()),
        (b"post", [long(0x30000), vec![0; 28]].concat()),
    ];
    let count = u16::try_from(tables.len()).unwrap();
    let mut font = [long(0x10000), [count, 128, 3, 32].map(word).concat()].concat();
    let mut offset = 12 + 16 * u32::from(count);
    for (tag, table) in &tables {
        let length = u32::try_from(table.len()).unwrap();
        font.extend([tag.to_vec(), long(0), long(offset), long(length)].concat());
        offset += length.next_multiple_of(4);
    }
    for (_, table) in tables {
        font.extend(&table);
        font.resize(font.len().next_multiple_of(4), 0);
    }
    font
}
