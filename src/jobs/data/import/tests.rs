//! What the first pass finds in a file, without a database.

use super::container::Content;
use super::feed::{Feed, FeedMessage, Pass, ReadPlan};
use super::kind::Notes;
use super::*;
use crate::db::Kind as DbKind;
use crate::digest::fingerprint;
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
    let source = Source {
        content: Content::of(&path),
        encoding: TextEncoding::Utf8,
        delimiter: b',',
        quotes: keys.quotes.unwrap_or_default(),
    };
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

#[test]
fn all_that_is_wrong_with_a_line_is_said() {
    let header = "mall,order_no,status,ordered_at,total_amount,product_code,quantity,unit_price_amount";
    let lines = "osaka,1,BOUGHT,yesterday,¥5,A,one,1\nosaka,1,BOUGHT,yesterday,¥5,,1,\n";
    let text = format!("{header}\n{lines}");
    let found = problems::<orders::Orders>(Kind::Orders, &text, &ImportSection::default());
    assert_eq!(found.len(), 2, "{found:#?}");
    for column in ["mall", "total_amount", "status", "ordered_at", "quantity"] {
        assert!(found[0].contains(&format!("`{column}`: ")), "{column}: {}", found[0]);
    }
    for column in ["product_code", "unit_price_amount"] {
        assert!(found[1].contains(&format!("`{column}`: is empty")), "{column}: {}", found[1]);
    }
    let members = "member_code,status,signed_up_at\n,GONE,never\n";
    let found = problems::<members::Members>(Kind::Members, members, &ImportSection::default());
    assert!(found[0].starts_with("2: `member_code`: is empty; `status`: `GONE` is not one of"), "{found:?}");
    assert!(found[0].contains("; `signed_up_at`: `never` is not a time"), "{found:?}");
}

#[test]
fn a_mapping_that_does_not_fit_the_header_says_what_it_looked_for() {
    let header = "order_no,status,ordered_at,total_amount,product_code,quantity,unit_price_amount,Paid,paid ";
    let found = |keys: &str| {
        let found = problems::<orders::Orders>(Kind::Orders, &format!("{header}\n"), &section(keys));
        found
            .into_iter()
            .next()
            .map(|problem| problem.replace("failed to read `file.csv`: line 1: ", ""))
            .unwrap_or_default()
    };
    let missing = |keys: &str| found(keys).split("; the header has").next().unwrap_or_default().to_owned();
    assert_eq!(missing("columns.status = ['a', 'b']"), "missing column `status` (looked for as `a` or `b`)");
    assert_eq!(missing("columns.paid_at = { from = 'a', optional = true }"), "");
    assert_eq!(
        missing("columns.discount_amount = { add = ['status', 'nowhere'] }"),
        "missing column `discount_amount` (looked for as `nowhere`)"
    );
    assert_eq!(
        missing("columns.shipping_amount = { from = 'total_amount', once_per = 'destination' }"),
        "missing column `shipping_amount` (looked for as `destination`)"
    );
    assert_eq!(
        missing("[[rules]]\nwhen = { kind = 'x' }\nskip = 'line'"),
        "missing column `kind` (read by a rule)"
    );
    assert_eq!(
        missing("[lines]\ncolumn = 'kind'\nproduct = ['1']"),
        "missing column `kind` (read by `lines`)"
    );
    assert_eq!(missing("columns.paid_at = 'PAID'"), "`PAID` may be either `Paid` or `paid`");
    assert_eq!(missing("duplicate_headers = 'first'\ncolumns.paid_at = 'PAID'"), "");
    // What is written exactly is not a question of meaning.
    assert_eq!(missing("columns.paid_at = 'paid'"), "");
}

