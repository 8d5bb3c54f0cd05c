//! `cart remind`: who is reminded of what, and that there is one reminder per cart whatever happens to the process.

use rustix::process::Signal;

use crate::support::{Customers, Database, Line, Order, UNREACHABLE, on_both_databases, run_on};

on_both_databases![
    a_member_is_reminded_of_a_cart_once,
    carts_that_are_fresh_old_ordered_or_a_guests_are_left_alone,
    members_who_must_not_be_written_to_are_not,
    under_opt_in_only_members_who_agreed_are_reminded,
    bought_and_sold_out_items_are_not_in_the_mail,
    orders_of_the_member_since_count_as_bought,
    one_mail_for_the_newest_of_several_carts_covers_the_others,
    if_the_newest_cart_has_nothing_to_offer_the_next_is_mailed,
    each_member_is_written_to_in_their_language,
    a_fixed_coupon_goes_to_everybody_until_it_expires,
    single_use_coupons_are_handed_out_once,
    an_invalid_address_is_a_skipped_item,
    an_invalid_address_is_reported_once,
    after_a_kill_the_next_run_does_the_rest_without_a_second_mail_or_a_lost_coupon,
    of_two_simultaneous_runs_one_is_refused,
    another_mall_and_another_idle_time_can_be_asked_for,
    without_a_way_to_unsubscribe_nothing_is_queued,
    the_built_in_template_renders_a_full_and_a_minimal_cart,
    the_items_of_a_cart_are_in_their_order,
    a_template_that_takes_hours_does_not_outlive_the_deadline,
];

const REMIND: [&str; 3] = ["--verbose", "cart", "remind"];

/// 28 hours before the sandbox's clock.
const YESTERDAY: &str = "2026-11-18T12:00:00+00:00";

impl Customers {
    /// A cart with two units of each product, at 1,000 each.
    #[track_caller]
    fn cart(&self, key: &str, member: &str, last_activity_at: &str, products: &[&str]) {
        let id = self.scalar(&format!(
            "INSERT INTO carts (mall_id, cart_key, member_code, currency, url, last_activity_at, created_at, updated_at)
             VALUES ({}, '{key}', NULLIF('{member}', ''), 'JPY', 'https://shop/{key}', '{last_activity_at}',
                     '{last_activity_at}', '{last_activity_at}') RETURNING id",
            self.mall.id
        ));
        for product in products {
            self.execute(&format!(
                "INSERT INTO cart_items (cart_id, line_key, product_code, product_name, quantity, unit_price_amount,
                                         is_purchased)
                 VALUES ({id}, '{product}', '{product}', 'Tea {product}', 2, 1000, FALSE)"
            ));
        }
    }

    #[track_caller]
    fn product(&self, code: &str, status: &str, stock: Option<i64>) {
        let id = self.scalar(&format!(
            "INSERT INTO products (mall_id, product_code, name, status, currency, price_amount, created_at, updated_at)
             VALUES ({}, '{code}', '{code}', '{status}', 'JPY', 1000, '{YESTERDAY}', '{YESTERDAY}') RETURNING id",
            self.mall.id
        ));
        if let Some(stock) = stock {
            self.execute(&format!("INSERT INTO stock VALUES ({id}, {stock}, '{YESTERDAY}')"));
        }
    }

    #[track_caller]
    fn coupon(&self, code: &str, expires_day: &str) {
        self.execute(&format!(
            "INSERT INTO coupons (mall_id, code, description, expires_day, created_at, updated_at)
             VALUES ({}, '{code}', '10 %', {expires_day}, '{YESTERDAY}', '{YESTERDAY}')",
            self.mall.id
        ));
    }

    /// The ledger: cart and outcome.
    fn reminded(&self) -> Vec<String> {
        let rows = self.sql(
            "SELECT cart_key, outcome FROM cart_reminders JOIN carts ON carts.id = cart_id ORDER BY cart_key",
        );
        rows.into_iter().map(|row| row.join(" ")).collect()
    }
}

