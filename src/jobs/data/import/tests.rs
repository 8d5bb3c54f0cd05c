//! What the first pass finds in a file, without a database.

use super::*;
use crate::shop::malls::Mall;

fn main_mall() -> Mall {
    Mall {
        id: 1,
        code: "main".to_owned(),
        name: "main".to_owned(),
        platform: "csv".to_owned(),
        time_zone: "Asia/Tokyo".to_owned(),
        currency: "JPY".to_owned(),
        is_active: true,
        account: None,
        shop_no: 1,
        problems: crate::db::Problems::default(),
    }
}

/// A section by its keys.
fn section(keys: &str) -> ImportSection {
    toml::from_str(keys).unwrap()
}

/// The problems of a file, line by line, and what is noted of the others.
fn checked<K: FileKind>(kind: Kind, text: &str, keys: &ImportSection) -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.csv");
    std::fs::write(&path, text).unwrap();
    let source =
        Source { path, encoding: TextEncoding::Utf8, delimiter: b',', quotes: keys.quotes != Some(false) };
    let (_, header) = source.open().unwrap();
    assert_eq!(keys.fault(), None);
    let mapping = Mapping::plain(kind, keys.clone());
    let mall = Some("main".to_owned());
    let layout = match mapping
        .refuse_misuse()
        .and_then(|()| Layout::new(&mapping, "file.csv", &header, K::columns(), &[main_mall()], mall))
    {
        Ok(layout) => Arc::new(layout),
        Err(failure) => return (vec![failure.message], Vec::new()),
    };
    let plan = ReadPlan { pass: Pass::Check, wanted: None, chunk_lines: 2, database: DbKind::Sqlite };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut feed = Feed::start::<K>(&source, &layout, plan);
        let (mut bad, mut notes) = (Vec::new(), Notes::default());
        while let FeedMessage::Chunk(chunk) = feed.next().await.unwrap() {
            bad.extend(chunk.bad);
            notes.append(chunk.notes);
        }
        let bad = bad.into_iter().map(|bad| format!("{}: {}", bad.line, bad.text())).collect();
        (bad, notes_in_words::<K>(&layout, &notes))
    })
}

fn problems<K: FileKind>(kind: Kind, text: &str, keys: &ImportSection) -> Vec<String> {
    checked::<K>(kind, text, keys).0
}

fn order_problems(lines: &str) -> Vec<String> {
    let header = "order_no,status,ordered_at,total_amount,product_code,quantity,unit_price_amount,paid_at,cancelled_at";
    problems::<orders::Orders>(Kind::Orders, &format!("{header}\n{lines}"), &ImportSection::default())
}

#[test]
fn a_good_order_has_no_problems() {
    let lines = "1,PAID,2026-11-19 10:00,300,A,1,100,2026-11-19 10:05,\n1,PAID,2026-11-19 10:00,300,B,2,100,2026-11-19 10:05,\n";
    assert_eq!(order_problems(lines), Vec::<String>::new());
}

#[test]
fn an_order_without_the_day_its_report_needs_is_bad() {
    assert_eq!(
        order_problems("1,SHIPPED,2026-11-19 10:00,300,A,1,100,,\n"),
        ["2: `paid_at`: is empty, but the order is SHIPPED"]
    );
    assert_eq!(
        order_problems("1,ORDER_CANCELLED,2026-11-19 10:00,300,A,1,100,,\n"),
        ["2: `cancelled_at`: is empty, but the order is ORDER_CANCELLED"]
    );
}

#[test]
fn lines_of_one_order_must_agree_and_be_distinguishable() {
    let lines = "1,PAYMENT_WAIT,2026-11-19 10:00,300,A,1,100,,\n\
                 1,PAYMENT_WAIT,2026-11-19 10:00,400,B,1,100,,\n\
                 1,PAYMENT_WAIT,2026-11-19 10:00,300,A,2,100,,\n\
                 1,PAYMENT_WAIT,2026-11-19 10:00,300,A,2,100,,\n\
                 1,PAYMENT_WAIT,2026-11-19 10:00,300,A,1,100,,\n";
    assert_eq!(
        order_problems(lines),
        [
            "3: `total_amount`: `400` differs from `300` on line 2 of the same order",
            "4: `product_code`: `A` occurs twice in the same order: distinguish its lines with a column `line_no`",
            "5: the line is the same as line 4: remove it, or, if the product really is in the order twice, number \
             both lines in a column `line_no`",
            "6: the line is the same as line 2: remove it, or, if the product really is in the order twice, number \
             both lines in a column `line_no`",
        ]
    );
}

#[test]
fn a_mapped_header_and_a_mapped_value_become_ours() {
    let config = section("[columns]\nmember_code = '会員番号'\n[values.status]\n'有効' = 'ACTIVE'");
    let file = "\u{feff} 会員番号 ,status,signed_up_at\nM1,有効,2026-11-19 10:00\n";
    assert_eq!(problems::<members::Members>(Kind::Members, file, &config), Vec::<String>::new());
}

#[test]
fn a_delimiter_is_one_ascii_character() {
    assert_eq!(parse_delimiter("tab"), Ok('\t'));
    assert_eq!(parse_delimiter(";"), Ok(';'));
    assert!(parse_delimiter("").is_err() && parse_delimiter("；").is_err() && parse_delimiter("::").is_err());
}
