//! The kinds of data for mails to customers: carts, coupons, subscriptions, articles and consents.

use super::{file, import, item_errors, rows, shop_rows, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    carts_are_imported_with_their_items,
    a_cart_is_replaced_as_a_whole,
    a_cart_whose_lines_are_not_consecutive_or_differ_is_refused,
    coupons_are_imported_and_stay_with_their_owners,
    subscriptions_are_imported,
    articles_are_imported,
    consents_are_imported_by_member_and_purpose,
    an_erasure_request_is_imported_with_its_member,
    the_fault_of_a_line_is_reported,
    an_older_record_does_not_overwrite_a_newer,
    a_rerun_changes_nothing_and_a_changed_line_one_record,
    a_missing_column_keeps_its_stored_value,
    the_shops_own_headers_and_values_are_mapped,
];

const LATER: &str = "2026-11-21T00:00:00Z";

const CARTS: &str = "mall,cart_key,last_activity_at,member_code,locale,url,ordered_at,product_code,quantity,\
                     unit_price_amount,line_no,product_name,item_url,image_url,purchased";
const SUBSCRIPTIONS: &str = "mall,subscription_no,member_code,plan_name,status,amount,currency,next_charge_day,\
                             cancel_by_day,payment_method,card_last4,manage_url";

fn bring(shop: &Shop, kind: &str, header: &str, lines: &[&str]) {
    shop.write("file.csv", file(header, lines));
    import(shop, &["--kind", kind, "file.csv"]).run().succeeds().is_silent();
}

fn carts(shop: &Shop) -> Vec<String> {
    rows(
        shop,
        "SELECT cart_key, member_code, currency, c.locale, c.url, last_activity_at, ordered_at, line_key, product_code,
                product_name, quantity, unit_price_amount, i.url, image_url, is_purchased
         FROM carts c JOIN cart_items i ON i.cart_id = c.id",
    )
}

fn carts_are_imported_with_their_items(shop: &Shop) {
    with_tokyo(shop);
    let lines = [
        "tokyo,C1,2026-11-18 21:00,M1,ja,https://shop/c1,,A,2,1200,,煎茶,https://shop/a,https://shop/a.png,no",
        "tokyo,C1,2026-11-18 21:00,M1,ja,https://shop/c1,,B,1,500,2,,,,yes",
        "tokyo,C2,2026-11-17 21:00,,,,2026-11-17 22:00,A,1,1200,,,,,",
    ];
    bring(shop, "carts", CARTS, &lines);
    assert_eq!(
        carts(shop),
        [
            "C1 | M1 | JPY | ja | https://shop/c1 | 2026-11-18T12:00:00+00:00 | NULL | 2 | B | B | 1 | 500 | NULL | \
             NULL | 1",
            "C1 | M1 | JPY | ja | https://shop/c1 | 2026-11-18T12:00:00+00:00 | NULL | A | A | 煎茶 | 2 | 1200 | \
             https://shop/a | https://shop/a.png | 0",
            "C2 | NULL | JPY | NULL | NULL | 2026-11-17T12:00:00+00:00 | 2026-11-17T13:00:00+00:00 | A | A | A | 1 | \
             1200 | NULL | NULL | 0",
        ]
    );
}

fn a_cart_is_replaced_as_a_whole(shop: &Shop) {
    with_tokyo(shop);
    let header =
        "mall,cart_key,last_activity_at,member_code,product_code,quantity,unit_price_amount,purchased";
    let line = |cart: &str, at: &str, rest: &str| format!("tokyo,{cart},{at},M1,{rest}");
    let old = [
        line("C1", "2026-11-18 21:00", "A,1,100,no"),
        line("C1", "2026-11-18 21:00", "B,1,100,no"),
        line("C2", "2026-11-18 21:00", "A,1,100,no"),
    ];
    bring(shop, "carts", header, &old.each_ref().map(String::as_str));
    let (id, other) = (shop.scalar("SELECT id FROM carts WHERE cart_key = 'C1'"), "cart_key = 'C2'");
    let untouched = format!("SELECT * FROM carts JOIN cart_items ON cart_id = id WHERE {other}");
    let before = shop.sql(&untouched);

    shop.write(
        "file.csv",
        file(
            header,
            &[
                &line("C1", "2026-11-18 21:00", "A,1,100,yes"),
                &line("C1", "2026-11-18 21:00", "D,3,100,no"),
                &line("C2", "2026-11-18 21:00", "A,1,100,no"),
                &line("C3", "2026-11-18 21:00", "A,1,100,no"),
            ],
        ),
    );
    import(shop, &["--verbose", "--kind", "carts", "file.csv"])
        .now(LATER)
        .run()
        .succeeds()
        .says("read 4 lines, 1 cart new, 1 changed, 1 unchanged");

    assert_eq!(
        rows(
            shop,
            "SELECT product_code, quantity, is_purchased FROM cart_items JOIN carts ON id = cart_id WHERE cart_key = 'C1'"
        ),
        ["A | 1 | 1", "D | 3 | 0"]
    );
    assert_eq!(
        shop.scalar("SELECT id FROM carts WHERE cart_key = 'C1'"),
        id,
        "reminders know it by its number"
    );
    assert_eq!(shop.sql(&untouched), before);
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM carts JOIN cart_items ON cart_id = id"), "4");
}

