//! A damaged file is refused with one clear line, and nothing of it is stored.

use super::{ORDERS, file, import, order_line, orders_file, shop_rows, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    a_header_without_an_end_is_refused,
    a_file_that_cannot_be_read_is_refused,
    a_file_that_is_not_text_is_called_what_it_is,
    a_file_in_another_encoding_is_refused_with_its_line,
    the_encodings_that_fit_a_file_are_named,
    a_truncated_file_is_refused,
    a_header_with_a_duplicate_name_is_refused,
    a_line_with_another_number_of_fields_is_refused,
    a_nul_is_refused,
    a_quote_that_is_never_closed_does_not_fill_the_memory,
    an_order_of_endless_lines_is_refused,
    a_file_with_only_a_header_is_refused_unless_that_is_said_to_be_fine,
    a_feed_that_may_be_empty_is_configured_so,
    a_fault_of_the_file_is_not_skipped,
];

/// Imports a file that must be refused with exactly this first line, written without its run; `FILE` in it is the
/// file's path.
#[track_caller]
fn refused(shop: &Shop, content: impl AsRef<[u8]>, message: &str) {
    shop.write("orders.csv", content);
    refused_path(shop, "orders.csv", message);
}

#[track_caller]
fn refused_path(shop: &Shop, path: &str, message: &str) {
    let before = shop_rows(shop);
    let ran = import(shop, &["--kind", "orders", path]).run().exits(65).never_shows("panicked");
    let first = ran.stderr.lines().next().unwrap_or_default();
    let cause = first.split_once("): ").map(|(_run, cause)| cause);
    let message = message.replace("FILE", &format!("`{}`", shop.path(path).display()));
    assert_eq!(cause, Some(message.as_str()), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    assert_eq!(shop_rows(shop), before);
    let last = shop.sql("SELECT status, exit_code FROM batch_execution ORDER BY id DESC LIMIT 1");
    assert_eq!(last, [["FAILED", "65"]]);
}

fn a_file_that_cannot_be_read_is_refused(shop: &Shop) {
    with_tokyo(shop);
    refused_path(shop, "missing.csv", "failed to open FILE: it does not exist");
    shop.write("folder/file", "");
    refused_path(shop, "folder", "failed to open FILE: it is a directory");
    refused(shop, "", "FILE is empty: it has no header");
    refused(shop, "\n\r\n\n", "FILE is empty: it has no header");
    let ran = import(shop, &["--kind", "orders", "/dev/null"]).run().exits(65);
    assert!(ran.stderr.contains("failed to open `/dev/null`: it is not a regular file\n"), "{ran:?}");
}

fn a_file_that_is_not_text_is_called_what_it_is(shop: &Shop) {
    with_tokyo(shop);
    let excel = "hint: save it as CSV (UTF-8) in Excel";
    for (content, what, advice) in [
        (b"PK\x03\x04\x14\0[Content_Types].xml..xl/workbook.xml".as_slice(), "an Excel workbook", excel),
        (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\0\0", "an Excel workbook (.xls, or one with a password)", excel),
        (b"%PDF-1.7\n", "a PDF document", "hint: export the data as CSV"),
        (
            b" \r\n<!DOCTYPE html>\n<title>Login</title>",
            "a web page (HTML)",
            "hint: the download has most likely failed or needs a log-in",
        ),
    ] {
        refused(shop, content, &format!("FILE is {what}, not a CSV file"));
        // Nor is it a matter of the encoding.
        import(shop, &["--kind", "orders", "--encoding", "shift_jis", "orders.csv"])
            .run()
            .exits(65)
            .says(&format!("is {what}, not a CSV file"))
            .says(advice)
            .says("retry: ");
    }
}

fn a_file_in_another_encoding_is_refused_with_its_line(shop: &Shop) {
    with_tokyo(shop);
    let text = orders_file(3).replace("A000002", "注文2");
    let shift_jis = encoding_rs::SHIFT_JIS.encode(&text).0;
    refused(shop, &shift_jis, "failed to read FILE: line 3 is not valid utf-8 (byte 0x92)");
    let utf_16: Vec<u8> =
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    refused(
        shop,
        &utf_16,
        "failed to read FILE: line 1 is not valid utf-8 (bytes 0xFF 0xFE): the file looks like UTF-16; save it as UTF-8",
    );
    // Without its mark, UTF-16 of ASCII is valid UTF-8 with a NUL after every character.
    refused(
        shop,
        &utf_16[2..400],
        "failed to read FILE: line 1: there are NUL characters: the file looks like UTF-16; save it as UTF-8",
    );
    shop.write("batchctl.toml", "[import.orders]\nencoding = \"shift_jis\"\n");
    // In UTF-8, `注` is 0xE6 0xB3 0xA8: the first two make a character of Shift_JIS, and so on, until they do not.
    shop.write("orders.csv", &text);
    let before = shop_rows(shop);
    import(shop, &["--kind", "orders", "orders.csv"]).run().exits(65).says("line 3 is not valid shift_jis");
    assert_eq!(shop_rows(shop), before);
}

fn the_encodings_that_fit_a_file_are_named(shop: &Shop) {
    with_tokyo(shop);
    let file = |name: &str| orders_file(3).replace("A000002", name);
    // Of these only the first two have a character that the other encoding does not have.
    let japanese = encoding_rs::SHIFT_JIS.encode(&file("ソーダ2")).0.into_owned();
    let korean = encoding_rs::EUC_KR.encode(&file("회원")).0.into_owned();
    let either = encoding_rs::SHIFT_JIS.encode(&file("注文2")).0.into_owned();
    let french: Vec<u8> = file("Caf?").bytes().map(|byte| if byte == b'?' { 0xE9 } else { byte }).collect();
    for (content, given, hint, flag) in [
        (
            &japanese,
            "utf-8",
            "the file can be read as shift_jis: add --encoding shift_jis",
            Some("shift_jis"),
        ),
        (&korean, "utf-8", "the file can be read as euc-kr: add --encoding euc-kr", Some("euc-kr")),
        (&korean, "shift_jis", "the file can be read as euc-kr: add --encoding euc-kr", Some("euc-kr")),
        (
            &japanese,
            "euc-kr",
            "the file can be read as shift_jis: add --encoding shift_jis",
            Some("shift_jis"),
        ),
        (
            &file("注文2").into_bytes(),
            "shift_jis",
            "the file can be read as utf-8: add --encoding utf-8",
            Some("utf-8"),
        ),
        (
            &either,
            "utf-8",
            "the file can be read as shift_jis or euc-kr: add --encoding with the one that it was written in",
            None,
        ),
        (
            &french,
            "utf-8",
            "the file cannot be read in any encoding that we know (utf-8, shift_jis, euc-kr): it is damaged, or in another \
             one; save it as UTF-8",
            None,
        ),
    ] {
        shop.write("orders.csv", content);
        let ran = import(shop, &["--kind", "orders", "--encoding", given, "orders.csv"])
            .run()
            .exits(65)
            .says(&format!("is not valid {given} ("))
            .says(&format!("hint: {hint}"));
        let retry = ran.stderr.lines().find(|line| line.trim_start().starts_with("retry: ")).unwrap();
        assert_eq!(
            retry.split_once(" -- ").map(|(_, flags)| flags),
            flag.map(|it| format!("--encoding {it}")).as_deref()
        );
    }
}

fn a_truncated_file_is_refused(shop: &Shop) {
    with_tokyo(shop);
    let whole = orders_file(30);
    let quoted = format!("{}tokyo,\"A00", orders_file(30));
    refused(
        shop,
        quoted,
        "failed to read FILE: line 32: the file ends inside a quoted field of this line: it is truncated, or a quote \
        is not closed",
    );
    let cut = &whole[..whole.len() - "P1,1,1200\n".len()];
    refused(
        shop,
        cut,
        "failed to read FILE: line 31: the last line has 7 of 9 fields: the file is truncated",
    );
    refused(
        shop,
        &whole[..whole.len() - "1,1200\n".len()],
        "failed to read FILE: line 31: the last line has 8 of 9 fields: the file is truncated",
    );
    refused(
        shop,
        "\"mall",
        "failed to read FILE: line 1: the file ends inside a quoted field of this line: it is truncated, or a quote is \
        not closed",
    );
}

fn a_header_with_a_duplicate_name_is_refused(shop: &Shop) {
    with_tokyo(shop);
    let line = format!("{},x", order_line(1));
    refused(
        shop,
        file(&format!("{ORDERS},order_no"), &[&line]),
        "failed to read FILE: line 1: two columns are named `order_no`",
    );
}

fn a_line_with_another_number_of_fields_is_refused(shop: &Shop) {
    with_tokyo(shop);
    let line = order_line(1);
    refused(
        shop,
        file(ORDERS, &[&line, "tokyo,A-2,PAID", &order_line(3)]),
        "failed to read FILE: line 3: the line has 3 fields, the header has 9",
    );
    refused(
        shop,
        file(ORDERS, &[&line, &format!("{line},1"), &order_line(3)]),
        "failed to read FILE: line 3: the line has 10 fields, the header has 9: quote fields that contain the delimiter",
    );
}

fn a_nul_is_refused(shop: &Shop) {
    with_tokyo(shop);
    refused(
        shop,
        file(ORDERS, &[&order_line(1), &order_line(2).replace("P1", "P\0")]),
        "failed to read FILE: line 3: there is a NUL character: the file is damaged, or has another \
        encoding",
    );
}

fn a_quote_that_is_never_closed_does_not_fill_the_memory(shop: &Shop) {
    with_tokyo(shop);
    let mut text = orders_file(2);
    text.push_str("tokyo,\"A-3,PAID\n");
    text.push_str(&"x".repeat(3 * 1024 * 1024));
    refused(shop, text, "failed to read FILE: line 4: the line is longer than 1 MiB: a quote is not closed");
}

fn an_order_of_endless_lines_is_refused(shop: &Shop) {
    with_tokyo(shop);
    let lines: Vec<String> =
        (0..2_001).map(|number| order_line(1).replace("P1", &format!("P{number}"))).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    refused(shop, file(ORDERS, &lines), "failed to read FILE: line 2002: the order has more than 2000 lines");
    shop.write("orders.csv", file(ORDERS, &lines[1..]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM order_items"), "2000");
}

fn a_file_with_only_a_header_is_refused_unless_that_is_said_to_be_fine(shop: &Shop) {
    with_tokyo(shop);
    refused(shop, file(ORDERS, &[]), "FILE has a header and no lines; nothing was imported");
    // Neither line is one of the file.
    refused(shop, format!("{ORDERS}\n\n\r\n"), "FILE has a header and no lines; nothing was imported");
    let before = shop_rows(shop);
    shop.write("orders.csv", file(ORDERS, &[]));
    let fails = import(shop, &["--kind", "orders", "--skip-limit", "100%", "orders.csv"]).run().exits(65);
    fails.says("hint: if nothing happened that day, add --allow-empty; ");
    import(shop, &["--kind", "orders", "--allow-empty", "orders.csv"]).run().succeeds().is_silent();
    // The line that repeats the run has the flag too.
    let line = shop.scalar("SELECT command_line FROM batch_execution WHERE status = 'COMPLETED'");
    assert!(line.contains(" --allow-empty "), "{line}");
    assert_eq!(shop_rows(shop), before);
}

fn a_feed_that_may_be_empty_is_configured_so(shop: &Shop) {
    with_tokyo(shop);
    shop.write("batchctl.toml", "[import.orders]\nallow_empty = true\n");
    shop.write("empty.csv", file(ORDERS, &[]));
    import(shop, &["--kind", "orders", "empty.csv", "--verbose"])
        .run()
        .succeeds()
        .says("read 0 lines, 0 orders new");
    // Of another kind: there it is not usual.
    shop.write("refunds.csv", "mall,order_no,refund_no,amount,refunded_at\n");
    import(shop, &["--kind", "refunds", "refunds.csv"])
        .run()
        .exits(65)
        .says("set allow_empty = true in [import.refunds]");
    // What was imported is not imported again because an empty file became fine.
    shop.write("orders.csv", orders_file(2));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    shop.write("batchctl.toml", "");
    import(shop, &["--kind", "orders", "orders.csv", "--verbose"])
        .run()
        .succeeds()
        .says("already completed by run");
}

fn a_fault_of_the_file_is_not_skipped(shop: &Shop) {
    with_tokyo(shop);
    shop.write("orders.csv", file(ORDERS, &[&order_line(1), "tokyo,A-2", &order_line(3)]));
    let before = shop_rows(shop);
    import(shop, &["--kind", "orders", "--skip-limit", "100%", "orders.csv"])
        .run()
        .exits(65)
        .says("line 3: the line has 2 fields, the header has 9");
    assert_eq!(shop_rows(shop), before);
}

fn a_header_without_an_end_is_refused(shop: &Shop) {
    with_tokyo(shop);
    shop.write("wide.csv", "column,".repeat(50_000) + "\n");
    import(shop, &["--kind", "orders", "wide.csv"]).run().exits(65).says("has 50001 columns, more than 2000");
}
