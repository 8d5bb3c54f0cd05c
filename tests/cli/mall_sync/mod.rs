//! `mall sync`: synchronises shops at Cafe24 into one database, against a local Cafe24.

mod bad_input;
mod bad_records;
mod completeness;
mod crash;
mod faults;
mod members;
mod orders;
mod overlap;
mod retries;
mod side_by_side;
mod story;
mod throttle;
mod tokens;

use std::ops::Deref;

use serde_json::{Value, json};

use crate::support::{Arranged, Batchctl, Cafe24, Database, Sandbox};

/// A sandbox with the mall `demo` at its own Cafe24, which does not throttle.
pub(crate) struct Shops {
    sandbox: Sandbox,
    cafe24: Cafe24,
}

impl Arranged for Shops {
    fn on(database: Database) -> Self {
        let sandbox = Sandbox::on(database);
        let cafe24 = Cafe24::start();
        cafe24.configure(&sandbox, "");
        let shops = Self { sandbox, cafe24 };
        shops.open("demo");
        shops
    }
}

impl Deref for Shops {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Shops {
    /// A further mall, with tokens.
    fn open(&self, mall: &str) {
        self.control(mall, "settings", json!({ "throttle": "none" }));
        self.cafe24.add_mall(&self.sandbox, mall);
    }

    /// Changes what a mall's server does or has.
    #[expect(clippy::needless_pass_by_value, reason = "`json!` is written in its place")]
    #[track_caller]
    fn control(&self, mall: &str, path: &str, body: Value) {
        self.cafe24.control(mall, path, &body);
    }

    /// Adds records to `demo`.
    fn data(&self, data: Value) {
        self.control("demo", "data", data);
    }

    /// Adds generated records to `demo`.
    fn generate(&self, what: Value) {
        self.control("demo", "generate", what);
    }

    #[expect(clippy::needless_pass_by_value, reason = "`json!` is written in its place")]
    fn faults(&self, rules: Value) {
        self.control("demo", "faults", json!({ "rules": rules }));
    }

    /// `mall sync --mall demo --domain DOMAIN`: yesterday, which is 2026-11-19.
    fn sync(&self, domain: &str) -> Batchctl {
        self.batchctl(["mall", "sync", "--mall", "demo", "--domain", domain])
    }

    /// The calls of the Admin API that `demo` has answered or refused, without those of OAuth.
    fn calls(&self) -> Vec<Value> {
        let requests = self.cafe24.log("demo")["requests"].as_array().cloned().unwrap_or_default();
        requests
            .into_iter()
            .filter(|request| request["path"].as_str().is_some_and(|path| path.contains("/admin/")))
            .collect()
    }

    fn summary(&self, mall: &str) -> Value {
        self.cafe24.log(mall)["summary"].clone()
    }

    /// One number of a mall's summary.
    fn counted(&self, name: &str) -> i64 {
        self.summary("demo")[name].as_i64().unwrap_or_else(|| panic!("`{name}` is counted"))
    }

    fn members(&self) -> String {
        self.scalar("SELECT COUNT(*) FROM members")
    }

    /// Instance, attempt, status and exit code of each run, in their order.
    fn runs(&self) -> Vec<Vec<String>> {
        self.sql("SELECT instance_key, attempt, status, exit_code FROM batch_execution ORDER BY id")
    }

    /// The skipped items that are open.
    fn open_errors(&self) -> Vec<Vec<String>> {
        self.sql("SELECT item_key, message FROM batch_error_log WHERE resolved_at IS NULL ORDER BY item_key")
    }
}

/// A member as Cafe24 returns it.
fn member(code: &str, created: &str) -> Value {
    json!({
        "shop_no": 1, "member_id": code, "name": format!("이름 {code}"), "cellphone": "010-0000-0000",
        "email": format!("{code}@example.com"), "sms": "T", "news_mail": "F", "group_no": 1,
        "created_date": created, "last_login_date": null, "member_type": "p", "country_code": "KR",
        "use_blacklist": "F"
    })
}

/// A paid order of one line, as Cafe24 returns it.
pub(crate) fn order(number: &str, member: &str, ordered: &str, amount: u32) -> Value {
    let amounts = json!({
        "order_price_amount": format!("{amount}.00"), "shipping_fee": "0.00", "coupon_discount_price": "0.00",
        "points_spent_amount": "0.00", "total_amount_due": "0.00", "payment_amount": format!("{amount}.00")
    });
    json!({
        "shop_no": 1, "currency": "KRW", "order_id": number, "member_id": member, "order_date": ordered,
        "payment_date": ordered, "cancel_date": null, "paid": "T", "canceled": "F", "payment_method": ["card"],
        "payment_amount": format!("{amount}.00"), "shipping_status": "F", "initial_order_amount": amounts,
        "actual_order_amount": amounts,
        "items": [{
            "shop_no": 1, "item_no": 1, "order_item_code": format!("{number}-01"), "product_no": 12,
            "product_code": "P000000M", "product_name": "사과 3kg", "quantity": 1,
            "product_price": format!("{amount}.00"), "option_price": "0.00", "additional_discount_price": "0.00",
            "coupon_discount_price": "0.00", "payment_amount": format!("{amount}.00"), "order_status": "N20"
        }]
    })
}

/// A completed refund, as Cafe24 returns it.
fn refund(code: &str, order: &str, refunded: &str, amount: u32) -> Value {
    json!({
        "shop_no": 1, "order_id": order, "refund_code": code, "order_date": refunded,
        "accepted_refund_date": refunded, "refund_date": refunded, "order_item_code": [format!("{order}-01")],
        "quantity": 1, "actual_refund_amount": format!("{amount}.00"), "currency": "KRW",
        "refund_payment_methods": ["card"], "status": "T"
    })
}