fn a_cart_whose_lines_are_not_consecutive_or_differ_is_refused(shop: &Shop) {
    with_tokyo(shop);
    let header = "mall,cart_key,last_activity_at,product_code,quantity,unit_price_amount";
    shop.write(
        "carts.csv",
        file(
            header,
            &[
                "tokyo,C1,2026-11-18 21:00,A,1,100",
                "tokyo,C2,2026-11-18 21:00,A,1,100",
                "tokyo,C1,2026-11-18 21:00,B,1,100",
                "tokyo,C3,2026-11-18 21:00,A,1,100",
                "tokyo,C3,2026-11-18 22:00,B,1,100",
                "tokyo,C4,2026-11-18 21:00,A,1,100",
                "tokyo,C4,2026-11-18 21:00,A,1,100",
            ],
        ),
    );
    import(shop, &["--kind", "carts", "carts.csv"]).run().exits(65);
    let mut errors = item_errors(shop);
    errors.sort();
    assert_eq!(
        errors,
        [
            "1 carts.csv:2 check SKIPPED BAD_INPUT the same cart is also on line 4: its lines have to be consecutive",
            "1 carts.csv:4 check SKIPPED BAD_INPUT the same cart is also on line 2: its lines have to be consecutive",
            "1 carts.csv:6 check SKIPPED BAD_INPUT `last_activity_at`: `2026-11-18 22:00` differs from \
             `2026-11-18 21:00` on line 5 of the same cart",
            "1 carts.csv:8 check SKIPPED BAD_INPUT `product_code`: `A` occurs twice in the same cart: distinguish its lines \
            with a column `line_no`",
        ]
    );
    assert_eq!(shop.scalar("SELECT COUNT(*) FROM carts"), "0");
}

fn coupons_are_imported_and_stay_with_their_owners(shop: &Shop) {
    with_tokyo(shop);
    let header = "mall,code,description,expires_day";
    bring(shop, "coupons", header, &["tokyo,AAA,10 %,2026-12-31", "tokyo,BBB,5 %,"]);
    shop.execute(
        "UPDATE coupons SET assigned_to = 'M1', assigned_at = '2026-11-19T16:00:00+00:00' WHERE code = 'AAA'",
    );
    bring(shop, "coupons", header, &["tokyo,AAA,15 %,2027-01-31", "tokyo,BBB,5 %,"]);
    assert_eq!(
        shop.sql("SELECT code, description, expires_day, assigned_to, assigned_at FROM coupons ORDER BY id"),
        [
            ["AAA", "15 %", "2027-01-31", "M1", "2026-11-19T16:00:00+00:00"],
            ["BBB", "5 %", "NULL", "NULL", "NULL"]
        ]
    );
}

fn subscriptions_are_imported(shop: &Shop) {
    with_tokyo(shop);
    let lines = [
        "tokyo,S1,M1,Premium,ACTIVE,980,,2027-01-31,2027-01-30,card,4242,https://shop/plan",
        "tokyo,S2,M2,Basic,CANCELLED,4.50,USD,,,,,",
    ];
    bring(shop, "subscriptions", SUBSCRIPTIONS, &lines);
    assert_eq!(
        rows(
            shop,
            "SELECT subscription_no, member_code, plan_name, status, currency, amount, next_charge_day, cancel_by_day,
                    payment_method, card_last4, manage_url FROM subscriptions"
        ),
        [
            "S1 | M1 | Premium | ACTIVE | JPY | 980 | 2027-01-31 | 2027-01-30 | card | 4242 | https://shop/plan",
            "S2 | M2 | Basic | CANCELLED | USD | 450 | NULL | NULL | NULL | NULL | NULL",
        ]
    );
}