fn a_member_is_reminded_of_a_cart_once(shop: &Customers) {
    shop.member("M1");
    shop.cart("C1", "M1", YESTERDAY, &["A", "B"]);

    shop.job(&REMIND).run().succeeds().says("queued 1 reminder");

    assert_eq!(shop.mails(), ["M1: 2 Tea A at 1000 JPY, 2 Tea B at 1000 JPY, no coupon, https://shop/C1"]);
    assert_eq!(
        shop.sql(
            "SELECT kind, category, recipient, mall_id, member_code, priority, status, due_at, dedup_key FROM mails"
        ),
        [[
            "cart-reminder",
            "MARKETING",
            "M1@example.jp",
            "1",
            "M1",
            "3",
            "QUEUED",
            "2026-11-19T16:00:00+00:00",
            "cart-reminder:1/C1"
        ]]
    );
    assert!(shop.scalar("SELECT text_body FROM mails").contains("https://shop.example.jp/unsubscribe?t="));
    assert_eq!(shop.reminded(), ["C1 MAILED"]);
    let before = shop.mails();
    shop.job(&REMIND).run().succeeds().says("no new carts to remind of");
    assert_eq!(shop.mails(), before);

    // Once per cart, even long after the mails were purged, and after the member came back to it.
    shop.execute("DELETE FROM mails");
    shop.execute("UPDATE carts SET last_activity_at = '2026-11-18T15:00:00+00:00'");
    shop.job(&REMIND).run().succeeds().says("no new carts to remind of");
    assert_eq!(shop.mails(), Vec::<String>::new());
}

fn carts_that_are_fresh_old_ordered_or_a_guests_are_left_alone(shop: &Customers) {
    for (key, last_activity_at) in [
        ("just-24-hours", "2026-11-18T16:00:00+00:00"),
        ("fresh", "2026-11-18T16:00:01+00:00"),
        ("week", "2026-11-12T16:00:01+00:00"),
        ("old", "2026-11-12T16:00:00+00:00"),
        ("ordered", YESTERDAY),
        ("stranger", YESTERDAY),
    ] {
        if key != "stranger" {
            shop.member(key);
        }
        shop.cart(key, key, last_activity_at, &["A"]);
    }
    shop.cart("guest", "", YESTERDAY, &["A"]);
    shop.member("empty");
    shop.cart("empty", "empty", YESTERDAY, &[]);
    shop.execute("UPDATE carts SET ordered_at = last_activity_at WHERE cart_key = 'ordered'");

    shop.job(&REMIND).run().succeeds();

    assert_eq!(shop.recipients(), ["just-24-hours@example.jp", "week@example.jp"]);
}

fn members_who_must_not_be_written_to_are_not(shop: &Customers) {
    for member in ["willing", "agreed", "refused", "digest-refused"].into_iter().chain(UNREACHABLE) {
        shop.member(member);
        shop.cart(member, member, YESTERDAY, &["A"]);
    }
    shop.make_unreachable();
    shop.consent("agreed", "MARKETING", true);
    shop.consent("refused", "MARKETING", false);
    shop.consent("digest-refused", "DIGEST", false);

    shop.job(&REMIND).run().succeeds();

    assert_eq!(shop.recipients(), ["agreed@example.jp", "digest-refused@example.jp", "willing@example.jp"]);
}

fn under_opt_in_only_members_who_agreed_are_reminded(shop: &Customers) {
    for member in ["silent", "agreed", "refused"] {
        shop.member(member);
        shop.cart(member, member, YESTERDAY, &["A"]);
    }
    shop.consent("agreed", "MARKETING", true);
    shop.consent("refused", "MARKETING", false);
    shop.write("batchctl.toml", shop.read("batchctl.toml").replace("[mail]", "[mail]\nconsent = 'opt-in'"));

    shop.job(&REMIND).run().succeeds();

    assert_eq!(shop.recipients(), ["agreed@example.jp"]);
}

fn bought_and_sold_out_items_are_not_in_the_mail(shop: &Customers) {
    shop.product("ON-SALE", "ON_SALE", None);
    shop.product("IN-STOCK", "ON_SALE", Some(1));
    shop.product("NONE-LEFT", "ON_SALE", Some(0));
    shop.product("SOLD-OUT", "SOLD_OUT", Some(5));
    shop.product("GONE", "DISCONTINUED", None);
    shop.member("M1");
    let products = ["ON-SALE", "IN-STOCK", "NONE-LEFT", "SOLD-OUT", "GONE", "UNKNOWN", "BOUGHT", "TAKEN-OUT"];
    shop.cart("C1", "M1", YESTERDAY, &products);
    shop.execute("UPDATE cart_items SET is_purchased = TRUE WHERE product_code = 'BOUGHT'");
    shop.execute("UPDATE cart_items SET quantity = 0 WHERE product_code = 'TAKEN-OUT'");
    shop.member("M2");
    shop.cart("C2", "M2", YESTERDAY, &["NONE-LEFT", "SOLD-OUT", "GONE"]);

    shop.job(&REMIND).run().succeeds();

    assert_eq!(
        shop.mails(),
        ["M1: 2 Tea IN-STOCK at 1000 JPY, 2 Tea ON-SALE at 1000 JPY, 2 Tea UNKNOWN at 1000 JPY, no coupon, \
          https://shop/C1"]
    );
    // Back in stock the next day, it is worth a mail.
    shop.execute("UPDATE stock SET quantity = 3");
    shop.job(&REMIND).run().succeeds().says("queued 1 reminder");
    assert_eq!(shop.recipients(), ["M1@example.jp", "M2@example.jp"]);
}