#[test]
fn a_mapping_that_a_kind_cannot_have_is_refused_by_its_key() {
    let misuse = |kind: Kind, keys: &str| {
        Mapping::plain(kind, section(keys))
            .refuse_misuse()
            .err()
            .map(|failure| failure.message)
            .unwrap_or_default()
    };
    for (kind, keys, message) in [
        (
            Kind::Orders,
            "columns.status = { add = ['a'] }",
            "[import.orders.columns] status: `add` is for amounts",
        ),
        (
            Kind::Orders,
            "columns.line_amount = { from = 'a', per = 'order' }",
            "[import.orders.columns] line_amount: `per` is for amounts of a whole order",
        ),
        (
            Kind::Orders,
            "columns.status = { from = 'a', time_format = '%Y' }",
            "[import.orders.columns] status: `time_format` is for times",
        ),
        (
            Kind::Orders,
            "columns.tax_amount = { computed = true }",
            "[import.orders.columns] tax_amount: `computed` is for `total_amount`",
        ),
        (
            Kind::Orders,
            "columns.product_code = { position = true }",
            "[import.orders.columns] product_code: `position` is for `line_no`",
        ),
        (
            Kind::Orders,
            "columns.member_code = { from = 'a', first_of = ['b'] }",
            "[import.orders.columns] member_code: `first_of` is for the words of a whole order",
        ),
        (
            Kind::Members,
            "columns.status = { from = 'a', first_of = ['ACTIVE'] }",
            "[import.members.columns] status: `first_of` is for the words of a whole order",
        ),
        (
            Kind::Members,
            "fill_down = true",
            "[import.members] `fill_down` is for records of several lines, which members are not",
        ),
        (Kind::Carts, "[lines]\ncolumn = 'a'\nskip = ['x']", "[import.carts] `lines` is for orders"),
        (
            Kind::Orders,
            "columns.fee_amount = 'fee'\n[lines]\ncolumn = 'a'\nfee = ['x']",
            "[import.orders] counts fee twice, as `columns.fee_amount` and as `lines.fee`: drop the column, or move the \
             words to `lines.skip`",
        ),
        (
            Kind::Orders,
            "[lines]\ncolumn = 'a'\nfee = ['x']\n[[rules]]\nwhen = { a = 'b' }\nset = { fee_amount = '0' }",
            "[import.orders] counts fee twice, as `fee_amount` of a rule and as `lines.fee`: drop the one or the other",
        ),
        (
            Kind::Orders,
            "columns.fee_amount = { from = 'fee', per = 'order' }\n[[rules]]\nwhen = { a = 'b' }\nset = { fee_amount = '500' }",
            "[import.orders.rules] sets `fee_amount` to `500`, but it is added up over the lines: only \"0\" or \"\" can be set \
             for a line",
        ),
        (
            Kind::Orders,
            "[[rules]]\nwhen = { a = 'b' }\nset = { state = 'PAID' }",
            "[import.orders.rules] names `state`, which is not a column of orders",
        ),
    ] {
        assert_eq!(misuse(kind, keys), message);
    }
    let words = Mapping::plain(Kind::Orders, section("columns.status = { constant = 'PAYED' }")).problems();
    assert!(
        words[0].starts_with("[import.orders.columns] sets `status` to `PAYED`, which is not one of"),
        "{words:?}"
    );
    let ranked = "columns.status = { from = 'a', first_of = ['PAID', 'SHIPED'] }";
    assert_eq!(
        Mapping::plain(Kind::Orders, section(ranked)).problems(),
        [
            "[import.orders.columns] status: `first_of` has `SHIPED`, which is not one of PAYMENT_WAIT, PAID, SHIPPED, \
             DELIVERED, ORDER_CANCELLED, REFUNDED: did you mean `SHIPPED`?"
        ]
    );
}

#[test]
fn a_word_that_is_not_ranked_and_a_computed_total_below_nothing_are_bad() {
    let keys = "[columns]\nstatus = { from = 'state', first_of = ['PAID', 'ORDER_CANCELLED'] }\n\
                total_amount = { computed = true, add = ['adjustment'] }";
    let text = "order_no,state,ordered_at,paid_at,adjustment,product_code,quantity,unit_price_amount\n\
                1,PAID,2026-11-19 10:00,2026-11-19 10:00,0,A,1,100\n\
                1,DELIVERED,2026-11-19 10:00,2026-11-19 10:00,0,B,1,100\n\
                2,PAID,2026-11-19 10:00,2026-11-19 10:00,-101,A,1,100\n";
    assert_eq!(
        problems::<orders::Orders>(Kind::Orders, text, &section(keys)),
        [
            "2: `status`: `DELIVERED` is not in its `first_of`",
            "4: `total_amount`: the order's lines and discounts add up to less than nothing",
        ]
    );
}