fn articles_are_imported(shop: &Shop) {
    with_tokyo(shop);
    let header = "mall,article_key,title,summary,url,published_at,free_summary,locale";
    let lines = [
        "tokyo,A1,見出し,\"要約、\n二行\",https://news/1,2026-11-18 09:00,短い要約,ja",
        "tokyo,A2,Title,Summary,https://news/2,2026-11-18T00:00:00Z,,",
    ];
    bring(shop, "articles", header, &lines);
    assert_eq!(
        rows(
            shop,
            "SELECT article_key, title, summary, free_summary, url, locale, published_at FROM articles"
        ),
        [
            "A1 | 見出し | 要約、\n二行 | 短い要約 | https://news/1 | ja | 2026-11-18T00:00:00+00:00",
            "A2 | Title | Summary | NULL | https://news/2 | NULL | 2026-11-18T00:00:00+00:00",
        ]
    );
}

fn consents_are_imported_by_member_and_purpose(shop: &Shop) {
    with_tokyo(shop);
    let header = "mall,member_code,purpose,granted,updated_at";
    let lines = [
        "tokyo,M1,MARKETING,yes,2026-11-18 09:00",
        "tokyo,M1,DIGEST,no,2026-11-18 09:00",
        "tokyo,M2,DIGEST,yes,",
    ];
    bring(shop, "consents", header, &lines);
    let consents =
        || rows(shop, "SELECT member_code, purpose, is_granted, source_updated_at FROM mail_consents");
    assert_eq!(
        consents(),
        [
            "M1 | DIGEST | 0 | 2026-11-18T00:00:00+00:00",
            "M1 | MARKETING | 1 | 2026-11-18T00:00:00+00:00",
            "M2 | DIGEST | 1 | NULL",
        ]
    );
    // An older decision does not replace a newer one: a revoked consent stays revoked.
    let lines = ["tokyo,M1,MARKETING,no,2026-11-19 09:00", "tokyo,M1,DIGEST,yes,2026-11-17 09:00"];
    bring(shop, "consents", header, &lines);
    assert_eq!(
        consents()[..2],
        ["M1 | DIGEST | 0 | 2026-11-18T00:00:00+00:00", "M1 | MARKETING | 0 | 2026-11-19T00:00:00+00:00"]
    );
    shop.write("twice.csv", file(header, &["tokyo,M1,DIGEST,yes,", "tokyo,M1,DIGEST,no,"]));
    import(shop, &["--kind", "consents", "twice.csv"])
        .run()
        .exits(65)
        .says("the same consent is also on line 3");
}

fn an_erasure_request_is_imported_with_its_member(shop: &Shop) {
    with_tokyo(shop);
    let header = "mall,member_code,status,signed_up_at,erasure_requested_at";
    bring(
        shop,
        "members",
        header,
        &["tokyo,M1,ACTIVE,2025-04-01 09:00,2026-11-18 09:00", "tokyo,M2,ACTIVE,2025-04-01 09:00,"],
    );
    let wishes = || rows(shop, "SELECT member_code, erasure_requested_at FROM members");
    assert_eq!(wishes(), ["M1 | 2026-11-18T00:00:00+00:00", "M2 | NULL"]);
    // A file without the column does not revoke it.
    bring(shop, "members", "mall,member_code,status,signed_up_at", &["tokyo,M1,WITHDRAWN,2025-04-01 09:00"]);
    assert_eq!(wishes(), ["M1 | 2026-11-18T00:00:00+00:00", "M2 | NULL"]);
}