fn orders_of_the_member_since_count_as_bought(shop: &Customers) {
    let order = |number: &'static str, member: &'static str, status: &'static str, at: &'static str| {
        shop.order(Order {
            mall: shop.mall,
            order_no: number,
            member: Some(member),
            status,
            ordered_at: at,
            paid_at: (status != "PAYMENT_WAIT").then_some(at),
            lines: &[Line { product: "A", ..Line::default() }],
            ..Order::default()
        });
    };
    let later = "2026-11-18T13:00:00Z";
    for (member, products) in [
        ("all", &["A"][..]),
        ("waiting", &["A"]),
        ("a-part", &["A", "B"]),
        ("cancelled", &["A"]),
        ("before", &["A"]),
        ("another", &["A"]),
    ] {
        shop.member(member);
        shop.cart(member, member, YESTERDAY, products);
    }
    order("1", "all", "PAID", later);
    order("2", "waiting", "PAYMENT_WAIT", later);
    order("3", "a-part", "SHIPPED", later);
    order("4", "cancelled", "ORDER_CANCELLED", later);
    order("5", "before", "PAID", "2026-11-18T11:00:00Z");

    shop.job(&REMIND).run().succeeds();

    assert_eq!(
        shop.mails(),
        [
            "a-part: 2 Tea B at 1000 JPY, no coupon, https://shop/a-part",
            "another: 2 Tea A at 1000 JPY, no coupon, https://shop/another",
            "before: 2 Tea A at 1000 JPY, no coupon, https://shop/before",
            "cancelled: 2 Tea A at 1000 JPY, no coupon, https://shop/cancelled",
        ]
    );
}

fn one_mail_for_the_newest_of_several_carts_covers_the_others(shop: &Customers) {
    shop.member("M1");
    shop.member("M2");
    shop.cart("C1", "M1", "2026-11-16T12:00:00+00:00", &["A"]);
    shop.cart("C2", "M1", YESTERDAY, &["B"]);
    shop.cart("C3", "M1", "2026-11-17T12:00:00+00:00", &["C"]);
    shop.cart("C4", "M2", "2026-11-17T12:00:00+00:00", &["D"]);

    shop.job(&REMIND).run().succeeds().says("queued 2 reminders, 2 carts covered by them");

    assert_eq!(
        shop.mails(),
        [
            "M1: 2 Tea B at 1000 JPY, no coupon, https://shop/C2",
            "M2: 2 Tea D at 1000 JPY, no coupon, https://shop/C4"
        ]
    );
    assert_eq!(shop.reminded(), ["C1 COVERED", "C2 MAILED", "C3 COVERED", "C4 MAILED"]);
    shop.job(&REMIND).run().succeeds().says("no new carts to remind of");
}

fn if_the_newest_cart_has_nothing_to_offer_the_next_is_mailed(shop: &Customers) {
    shop.product("GONE", "DISCONTINUED", None);
    shop.member("M1");
    shop.cart("older", "M1", "2026-11-16T12:00:00+00:00", &["A"]);
    shop.cart("newest", "M1", YESTERDAY, &["GONE"]);

    shop.job(&REMIND).run().succeeds();

    assert_eq!(shop.mails(), ["M1: 2 Tea A at 1000 JPY, no coupon, https://shop/older"]);
}