/// A file without the column of a day is as its mapping says, every night; the amounts are those of computed totals.
#[test]
fn a_day_that_a_rule_gave_is_noted_where_the_file_left_it_blank() {
    let keys = "paid_without_time = 'ordered_at'\n[columns]\ntotal_amount = { computed = true }";
    let header = "order_no,status,ordered_at,paid_at,product_code,quantity,unit_price_amount";
    let at = "2026-11-19 10:00";
    let text = format!("{header}\n1,PAID,{at},,A,1,100\n2,PAID,{at},,A,2,100\n3,PAID,{at},{at},A,2,100\n");
    let noted = |text: &str| checked::<orders::Orders>(Kind::Orders, text, &section(keys));
    let note = "2 paid orders have no payment day and count on another of their days (300 JPY): line 2, order 1; line 3, order 2";
    assert_eq!(noted(&text), (vec![], vec![note.to_owned()]));
    assert_eq!(noted(&text.replace("paid_at", "paid")), (vec![], vec![]));
}

#[test]
fn a_field_that_its_pattern_does_not_match_and_a_line_of_no_kind_are_bad() {
    let keys = "[columns]\nproduct_code = { from = 'sku', pattern = '^[A-Z]' }\n[lines]\ncolumn = 'kind'\nproduct = ['1']";
    let text = "order_no,status,ordered_at,total_amount,sku,quantity,unit_price_amount,kind\n\
                1,PAYMENT_WAIT,2026-11-19 10:00,100,a1,1,100,1\n\
                2,PAYMENT_WAIT,2026-11-19 10:00,100,B,1,100,7\n";
    assert_eq!(
        problems::<orders::Orders>(Kind::Orders, text, &section(keys)),
        [
            "2: `product_code`: `a1` does not match the pattern `^[A-Z]`",
            "3: `kind`: `7` is not a kind of line: add it to one of the lists in batchctl.toml, [import.orders.lines]",
        ]
    );
}

#[test]
fn an_amount_or_time_that_is_not_as_declared_says_how_it_should_be() {
    let keys = "thousands = ','\ntime_format = ['%Y/%m/%d', '%Y-%m-%d']";
    let text = "order_no,status,ordered_at,total_amount,product_code,quantity,unit_price_amount\n\
                1,PAYMENT_WAIT,19.11.2026,¥100,A,1,\"1,00\"\n";
    assert_eq!(
        problems::<orders::Orders>(Kind::Orders, text, &section(keys)),
        [
            "2: `total_amount`: `¥100` is not a number: write it like `1,234.50`, or set currency_signs = ['¥']; `ordered_at`: `19.11.2026` is not a time in one \
          of the formats `%Y/%m/%d`, `%Y-%m-%d` of batchctl.toml; `unit_price_amount`: `1,00` is not a number: write it like \
          `1,234.50`"
        ]
    );
}

#[test]
fn an_amount_with_signs_or_separators_names_the_keys_for_them() {
    let said = |amount: &str| {
        let line = format!("1,PAYMENT_WAIT,2026-11-19 10:00,\"{amount}\",A,1,100,,\n");
        order_problems(&line).join("\n").split("` is not a number: ").nth(1).unwrap_or_default().to_owned()
    };
    let digits = "use only digits, one `.` and a leading `-`";
    assert_eq!(said("¥1,200"), format!("{digits}, or set currency_signs = ['¥'] and thousands = ','"));
    assert_eq!(said("\\1,200"), format!("{digits}, or set currency_signs = ['\\'] and thousands = ','"));
    assert_eq!(said("1200円"), format!("{digits}, or set currency_signs = ['円']"));
    assert_eq!(said("1,200"), "write `1200`, or set thousands = ','");
    assert_eq!(said("x"), digits);
}

/// A rule sets a state on one of the items: what the file writes is the same on both lines.
#[test]
fn lines_that_differ_by_a_rule_say_what_it_makes_of_them() {
    let keys = "[[rules]]\nwhen = { product_code = 'B' }\nset = { status = 'ORDER_CANCELLED' }";
    let text = "order_no,status,ordered_at,paid_at,total_amount,product_code,quantity,unit_price_amount\n\
                1,PAID,2026-11-19 10:00,2026-11-19 10:00,200,A,1,100\n\
                1,PAID,2026-11-19 10:00,2026-11-19 10:00,200,B,1,100\n";
    assert_eq!(
        problems::<orders::Orders>(Kind::Orders, text, &section(keys)),
        [
            "3: `status`: `ORDER_CANCELLED` differs from `PAID` on line 2 of the same order: a rule holds for one of them only; \
             let it name headers that are the same on all lines, or set `first_of`"
        ]
    );
}

