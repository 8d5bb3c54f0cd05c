//! Tests of how sections are read, checked and put on top of each other.

use super::super::Sections;
use super::*;

fn orders(text: &str) -> ImportSections {
    Sections::parse("batchctl.toml", text).unwrap().import["orders"].clone()
}

#[test]
fn an_encoding_has_the_names_that_the_flag_takes() {
    let text = "[import.orders]\nencoding = \"sjis\"\n[import.members]\nencoding = [\"utf-8\", \"cp949\"]";
    let import = Sections::parse("batchctl.toml", text).unwrap().import;
    assert_eq!(import["orders"].own.encoding.0, [TextEncoding::ShiftJis]);
    assert_eq!(import["members"].own.encoding.0, [TextEncoding::Utf8, TextEncoding::EucKr]);
}

#[test]
fn a_column_is_a_header_a_list_of_them_or_a_table() {
    let text = "[import.orders.columns]\nstatus = '状態'\npaid_at = ['Paid at', 'Created at']\n\
                currency = { constant = 'JPY' }\nproduct_name = { from = 'Name', pattern = '^(.+?) - ', or_whole = true }";
    let columns = orders(text).own.columns;
    assert_eq!(columns["status"].plain(), Some("状態"));
    assert_eq!(columns["paid_at"].from.0, ["Paid at", "Created at"]);
    assert_eq!(columns["currency"].constant.as_deref(), Some("JPY"));
    assert_eq!(columns["product_name"].pattern.as_deref(), Some("^(.+?) - "));
    assert!(columns["product_name"].or_whole);
}

#[test]
fn a_table_that_is_not_a_key_is_a_section_of_that_name() {
    let sections = orders(
        "[import.orders]\nmall = 'main'\n[import.orders.osaka]\npreset = 'base'\n[import.orders.osaka.columns]\nstatus = 'x'",
    );
    assert_eq!(sections.own.mall.as_deref(), Some("main"));
    assert_eq!(sections.named["osaka"].preset.as_deref(), Some("base"));
    assert_eq!(sections.named["osaka"].columns.len(), 1);
}

