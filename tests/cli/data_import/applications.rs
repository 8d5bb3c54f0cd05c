//! Malls whose application keeps their orders in the same database: files bring everything else, and no orders.

use super::{ORDERS, file, import, order_line, rows, shop_rows, stored_orders, with_tokyo};
use crate::support::{Order, Shop, on_both_databases};

on_both_databases![
    orders_are_not_imported_into_a_mall_whose_application_keeps_them,
    in_a_file_of_several_malls_only_the_lines_of_such_a_mall_are_bad,
    an_imported_order_does_not_expire_when_its_mall_becomes_an_applications,
];

fn becomes_an_applications(shop: &Shop, mall: &str) {
    shop.batchctl(["mall", "add", mall, "--platform", "app"]).run().succeeds();
}

fn orders_are_not_imported_into_a_mall_whose_application_keeps_them(shop: &Shop) {
    with_tokyo(shop);
    becomes_an_applications(shop, "tokyo");
    shop.write("orders.csv", file(ORDERS, &[&order_line(1)]));
    let before = shop_rows(shop);

    for arguments in [&["--mall", "tokyo"][..], &["--mall", "tokyo", "--check"]] {
        let ran = import(shop, &[&["--kind", "orders", "orders.csv"], arguments].concat()).run().exits(77);
        ran.says("the orders of mall `tokyo` are its application's own (platform `app`)")
            .says("mall add tokyo --platform csv");
    }
    shop.write("batchctl.toml", "[import.orders]\nmall = \"tokyo\"\n");
    import(shop, &["--kind", "orders", "orders.csv"]).run().exits(77).says("its application's own");
    assert_eq!(shop_rows(shop), before);

    // Everything else comes from files as before.
    shop.write(
        "products.csv",
        "product_code,name,price_amount,status,stock_quantity\nP1,Tea,1200,ON_SALE,7\n",
    );
    import(shop, &["--kind", "products", "--mall", "tokyo", "products.csv"]).run().succeeds();
    assert_eq!(shop.scalar("SELECT quantity FROM stock"), "7");
    shop.write("members.csv", "member_code,status,signed_up_at\nM1,ACTIVE,2026-11-01 10:00\n");
    import(shop, &["--kind", "members", "--mall", "tokyo", "members.csv"]).run().succeeds();

    // What the hint says is all that it takes.
    shop.batchctl(["mall", "add", "tokyo", "--platform", "csv"]).run().succeeds();
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    assert_eq!(stored_orders(shop), ["A000001"]);
}

fn in_a_file_of_several_malls_only_the_lines_of_such_a_mall_are_bad(shop: &Shop) {
    with_tokyo(shop);
    shop.mall("osaka", "Asia/Tokyo", "JPY");
    becomes_an_applications(shop, "osaka");
    shop.write("orders.csv", file(ORDERS, &[&order_line(1), &order_line(2).replace("tokyo", "osaka")]));
    let problem = "`mall`: the orders of mall `osaka` are its application's own (platform `app`)";
    import(shop, &["--kind", "orders", "orders.csv"]).run().exits(65).says("orders.csv:3").says(problem);
    assert_eq!(stored_orders(shop).len(), 0);
    import(shop, &["--kind", "orders", "--skip-limit", "1", "orders.csv"]).run().exits(3).says(problem);
    assert_eq!(stored_orders(shop), ["A000001"]);
}

/// The column is there and empty: nothing says when such an order changed, as in one of an application.
fn an_imported_order_does_not_expire_when_its_mall_becomes_an_applications(shop: &Shop) {
    let mall = shop.mall("tokyo", "Asia/Tokyo", "JPY");
    let header = format!("{ORDERS},updated_at");
    let waiting = "tokyo,W,PAYMENT_WAIT,2026-11-19 10:00,,1200,P1,1,1200,";
    shop.write("orders.csv", file(&header, &[waiting]));
    import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
    // The same again is no change, whenever it is imported.
    import(shop, &["--kind", "orders", "--rerun", "-v", "orders.csv"]).run().succeeds().says("1 unchanged");

    becomes_an_applications(shop, "tokyo");
    let ordered_at = "2026-11-20T00:30:00+09:00";
    shop.order(Order {
        mall,
        order_no: "own",
        status: "PAYMENT_WAIT",
        ordered_at,
        paid_at: None,
        ..Order::default()
    });
    shop.batchctl(["order", "expire"]).run().succeeds();
    let states = "SELECT order_no, status FROM orders";
    assert_eq!(rows(shop, states), ["W | PAYMENT_WAIT", "own | ORDER_CANCELLED"]);

    // Later files are believed as before, whether they say when the order changed or not.
    shop.batchctl(["mall", "add", "tokyo", "--platform", "csv"]).run().succeeds();
    for (line, total) in [
        ("tokyo,W,PAYMENT_WAIT,2026-11-19 10:00,,1300,P1,1,1300,", "1300"),
        ("tokyo,W,PAID,2026-11-19 10:00,2026-11-19 12:00,1400,P1,1,1400,2026-11-19 12:00", "1400"),
    ] {
        shop.write("orders.csv", file(&header, &[line]));
        import(shop, &["--kind", "orders", "orders.csv"]).run().succeeds();
        assert_eq!(shop.scalar("SELECT total_amount FROM orders WHERE order_no = 'W'"), total);
    }
}