#[test]
fn a_line_whose_amount_is_not_its_quantity_times_its_price_is_noted() {
    let text = "order_no,status,ordered_at,total_amount,product_code,quantity,unit_price_amount,line_amount,line_tax_amount\n\
                1,PAYMENT_WAIT,2026-11-19 10:00,2100,A,2,1000,2100,0\n\
                2,PAYMENT_WAIT,2026-11-19 10:00,2200,A,2,1000,2200,200\n\
                3,PAYMENT_WAIT,2026-11-19 10:00,1000,A,3,333,1000,0\n";
    assert_eq!(
        checked::<orders::Orders>(Kind::Orders, text, &ImportSection::default()).1,
        [
            "1 order has a line whose amount is not its quantity times its price: the amount counts (100 JPY): line 2, order 1: \
             2,100 instead of 2,000 JPY"
        ]
    );
}

#[test]
fn status_and_money_that_disagree_are_noted_with_count_sum_and_examples() {
    let header = "order_no,status,ordered_at,paid_at,cancelled_at,updated_at,total_amount,shipping_amount,fee_amount,discount_amount,tax_amount,\
                  product_code,quantity,unit_price_amount,line_discount_amount";
    let at = "2026-11-19 10:00";
    let lines = [
        format!("1,REFUNDED,{at},{at},,,1000,0,0,0,0,A,1,1000,"),
        format!("2,ORDER_CANCELLED,{at},{at},{at},,500,0,0,0,0,A,1,500,"),
        format!("3,PAYMENT_WAIT,{at},{at},,,500,0,0,0,0,A,1,500,"),
        // Tax on top or within, a discount that repeats those of the lines or not: all of them add up.
        format!("4,PAID,{at},{at},,,1600,500,0,0,100,A,1,1000,"),
        format!("5,PAID,{at},{at},,,1500,500,0,0,100,A,1,1000,"),
        format!("6,PAID,{at},{at},,,900,0,0,100,0,A,1,1000,100"),
        format!("7,PAID,{at},{at},,,1550,500,0,0,100,A,1,1000,"),
        format!("8,PAID,{at},{at},,,1,500,0,0,100,A,1,1000,"),
        format!("9,ORDER_CANCELLED,{at},,,{at},500,0,0,0,0,A,1,500,"),
    ];
    let text = format!("{header}\n{}\n", lines.join("\n"));
    let (bad, notes) = checked::<orders::Orders>(Kind::Orders, &text, &ImportSection::default());
    assert_eq!(bad, Vec::<String>::new());
    assert_eq!(
        notes,
        [
            "2 orders count as refunded in full: they are REFUNDED, or were cancelled after they were paid, without an amount (1,500 JPY): line 2, order 1; line 3, order 2",
            "1 cancelled order has no day of it and counts on another of its days (500 JPY): line 10, order 9",
            "1 order waits for its payment (PAYMENT_WAIT) but has a payment day, and counts as paid (500 JPY): line 4, order 3",
            "2 totals are not the sums of their lines, shipping, fees and taxes less discounts (-1,449 JPY): line 8, order 7: 1,550 instead of 1,500 JPY; line 9, order 8: 1 instead of 1,500 JPY",
        ]
    );
    // What a column that the file lacks may explain is no contradiction.
    let without: Vec<String> = text
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            [&fields[..8], &fields[9..]].concat().join(",")
        })
        .collect();
    let (_, notes) =
        checked::<orders::Orders>(Kind::Orders, &(without.join("\n") + "\n"), &ImportSection::default());
    assert!(notes[3].starts_with("1 total is not the sum"), "{notes:?}");
    // Prices without tax are not a sum without it.
    let (_, notes) = checked::<orders::Orders>(Kind::Orders, &text, &section("tax_included = false"));
    assert!(notes[3].starts_with("3 totals are not the sums"), "{notes:?}");
}