#[test]
fn a_sections_own_keys_replace_the_presets_column_by_column_and_value_by_value() {
    let base = orders(
        "[import.orders]\ndelimiter = ';'\nthousands = ','\n[import.orders.columns]\nstatus = 'a'\norder_no = 'b'\n\
         [import.orders.values.status]\nx = 'PAID'\ny = 'SHIPPED'\n\
         [[import.orders.rules]]\nwhen = { a = '1' }\nskip = 'line'\n\
         [import.orders.lines]\ncolumn = 'kind'\nproduct = ['1', '9']\nfee = ['2']",
    );
    let own = orders(
        "[import.orders]\ndelimiter = ','\n[import.orders.columns]\nstatus = 'c'\n[import.orders.values.status]\ny = 'PAID'\n\
         [[import.orders.rules]]\nwhen = { a = ['2', ''] }\nset = { status = 'PAID' }\n[import.orders.lines]\nskip = ['9']",
    );
    let both = own.own.over(base.own);
    assert_eq!((both.delimiter, both.thousands), (Some(','), Some(',')));
    assert_eq!(both.columns["status"].plain(), Some("c"));
    assert_eq!(both.columns["order_no"].plain(), Some("b"));
    assert_eq!(
        both.values["status"].iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
        ["x=PAID", "y=PAID"]
    );
    assert_eq!(
        both.rules.iter().map(|rule| rule.when["a"].0.clone()).collect::<Vec<_>>(),
        [vec!["2", ""], vec!["1"]]
    );
    assert_eq!(
        (both.lines.product, both.lines.fee, both.lines.skip),
        (vec!["1".to_owned()], vec!["2".to_owned()], vec!["9".to_owned()])
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a case each")]
fn what_no_file_could_be_read_by_is_refused_by_its_key() {
    let orders = |keys: &str| format!("[import.orders]\n{keys}");
    let column = |table: &str| format!("[import.orders.columns]\nstatus = {table}");
    for (text, message) in [
        (
            orders("delimiter = \"、\""),
            "line 2: `import.orders.delimiter` is not a delimiter: write \",\", \";\" or \"\\t\"",
        ),
        (
            orders("time_format = \"%Y-%Q!\""),
            "line 2: `import.orders.time_format`: `%Y-%Q!` is not a time format: write one like %Y/%m/%d %H:%M",
        ),
        (
            "[import.orders.main]\nmall = 'main'\ntime_format = ['%Y', '%Q']".to_owned(),
            "line 3: `import.orders.main.time_format`: `%Q` is not a time format: write one like %Y/%m/%d %H:%M",
        ),
        (
            orders("delimeter = ';'"),
            "line 2: unknown key `delimeter` in `import.orders`: did you mean `delimiter`?",
        ),
        (
            "[import.orders.colums]\nstatus = 'a'".to_owned(),
            "line 1: unknown key `colums` in `import.orders`: did you mean `columns`?",
        ),
        (
            "[import.orders.main]\nmal = 'a'".to_owned(),
            "line 2: unknown key `mal` in `import.orders.main`: did you mean `mall`?",
        ),
        (
            orders("thousands = '.'"),
            "line 2: `import.orders.thousands` is the decimal point too: `decimal` has to be another character",
        ),
        (
            orders("decimal = '1'"),
            "line 2: `import.orders.decimal` is not a decimal point: write \".\" or \",\"",
        ),
        (
            orders("currency_signs = ['¥', '1']"),
            "line 2: `import.orders.currency_signs`: `1` is not a currency sign: write them like [\"¥\", \"円\"]",
        ),
        (
            column("{ optional = true }"),
            "line 2: `import.orders.columns.status.from` is missing: name the header, or write `constant`",
        ),
        (
            column("{ from = 'a', constant = 'b' }"),
            "line 2: `import.orders.columns.status.from` has several sources: keep one of `from`, `constant`, `computed` and `position`",
        ),
        (
            column("{ add = ['a', 'b'], default = '0' }"),
            "line 2: `import.orders.columns.status.default` is for an empty `from`, which the sum does not have",
        ),
        (
            column("{ from = 'a', add = ['b'], computed = true }"),
            "line 2: `import.orders.columns.status.from` has several sources: keep one of",
        ),
        (column("['a', '']"), "line 2: `import.orders.columns.status.from` has an empty header"),
        (
            column("{ from = 'a', join = ' ' }"),
            "line 2: `import.orders.columns.status.join` joins several headers: write `from = [\"…\", \"…\"]`",
        ),
        (
            column("{ from = 'a', replace = '$1' }"),
            "line 2: `import.orders.columns.status.replace` needs a `pattern`",
        ),
        (
            column("{ from = 'a', or_whole = true }"),
            "line 2: `import.orders.columns.status.or_whole` needs a `pattern`",
        ),
        (
            column("{ from = 'a', pattern = '(a)', replace = '$1-${2}' }"),
            "line 2: `import.orders.columns.status.replace`: `$2` is not a group: the pattern has 1",
        ),
        (
            column("{ from = 'a', pattern = '(a)', replace = '$$1 $1x' }"),
            "line 2: `import.orders.columns.status.replace`: `$1x` is not a group: write `${1}x` for the group 1 and",
        ),
        (
            orders("time_format = '%Y/%m/%d %H %z'"),
            "line 2: `import.orders.time_format`: `%Y/%m/%d %H %z` has an hour without minutes, which is not read: add `%M`",
        ),
        (
            column("{ from = 'a', time_format = '%Y/%m/%d %H:%M %Z' }"),
            "line 2: `import.orders.columns.status.time_format`: `%Y/%m/%d %H:%M %Z` has `%Z`, which reads",
        ),
        (
            orders("quotes = 'some'"),
            "line 2: `import.orders.quotes`: invalid value: string, expected true, false or \"auto\"",
        ),
        (
            column("{ from = 'a', wrong = 1 }"),
            "line 2: unknown key `wrong` in `import.orders.columns.status`: known are",
        ),
        (
            column("1"),
            "line 2: `import.orders.columns.status`: invalid type: integer `1`, expected a header in quotes",
        ),
        (
            "[[import.orders.rules]]\nset = { status = 'PAID' }".to_owned(),
            "line 1: `import.orders.rules.when` is missing: name the headers and their words",
        ),
        (
            "[[import.orders.rules]]\nwhen = { a = 'b' }".to_owned(),
            "line 2: `import.orders.rules.when` needs either `set` or `skip`",
        ),
        (
            "[[import.orders.rules]]\nwhen = { a = 'b' }\nset = { status = 'PAID' }\nskip = 'order'"
                .to_owned(),
            "line 4: `import.orders.rules.skip` beside `set` has to be \"line\": an order of which",
        ),
        (
            "[[import.orders.rules]]\nwhen = { a = [] }\nskip = true".to_owned(),
            "line 2: `import.orders.rules.when`: `a` has no words: `*` is any, `\"\"` is an empty field",
        ),
        (
            "[import.orders.lines]\ncolumn = 'a'\nfee = ['1']\ntax = ['1']".to_owned(),
            "line 3: `import.orders.lines.fee`: `1` is in more than one list",
        ),
    ] {
        let refused = Sections::parse("batchctl.toml", &text).map(|_| ()).unwrap_err().to_string();
        let refused = refused.strip_prefix("batchctl.toml ").unwrap_or(&refused);
        assert!(refused.starts_with(message), "{text}\n{refused}\n{message}");
    }
    let pattern =
        Sections::parse("batchctl.toml", &column("{ from = 'a', pattern = '(' }")).map(|_| ()).unwrap_err();
    assert!(pattern.to_string().contains("`(` is not a regular expression: "), "{pattern}");
}