fn the_fault_of_a_line_is_reported(shop: &Shop) {
    with_tokyo(shop);
    let problem = |kind: &str, header: &str, line: &str| {
        shop.write("bad.csv", file(header, &[line]));
        import(shop, &["--kind", kind, "bad.csv"]).run().exits(65);
        let errors = shop.sql("SELECT message FROM batch_error_log ORDER BY id DESC").concat();
        errors.first().cloned().unwrap_or_default()
    };
    let subscription =
        |rest: &str| problem("subscriptions", SUBSCRIPTIONS, &format!("tokyo,S1,M1,Premium,{rest}"));
    assert_eq!(
        subscription("ACTIVE,980,,,,,,"),
        "`next_charge_day`: is empty, but the subscription is ACTIVE"
    );
    assert_eq!(
        subscription("RUNNING,980,,2027-01-31,,,,"),
        "`status`: `RUNNING` is not one of ACTIVE, PAUSED, CANCELLED: map it in batchctl.toml, [import.KIND.values.status]"
    );
    assert_eq!(
        subscription("ACTIVE,980,,2027-02-29,,,,"),
        "`next_charge_day`: `2027-02-29` is not a day that exists: write YYYY-MM-DD"
    );
    assert_eq!(
        subscription("ACTIVE,-980,,2027-01-31,,,,"),
        "`amount`: `-980` is negative: write it without the sign"
    );
    // A whole card number is neither stored nor quoted.
    assert_eq!(
        subscription("ACTIVE,980,,2027-01-31,,,4242424242424242,"),
        "`card_last4`: is not the last four digits of a card"
    );
    assert!(!shop.dump().contains("4242424242424242"));
    let consent = |line: &str| problem("consents", "mall,member_code,purpose,granted", line);
    assert_eq!(
        consent("tokyo,M1,SPAM,yes"),
        "`purpose`: `SPAM` is not one of MARKETING, DIGEST: map it in batchctl.toml, [import.KIND.values.purpose]"
    );
    assert_eq!(consent("tokyo,M1,DIGEST,"), "`granted`: is empty");
    let article =
        |line: &str| problem("articles", "mall,article_key,title,summary,url,published_at,locale", line);
    assert_eq!(article("tokyo,A1,,s,u,2026-11-18 09:00,"), "`title`: is empty");
    assert_eq!(
        article("tokyo,A1,t,s,u,2026-11-18 09:00,fr"),
        "`locale`: `fr` is not one of en, ja, ko: map it in batchctl.toml, [import.KIND.values.locale]"
    );
    let cart = |rest: &str| {
        let header = "mall,cart_key,last_activity_at,product_code,quantity,unit_price_amount,purchased";
        problem("carts", header, &format!("tokyo,C1,2026-11-18 21:00,A,{rest}"))
    };
    assert_eq!(cart("-1,100,"), "`quantity`: `-1` is negative");
    assert_eq!(cart("1,-5,"), "`unit_price_amount`: `-5` is negative: write it without the sign");
    assert_eq!(
        cart("1,5,maybe"),
        "`purchased`: `maybe` is not one of yes, no: map it in batchctl.toml, [import.KIND.values.purchased]"
    );
    assert_eq!(
        problem("coupons", "mall,code,description,expires_day", "tokyo,AAA,10 %,soon"),
        "`expires_day`: `soon` is not a day that exists: write YYYY-MM-DD"
    );
}

fn an_older_record_does_not_overwrite_a_newer(shop: &Shop) {
    with_tokyo(shop);
    for (kind, table, header, line) in [
        (
            "carts",
            "carts",
            "mall,cart_key,last_activity_at,product_code,quantity,unit_price_amount,url,updated_at",
            "tokyo,K,2026-11-18 21:00,A,1,1,{word},{time}",
        ),
        ("coupons", "coupons", "mall,code,description,updated_at", "tokyo,K,{word},{time}"),
        (
            "subscriptions",
            "subscriptions",
            "mall,subscription_no,member_code,plan_name,status,amount,updated_at",
            "tokyo,K,M1,{word},PAUSED,1,{time}",
        ),
        (
            "articles",
            "articles",
            "mall,article_key,title,summary,url,published_at,updated_at",
            "tokyo,K,{word},s,u,2026-11-18 09:00,{time}",
        ),
    ] {
        let column = match table {
            "carts" => "url",
            "coupons" => "description",
            "subscriptions" => "plan_name",
            _ => "title",
        };
        let bring = |word: &str, time: &str| {
            bring(shop, kind, header, &[&line.replace("{word}", word).replace("{time}", time)]);
            shop.scalar(&format!("SELECT {column} FROM {table}"))
        };
        assert_eq!(bring("first", "2026-11-18 12:00"), "first");
        assert_eq!(bring("older", "2026-11-18 11:00"), "first", "{kind}");
        assert_eq!(bring("newer", "2026-11-18 13:00"), "newer", "{kind}");
        assert_eq!(bring("timeless", ""), "timeless", "{kind}");
    }
}