#[test]
fn lines_that_a_rule_leaves_out_are_counted_by_rule() {
    let keys = "[[rules]]\nname = 'drafts'\nwhen = { status = 'draft' }\nskip = true\n\
                [[rules]]\nwhen = { sku = ['', 'X'] }\nskip = true\n[columns]\nproduct_code = 'sku'";
    let text = "order_no,status,ordered_at,total_amount,sku,quantity,unit_price_amount\n\
                1,draft,,,A,1,100\n1,draft,,,B,1,100\n2,PAYMENT_WAIT,2026-11-19 10:00,100,X,1,100\n\
                2,PAYMENT_WAIT,2026-11-19 10:00,100,A,1,100\n3,PAYMENT_WAIT,2026-11-19 10:00,100,,1,100\n";
    let (bad, notes) = checked::<orders::Orders>(Kind::Orders, text, &section(keys));
    assert_eq!(bad, Vec::<String>::new());
    assert_eq!(
        notes,
        [
            "2 lines were left out by the rule `drafts`",
            "2 lines were left out by the rule `sku = (empty) or X`"
        ]
    );
}

/// A file that was imported under an older version is not imported again for having been described in another way.
#[test]
fn what_could_be_said_before_has_the_digest_that_it_had() {
    let keys = section(
        "mall = 'main'\ndelimiter = ';'\ntime_format = '%Y'\n[columns]\nstatus = '状態'\n[values.status]\na = 'PAID'",
    );
    let old = "utf-8 59 Some(\"main\") ImportFile { columns: {\"status\": \"状態\"}, time_format: Some(\"%Y\"), mall: Some(\"main\"), \
               encoding: Utf8, delimiter: Some(';'), values: {\"status\": {\"a\": \"PAID\"}} }";
    let now = |keys: &ImportSection| {
        let encodings =
            if keys.encoding.is_empty() { vec![TextEncoding::Utf8] } else { keys.encoding.to_vec() };
        interpretation(&encodings, b';', Some("main"), keys)
    };
    assert_eq!(now(&keys), fingerprint(old));
    for more in ["allow_empty = true", "allow_empty = false"] {
        let same = section(&format!(
            "{more}\nmall = 'main'\ndelimiter = ';'\ntime_format = '%Y'\n[columns]\nstatus = '状態'\n[values.status]\na = 'PAID'"
        ));
        assert_eq!(now(&same), now(&keys));
    }
    let mut digests: Vec<String> = [
        "",
        "thousands = ','",
        "quotes = false",
        "fill_down = true",
        "tax_included = true",
        "paid_without_time = 'ordered_at'",
        "cancelled_without_time = 'ordered_at'",
        "refunded_without_amount = 'keep'",
        "columns.status = ['a', 'b']",
        "columns.status = { constant = 'PAID' }",
        "[[rules]]\nwhen = { a = 'b' }\nskip = true",
        "[lines]\ncolumn = 'a'\nfee = ['b']",
        "encoding = ['utf-8', 'shift_jis']",
        "time_format = ['%Y', '%m']",
    ]
    .iter()
    .map(|keys| now(&section(keys)))
    .collect();
    digests.sort();
    let count = digests.len();
    digests.dedup();
    assert_eq!(digests.len(), count, "each of them changes what a line means");
}

const AMOUNTS: &str = "order_no,status,ordered_at,paid_at,cancelled_at,total_amount,refunded_amount,cancelled_amount,\
                       shipping_amount,product_code,quantity,unit_price_amount";