fn each_member_is_written_to_in_their_language(shop: &Customers) {
    for (member, own, carts) in [
        ("ja", "'ja'", "NULL"),
        ("jp", "'ja-JP'", "'ko'"),
        ("ko", "'ko_KR'", "NULL"),
        ("en", "'en'", "NULL"),
        ("by-cart", "NULL", "'ko'"),
        ("french", "'fr'", "NULL"),
        ("silent", "NULL", "NULL"),
    ] {
        shop.member(member);
        shop.change_member(member, &format!("locale = {own}"));
        shop.cart(member, member, YESTERDAY, &["A"]);
        shop.execute(&format!("UPDATE carts SET locale = {carts} WHERE cart_key = '{member}'"));
    }

    shop.job(&REMIND).env("BATCHCTL_LOCALE", "ja").run().succeeds();

    let mut languages: Vec<String> = shop
        .sql("SELECT member_code, locale, subject FROM mails")
        .into_iter()
        .map(|row| row.join(" "))
        .collect();
    languages.sort();
    assert_eq!(
        languages,
        [
            "by-cart ko cart-reminder in ko",
            "en en cart-reminder in en",
            "french ja cart-reminder in ja",
            "ja ja cart-reminder in ja",
            "jp ja cart-reminder in ja",
            "ko ko cart-reminder in ko",
            "silent ja cart-reminder in ja",
        ]
    );
}

fn a_fixed_coupon_goes_to_everybody_until_it_expires(shop: &Customers) {
    for member in ["M1", "M2", "M3"] {
        shop.member(member);
    }
    shop.cart("C1", "M1", YESTERDAY, &["A"]);
    shop.cart("C2", "M2", YESTERDAY, &["A"]);
    // The sandbox's clock is in the first hour of the 20th in Tokyo.
    let coupon = |day: &str| {
        format!("[cart_remind.coupon]\ncode = 'BACK'\ndescription = '10 %'\nexpires_day = '{day}'\n")
    };
    shop.configure(&coupon("2026-11-20"));
    shop.job(&REMIND).run().succeeds();
    shop.configure(&coupon("2026-11-19"));
    shop.cart("C3", "M3", YESTERDAY, &["A"]);
    shop.job(&REMIND).run().succeeds().says("without the coupon of `cart_remind.coupon`, which has expired");

    assert_eq!(
        shop.mails(),
        [
            "M1: 2 Tea A at 1000 JPY, BACK 10 % 2026-11-20, https://shop/C1",
            "M2: 2 Tea A at 1000 JPY, BACK 10 % 2026-11-20, https://shop/C2",
            "M3: 2 Tea A at 1000 JPY, no coupon, https://shop/C3",
        ]
    );
}

fn single_use_coupons_are_handed_out_once(shop: &Customers) {
    shop.configure("[cart_remind.coupon]\nsingle_use = true\n");
    shop.coupon("EXPIRED", "'2026-11-19'");
    shop.coupon("LAST-DAY", "'2026-11-20'");
    shop.coupon("ENDLESS", "NULL");
    for (member, at) in [
        ("M1", "2026-11-18T12:00:00+00:00"),
        ("M2", "2026-11-18T11:00:00+00:00"),
        ("M3", "2026-11-18T10:00:00+00:00"),
    ] {
        shop.member(member);
        shop.cart(member, member, at, &["A"]);
    }

    shop.job(&REMIND).run().succeeds().says("queued 3 reminders; 1 without a coupon because none was left");

    assert_eq!(
        shop.mails(),
        [
            "M1: 2 Tea A at 1000 JPY, LAST-DAY 10 % 2026-11-20, https://shop/M1",
            "M2: 2 Tea A at 1000 JPY, ENDLESS 10 % -, https://shop/M2",
            "M3: 2 Tea A at 1000 JPY, no coupon, https://shop/M3",
        ]
    );
    assert_eq!(
        shop.sql("SELECT code, assigned_to, assigned_at FROM coupons ORDER BY id"),
        [
            ["EXPIRED", "NULL", "NULL"],
            ["LAST-DAY", "M1", "2026-11-19T16:00:00+00:00"],
            ["ENDLESS", "M2", "2026-11-19T16:00:00+00:00"],
        ]
    );
}

fn an_invalid_address_is_a_skipped_item(shop: &Customers) {
    for member in ["M1", "M2", "M3"] {
        shop.member(member);
        shop.cart(member, member, YESTERDAY, &["A"]);
    }
    shop.change_member(
        "M1",
        "email = 'm1@example.jp' || CHR(10) || 'Bcc: all@example.jp'"
            .replace("CHR", if shop.database() == Database::Sqlite { "CHAR" } else { "CHR" })
            .as_str(),
    );
    shop.change_member("M2", "email = 'nowhere'");

    shop.job(&REMIND).run().exits(3).says("2 of 3 items failed").never_shows("nowhere");

    assert_eq!(shop.recipients(), ["M3@example.jp"]);
    let errors = shop.sql("SELECT item_key, kind, message FROM batch_error_log ORDER BY item_key");
    assert_eq!(
        errors,
        [
            ["tokyo/M1", "SKIPPED", "the address contains a line break or another control character"],
            ["tokyo/M2", "SKIPPED", "not a mail address"]
        ]
    );

    shop.change_member("M2", "email = 'm2@example.jp'");
    shop.job(&["runs", "retry", "1"]).run().exits(3);
    assert_eq!(shop.recipients(), ["M3@example.jp", "m2@example.jp"]);
}