fn a_rerun_changes_nothing_and_a_changed_line_one_record(shop: &Shop) {
    with_tokyo(shop);
    let files = [
        (
            "cart",
            "mall,cart_key,last_activity_at,product_code,quantity,unit_price_amount",
            "tokyo,C1,2026-11-18 21:00,A,1,100",
            "100",
            "200",
        ),
        ("coupon", "mall,code,description", "tokyo,AAA,10 %", "10 %", "15 %"),
        ("subscription", SUBSCRIPTIONS, "tokyo,S1,M1,P,ACTIVE,980,,2027-01-31,,,,", "01-31", "02-28"),
        (
            "article",
            "mall,article_key,title,summary,url,published_at",
            "tokyo,A1,t,s,u,2026-11-18 09:00",
            ",s,",
            ",S,",
        ),
        ("consent", "mall,member_code,purpose,granted", "tokyo,M1,DIGEST,yes", "yes", "no"),
    ];
    for (noun, header, line, from, to) in files {
        let kind = format!("{noun}s");
        bring(shop, &kind, header, &[line]);
        let before = shop_rows(shop);
        import(shop, &["--verbose", "--rerun", "--kind", &kind, "file.csv"])
            .now(LATER)
            .run()
            .succeeds()
            .says("0 changed, 1 unchanged");
        assert_eq!(shop_rows(shop), before);
        shop.write("file.csv", file(header, &[&line.replace(from, to)]));
        import(shop, &["--verbose", "--kind", &kind, "file.csv"])
            .now(LATER)
            .run()
            .succeeds()
            .says(&format!("read 1 line, 0 {kind} new, 1 changed, 0 unchanged"));
        assert_ne!(shop_rows(shop), before);
    }
}

fn a_missing_column_keeps_its_stored_value(shop: &Shop) {
    with_tokyo(shop);
    let full = "tokyo,S1,M1,Premium,ACTIVE,980,,2027-01-31,,card,4242,https://shop/plan";
    bring(shop, "subscriptions", SUBSCRIPTIONS, &[full]);
    let header = "mall,subscription_no,member_code,plan_name,status,amount,next_charge_day";
    bring(shop, "subscriptions", header, &["tokyo,S1,M1,Premium,ACTIVE,1080,2027-02-28"]);
    assert_eq!(
        shop.sql("SELECT amount, next_charge_day, card_last4, manage_url FROM subscriptions"),
        [["1080", "2027-02-28", "4242", "https://shop/plan"]]
    );
    let header = "mall,subscription_no,member_code,plan_name,status,amount";
    bring(shop, "subscriptions", header, &["tokyo,S1,M1,Premium,ACTIVE,1180"]);
    assert_eq!(shop.sql("SELECT amount, next_charge_day FROM subscriptions"), [["1180", "2027-02-28"]]);
}

fn the_shops_own_headers_and_values_are_mapped(shop: &Shop) {
    with_tokyo(shop);
    shop.write(
        "batchctl.toml",
        "[import.subscriptions]\nmall = 'tokyo'\ntime_format = '%Y/%m/%d'\n\
         [import.subscriptions.columns]\nsubscription_no = '契約番号'\nmember_code = '会員番号'\nplan_name = 'プラン'\n\
         status = '状態'\namount = '金額'\nnext_charge_day = '次回決済日'\n\
         [import.subscriptions.values.status]\n'有効' = 'ACTIVE'\n\
         [import.consents.columns]\ngranted = 'メール可'\n[import.consents.values.granted]\n'可' = 'yes'\n'不可' = 'no'\n\
         [import.carts.columns]\ncart_kee = 'x'\n[import.subscriptions.values.statu]\na = 'b'\n",
    );
    let header = "契約番号,会員番号,プラン,状態,金額,次回決済日";
    import(shop, &["--kind", "subscriptions", "file.csv"]).run().exits(65);
    shop.write("file.csv", file(header, &["S1,M1,プレミアム,有効,980,2027/01/31"]));
    import(shop, &["--kind", "subscriptions", "file.csv"]).run().exits(78).says("names `statu`");
    let config = shop.read("batchctl.toml").replace("[import.subscriptions.values.statu]\na = 'b'\n", "");
    shop.batchctl(["config", "check"]).run().exits(78).prints("did you mean `cart_key`?");
    shop.write("batchctl.toml", config);
    import(shop, &["--kind", "subscriptions", "file.csv"]).run().succeeds();
    assert_eq!(
        shop.sql("SELECT plan_name, status, next_charge_day FROM subscriptions"),
        [["プレミアム", "ACTIVE", "2027-01-31"]]
    );
    shop.write("consents.csv", file("mall,member_code,purpose,メール可", &["tokyo,M1,DIGEST,不可"]));
    import(shop, &["--kind", "consents", "consents.csv"]).run().succeeds();
    assert_eq!(shop.scalar("SELECT is_granted FROM mail_consents"), "0");
}