#[test]
fn what_an_order_says_of_itself_that_cannot_all_be_meant_is_noted() {
    let at = "2026-11-19 10:00";
    let lines = [
        format!("1,PAID,{at},{at},{at},100,,,,A,1,100"),
        format!("2,ORDER_CANCELLED,{at},{at},{at},200,0,,,A,1,200"),
        format!("3,PAYMENT_WAIT,{at},,,300,30,,,A,1,300"),
        // Nothing to say: a part was cancelled, or was never paid.
        format!("4,PAID,{at},{at},{at},400,,40,,A,1,400"),
        format!("5,ORDER_CANCELLED,{at},,{at},500,0,,,A,1,500"),
        // More than twice what it is made of, and no fee is so large.
        format!("6,PAID,{at},{at},,9000,,,1000,A,1,1000"),
    ];
    let text = format!("{AMOUNTS}\n{}\n", lines.join("\n"));
    assert_eq!(
        checked::<orders::Orders>(Kind::Orders, &text, &ImportSection::default()),
        (
            vec![],
            [
                "1 order has the day of a cancellation but is not ORDER_CANCELLED, and counts among the cancelled ones too (100 JPY): line 2, order 1",
                "1 order was cancelled after it was paid and counts in full: nothing of it was paid back (200 JPY): line 3, order 2",
                "1 order has an amount that was paid back but no payment day, and counts neither as a sale nor as a refund (30 JPY): line 4, order 3",
                "1 total is not the sum of its lines, shipping, fees and tax less discounts (7,000 JPY): line 7, order 6: 9,000 instead of 2,000 JPY",
            ]
            .map(str::to_owned)
            .to_vec()
        )
    );
}

#[test]
fn more_than_an_order_cost_is_not_paid_back_unless_that_is_said_to_be_so() {
    let at = "2026-11-19 10:00";
    let lines = [
        format!("1,PAID,{at},{at},,600,5000,,,A,1,600"),
        format!("2,PAID,{at},{at},{at},600,,601,,A,1,600"),
        format!("3,REFUNDED,{at},{at},,600,600,,,A,1,600"),
    ];
    let text = format!("{AMOUNTS}\n{}\n", lines.join("\n"));
    assert_eq!(
        problems::<orders::Orders>(Kind::Orders, &text, &ImportSection::default()),
        [
            "2: `refunded_amount`: 5,000 is more than the order's total, 600 JPY: correct it, or set refunded_above_total = \"keep\"",
            "3: `cancelled_amount`: 601 is more than the order's total, 600 JPY: correct it, or set refunded_above_total = \"keep\"",
        ]
    );
    assert_eq!(
        checked::<orders::Orders>(Kind::Orders, &text, &section("refunded_above_total = 'keep'")),
        (
            vec![],
            vec![
                "2 orders had more paid back than they cost (4,401 JPY): line 2, order 1; line 3, order 2"
                    .to_owned(),
                "2 orders' money went back on days that the file does not say: it counts on the days of the payments, or \
                 of the exports that first said it (5,600 JPY): line 2, order 1; line 4, order 3"
                    .to_owned(),
            ]
        )
    );
}

#[test]
fn an_item_that_was_cancelled_without_an_amount_and_a_negative_deduction_are_noted() {
    let keys = "[columns]\nstatus = { from = 'status', first_of = ['PAID', 'ORDER_CANCELLED'] }\n\
                line_amount = { from = 'price', subtract = ['rebate'] }";
    let at = "2026-11-19 10:00";
    let header =
        "order_no,status,ordered_at,paid_at,total_amount,refunded_amount,product_code,quantity,price,rebate";
    let text = [
        header.to_owned(),
        format!("1,PAID,{at},{at},300,,A,1,100,"),
        format!("1,ORDER_CANCELLED,{at},{at},300,,B,1,200,0"),
        format!("2,PAID,{at},{at},300,200,A,1,100,"),
        format!("2,ORDER_CANCELLED,{at},{at},300,200,B,1,200,"),
        format!("3,PAID,{at},{at},150,,A,1,100,-50"),
    ];
    assert_eq!(
        checked::<orders::Orders>(Kind::Orders, &(text.join("\n") + "\n"), &section(keys)),
        (
            vec![],
            vec![
                "1 order counts in full although some of its items were cancelled or returned: no amount says what was paid \
                 back (300 JPY): line 2, order 1"
                    .to_owned(),
                "1 order has a negative amount where one is deducted, which adds to it (150 JPY): line 6, order 3".to_owned(),
                "1 order's money went back on a day that the file does not say: it counts on the day of the payment, or of \
                 the export that first said it (200 JPY): line 4, order 2"
                    .to_owned(),
            ]
        )
    );
}