fn an_invalid_address_is_reported_once(shop: &Customers) {
    for member in ["M1", "M2"] {
        shop.member(member);
        shop.cart(member, member, YESTERDAY, &["A"]);
    }
    shop.change_member("M1", "email = 'nowhere'");
    shop.job(&REMIND).run().exits(3).says("1 of 2 items failed");

    shop.job(&REMIND).run().succeeds().says("no new carts to remind of");

    // It is still open, and a retry reports it.
    let open = "SELECT item_key FROM batch_error_log WHERE resolved_at IS NULL";
    assert_eq!(shop.sql(open), [["tokyo/M1"]]);
    shop.job(&["runs", "retry", "1"]).run().exits(1).says("1 of 1 items failed");

    shop.change_member("M1", "email = 'm1@example.jp'");
    shop.job(&REMIND).run().succeeds();
    assert_eq!(shop.recipients(), ["M2@example.jp", "m1@example.jp"]);
    assert_eq!(shop.sql(open), Vec::<Vec<String>>::new());

    // An address that is broken again is reported again.
    shop.change_member("M1", "email = 'nowhere'");
    shop.execute("DELETE FROM cart_reminders");
    shop.job(&REMIND).run().exits(3);
}

fn after_a_kill_the_next_run_does_the_rest_without_a_second_mail_or_a_lost_coupon(shop: &Customers) {
    shop.configure("[cart_remind.coupon]\nsingle_use = true\n");
    shop.members(600);
    shop.execute(&format!(
        "INSERT INTO carts (mall_id, cart_key, member_code, currency, last_activity_at, created_at, updated_at)
         SELECT mall_id, member_code, member_code, 'JPY', '{YESTERDAY}', '{YESTERDAY}', '{YESTERDAY}' FROM members"
    ));
    shop.execute(
        "INSERT INTO cart_items (cart_id, line_key, product_code, product_name, quantity, unit_price_amount, is_purchased)
         SELECT id, '1', 'A', 'A', 1, 1000, FALSE FROM carts",
    );
    shop.execute(&format!(
        "INSERT INTO coupons (mall_id, code, description, created_at, updated_at)
         SELECT mall_id, 'CODE-' || id, '10 %', '{YESTERDAY}', '{YESTERDAY}' FROM members"
    ));
    let counts = || {
        shop.sql(
            "SELECT (SELECT COUNT(*) FROM mails), (SELECT COUNT(DISTINCT recipient) FROM mails),
                    (SELECT COUNT(*) FROM cart_reminders), (SELECT COUNT(DISTINCT coupon_id) FROM cart_reminders),
                    (SELECT COUNT(DISTINCT assigned_to) FROM coupons)",
        )
        .concat()
    };

    shop.job(&REMIND).failpoint("in-chunk@2=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(counts(), ["250"; 5]);
    shop.job(&REMIND).failpoint("after-chunk@1=kill").run().is_killed_by(Signal::KILL);
    assert_eq!(counts(), ["500"; 5]);
    shop.job(&REMIND).run().succeeds().says("queued 100 reminders");
    assert_eq!(counts(), ["600"; 5]);
    // Each mail shows the coupon that its member was given.
    assert_eq!(
        shop.scalar(
            "SELECT COUNT(*) FROM mails m JOIN coupons c ON c.assigned_to = m.member_code
             WHERE m.text_body LIKE '%' || c.code || ' %'"
        ),
        "600"
    );
}

fn of_two_simultaneous_runs_one_is_refused(shop: &Customers) {
    shop.member("M1");
    shop.cart("C1", "M1", YESTERDAY, &["A"]);
    let mut first = shop.job(&REMIND).hold_at("after-lease");
    first.wait_until_reached();
    shop.job(&REMIND).run().exits(75).says("holds it: cart remind");
    first.release().wait().succeeds();
    assert_eq!(shop.recipients(), ["M1@example.jp"]);
}

fn another_mall_and_another_idle_time_can_be_asked_for(shop: &Customers) {
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    shop.member("M1");
    shop.cart("C1", "M1", "2026-11-19T12:00:00+00:00", &["A"]);

    shop.job(&["--verbose", "cart", "remind", "--mall", "osaka", "--idle", "2h"])
        .run()
        .succeeds()
        .says("no new carts to remind of");
    shop.job(&["--verbose", "cart", "remind", "--idle", "2h"]).run().succeeds().says("queued 1 reminder");
    assert_eq!(
        shop.sql("SELECT command_line FROM batch_execution ORDER BY id"),
        [["cart remind --idle 2h --mall osaka"], ["cart remind --idle 2h"]]
    );
    shop.job(&["cart", "remind", "--idle", "7d"]).run().exits(2).says("--max-age must be longer than --idle");
}

fn without_a_way_to_unsubscribe_nothing_is_queued(shop: &Customers) {
    shop.member("M1");
    shop.cart("C1", "M1", YESTERDAY, &["A"]);
    shop.batchctl(REMIND).run().exits(78).says("BATCHCTL_SECRET_KEY");
    shop.write("batchctl.toml", "[mail]\ntemplate_dir = 'mails'\n");
    shop.job(&REMIND).run().exits(78).says("`mail.unsubscribe.url` is not set");
    assert_eq!(shop.recipients(), Vec::<String>::new());
    assert_eq!(shop.reminded(), Vec::<String>::new());
}

/// By number where they have one, else by bytes, as the lines of an order.
fn the_items_of_a_cart_are_in_their_order(shop: &Customers) {
    shop.configure("");
    shop.write("batchctl.toml", shop.read("batchctl.toml").replace("template_dir = 'mails'", ""));
    shop.member("M1");
    shop.cart("C1", "M1", YESTERDAY, &["A_1", "10", "A1", "2"]);
    shop.job(&REMIND).run().succeeds().says("queued 1 reminder");
    let text = shop.scalar("SELECT text_body FROM mails");
    let places: Vec<Option<usize>> =
        ["Tea 2", "Tea 10", "Tea A1", "Tea A_1"].iter().map(|item| text.find(item)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
}

fn the_built_in_template_renders_a_full_and_a_minimal_cart(shop: &Customers) {
    shop.configure("[cart_remind.coupon]\ncode = 'BACK'\ndescription = '10 % off'\n");
    shop.write("batchctl.toml", shop.read("batchctl.toml").replace("template_dir = 'mails'", ""));
    for member in ["bare", "full"] {
        shop.member(member);
        shop.cart(member, member, YESTERDAY, &["A"]);
    }
    shop.change_member("bare", "name = NULL");
    shop.execute("UPDATE carts SET url = NULL WHERE cart_key = 'bare'");
    shop.execute(
        "UPDATE cart_items SET url = 'https://shop/a', image_url = 'https://shop/a.png'
         WHERE cart_id = (SELECT id FROM carts WHERE cart_key = 'full')",
    );

    shop.job(&REMIND).run().succeeds().says("queued 2 reminders");

    for text in shop.sql("SELECT text_body || html_body FROM mails").concat() {
        assert!(text.contains("BACK") && text.contains("Tea A") && text.contains("unsubscribe"), "{text}");
    }
}

fn a_template_that_takes_hours_does_not_outlive_the_deadline(shop: &Customers) {
    shop.member("M1");
    shop.cart("C1", "M1", YESTERDAY, &["A"]);
    shop.execute(&format!("UPDATE cart_items SET product_name = '{}'", "x".repeat(64 * 1024)));
    let slow = "{% set name = items[0].name %}{% for pass in range(9999) %}{% for again in range(9) %}{% if name | replace('x', 'xyz') == name %}{% endif %}{% endfor %}{% endfor %}";
    let front_matter = "+++\nsubject = \"s\"\ndescription = \"d\"\nowner = \"o\"\n+++\n";
    shop.write("mails/cart-reminder.en.txt", format!("{front_matter}{slow}"));
    shop.write("mails/cart-reminder.ja.txt", format!("{front_matter}{slow}"));

    shop.job(&["cart", "remind", "--timeout", "3s"]).run().exits(124);

    assert_eq!(shop.recipients(), Vec::<String>::new());
}

#[test]
fn a_dry_run_changes_nothing() {
    run_on(Database::Sqlite, |shop: &Customers| {
        shop.member("M1");
        shop.cart("C1", "M1", YESTERDAY, &["A"]);
        let before = shop.dump();
        shop.job(&["cart", "remind", "--dry-run"]).run().succeeds().prints("would run");
        assert_eq!(shop.dump(), before);
    });
}