#[test]
fn two_amounts_of_one_destination_or_order_are_both_named() {
    let keys = "[columns]\nshipping_amount = { from = 'postage', once_per = 'to' }\nfee_amount = { add = ['cod', 'wrap'] }\n\
                line_no = { position = true }";
    let at = "2026-11-19 10:00";
    let text = format!(
        "order_no,status,ordered_at,total_amount,postage,to,cod,wrap,product_code,quantity,unit_price_amount\n\
         1,PAYMENT_WAIT,{at},600,500,x,1,,A,1,100\n1,PAYMENT_WAIT,{at},600,600,x,1,,A,1,0\n\
         2,PAYMENT_WAIT,{at},600,,x,1,100,A,1,600\n2,PAYMENT_WAIT,{at},600,,x,1,0,A,1,0\n"
    );
    assert_eq!(
        problems::<orders::Orders>(Kind::Orders, &text, &section(keys)),
        [
            "2: `shipping_amount`: `600` on line 3 differs from the amount on line 2, which is for the same `to`",
            "5: `fee_amount`: `1 + 0` differs from `1 + 100` on line 4 of the same order",
        ]
    );
}

#[test]
fn our_own_column_of_an_amount_that_lines_are_added_to_is_refused() {
    let keys = "[lines]\ncolumn = 'kind'\nproduct = ['1']\nrefund = ['4']";
    let text = "kind,Refunded_Amount,order_no,status,ordered_at,total_amount,product_code,quantity,unit_price_amount\n";
    assert_eq!(
        problems::<orders::Orders>(Kind::Orders, text, &section(keys)),
        [
            "failed to read `file.csv`: line 1: refund would count twice, as the column `refunded_amount` and as `lines.refund` of [import.orders]"
        ]
    );
    assert_eq!(
        problems::<orders::Orders>(Kind::Orders, &text.replace("Refunded", "Repaid"), &section(keys)),
        [""; 0]
    );
}

/// `3.000` is three yen where a point begins decimals, and three thousand where it groups digits.
#[test]
fn three_decimals_of_a_currency_that_has_none_are_refused_unless_the_point_is_declared() {
    let at = "2026-11-19 10:00";
    let header = "order_no,status,ordered_at,total_amount,currency,product_code,quantity,unit_price_amount";
    let file =
        |total: &str, currency: &str| format!("{header}\n1,PAYMENT_WAIT,{at},{total},{currency},A,1.000,1\n");
    let found = |text: &str, keys: &str| problems::<orders::Orders>(Kind::Orders, text, &section(keys));
    let refused = |text: &str| {
        [format!(
            "2: `total_amount`: `{text}` has either decimals or thousands after its point: set decimal = \".\", or thousands = \
             \".\" and decimal = \",\""
        )]
    };
    assert_eq!(found(&file("3.000", "JPY"), ""), refused("3.000"));
    assert_eq!(found(&file("12.000", "KRW"), ""), refused("12.000"));
    assert_eq!(found(&file("3.000円", "JPY"), "currency_signs = ['円']"), refused("3.000円"));
    for (total, currency, keys) in [
        ("3.000", "JPY", "decimal = '.'"),
        ("3.000", "JPY", "thousands = ','"),
        ("3.00", "JPY", ""),
        ("3.000", "USD", ""),
        ("3.000", "KWD", ""),
    ] {
        assert_eq!(found(&file(total, currency), keys), [""; 0], "{total} {currency} {keys}");
    }
}

/// An error is mailed and kept, so that a customer's line must not be in it.
#[test]
fn a_line_of_data_in_the_place_of_the_header_is_recognised_and_not_shown() {
    let data = "1001,2026/6/1,髙橋 花子,0600001,北海道,hanako@example.com,090-1234-5678,1200";
    let found = |header: &str| {
        problems::<orders::Orders>(Kind::Orders, &format!("{header}\n"), &ImportSection::default())
    };
    for header in [data.to_owned(), format!("{data},髙橋 花子"), "M-1,髙橋 花子,2026-11-19".to_owned()]
    {
        let fields = header.split(',').count();
        let [refused] = found(&header).try_into().unwrap();
        assert!(
            refused.ends_with(&format!(
                "; the line has {fields} fields and looks like data: the header seems to be missing"
            )),
            "{refused}"
        );
        for value in ["花子", "hanako", "090", "北海道", "1001"] {
            assert!(!refused.contains(value), "{value}: {refused}");
        }
    }
    let [refused] = found("order_no,2026-11-19,total").try_into().unwrap();
    assert!(refused.ends_with("; the header has `order_no`, `9999-99-99`, `total`"), "{refused}");
}
