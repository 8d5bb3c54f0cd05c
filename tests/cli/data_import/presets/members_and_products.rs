//! The presets' other kinds: members and products.

use encoding_rs::SHIFT_JIS;

use super::super::{file, import, rows, with_tokyo};
use crate::support::{Shop, on_both_databases};

on_both_databases![
    shopify_customers,
    shopify_products_of_either_form,
    woocommerce_products,
    color_me_customers_and_products,
    ec_cube_members_and_products,
];

/// The members: code, status, sign-up, mail address, name, phone.
fn members(shop: &Shop) -> Vec<String> {
    rows(shop, "SELECT member_code, status, signed_up_at, email, name, phone FROM members")
}

/// The products: code, name, price, status, stock.
fn products(shop: &Shop) -> Vec<String> {
    rows(
        shop,
        "SELECT product_code, name, price_amount, status, quantity FROM products LEFT JOIN stock ON product_id = id",
    )
}

#[track_caller]
fn import_by(shop: &Shop, kind: &str, preset: &str, name: &str) {
    import(shop, &["--kind", kind, "--preset", preset, "--mall", "tokyo", name]).run().succeeds();
}

fn shopify_customers(shop: &Shop) {
    with_tokyo(shop);
    let header = "Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Default Address Company,\
                  Default Address Address1,Default Address Address2,Default Address City,Default Address Province Code,\
                  Default Address Country Code,Default Address Zip,Default Address Phone,Phone,Accepts SMS Marketing,\
                  Total Spent,Total Orders,Note,Tax Exempt,Tags";
    shop.write(
        "customers.csv",
        file(
            header,
            &[
                "'8770001,花子,山田,a@example.jp,yes,,,,,,JP,'0600001,,'819012345678,no,1200.00,1,\"VIP, 🎂\",no,",
                "'8770002,,,,no,,,,,,,,,'819000000000,no,0.00,0,,no,",
                "'8770003,Ann,,,no,,,,,,,,,,no,0.00,0,,no,",
            ],
        ),
    );
    import_by(shop, "members", "shopify", "customers.csv");
    assert_eq!(
        members(shop),
        [
            "819000000000 | ACTIVE | 1999-12-31T15:00:00+00:00 | NULL | NULL | 819000000000",
            "8770003 | ACTIVE | 1999-12-31T15:00:00+00:00 | NULL | Ann | NULL",
            "a@example.jp | ACTIVE | 1999-12-31T15:00:00+00:00 | a@example.jp | 花子 山田 | 819012345678",
        ]
    );
}

fn shopify_products_of_either_form(shop: &Shop) {
    with_tokyo(shop);
    // Of an option the title is blank; a line without a price is a picture.
    let old =
        "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Qty,Variant Price,Status";
    let lines =
        ["mug,Mug,Colour,Red,MUG-RED,5,1650.00,active", "mug,,,Blue,MUG-BLU,-1,1650.00,", "mug,,,,,,,"];
    shop.write("old.csv", file(old, &lines));
    import_by(shop, "products", "shopify", "old.csv");
    let new = "Title,URL handle,SKU,Barcode,Option1 name,Option1 value,Price,Inventory quantity,Status";
    shop.write("new.csv", file(new, &["Tea,tea,'001,,,,1080,7,Draft", ",tea,,,,,,,"]));
    import_by(shop, "products", "shopify", "new.csv");
    assert_eq!(
        products(shop),
        [
            "001 | Tea | 1080 | DISCONTINUED | 7",
            "MUG-BLU | mug | 1650 | ON_SALE | -1",
            "MUG-RED | Mug | 1650 | ON_SALE | 5",
        ]
    );
}

fn woocommerce_products(shop: &Shop) {
    with_tokyo(shop);
    let header = "\u{feff}ID,Type,SKU,\"GTIN, UPC, EAN, or ISBN\",Name,Published,Stock,Sale price,Regular price,Parent";
    let lines = [
        "1,simple,'=TEA,,'+Tea,1,5,980,1080,",
        "2,variable,MUG,,Mug,1,,,,",
        "3,variation,MUG-RED,,Mug - Red,1,2,,1650,MUG",
        "4,simple,,,福袋🎁,-1,,,10800,",
    ];
    shop.write("products.csv", file(header, &lines));
    import_by(shop, "products", "woocommerce", "products.csv");
    assert_eq!(
        products(shop),
        [
            "=TEA | +Tea | 980 | ON_SALE | 5",
            "MUG-RED | Mug - Red | 1650 | ON_SALE | 2",
            "福袋🎁 | 福袋🎁 | 10800 | DISCONTINUED | NULL",
        ]
    );
}

fn color_me_customers_and_products(shop: &Shop) {
    with_tokyo(shop);
    let header = "顧客ID,名前,フリガナ,郵便番号,都道府県名,住所,メールアドレス,電話番号,FAX番号,携帯番号,ユーザー登録,備考,登録日,更新日";
    let lines = [
        "11,髙橋 花子,ﾀｶﾊｼ ﾊﾅｺ,0600001,北海道,札幌市①,a@example.jp,,,090-0000-0000,有,,2026/6/1,2026/11/1",
        "12,山田 太郎,,,,,b@example.jp,03-0000-0000,,,無,,2026/6/2,2026/6/2",
    ];
    shop.write("customer.csv", SHIFT_JIS.encode(&file(header, &lines)).0);
    import_by(shop, "members", "colorme", "customer.csv");
    assert_eq!(
        members(shop),
        ["11 | ACTIVE | 2026-05-31T15:00:00+00:00 | a@example.jp | 髙橋 花子 | 090-0000-0000"]
    );
    let header = "商品ID,大カテゴリー,小カテゴリー,型番,商品名,販売価格,在庫数";
    let lines = ["100,茶,,TEA-1,①番茶,1080,3", "101,茶,,,ﾃｨｰﾊﾞｯｸﾞ,540,"];
    shop.write("product.csv", SHIFT_JIS.encode(&file(header, &lines)).0);
    import_by(shop, "products", "colorme", "product.csv");
    assert_eq!(products(shop), ["101 | ﾃｨｰﾊﾞｯｸﾞ | 540 | ON_SALE | NULL", "TEA-1 | ①番茶 | 1080 | ON_SALE | 3"]);
}

fn ec_cube_members_and_products(shop: &Shop) {
    with_tokyo(shop);
    let header = "会員ID,お名前(姓),お名前(名),お名前(セイ),お名前(メイ),会社名,郵便番号,都道府県(ID),都道府県(名称),住所1,住所2,\
                  メールアドレス,TEL,性別(ID),性別(名称),職業(ID),職業(名称),誕生日,初回購入日,最終購入日,購入回数,ショップ用メモ欄,\
                  会員ステータス(ID),会員ステータス(名称),登録日,更新日,ポイント";
    let line = |id: &str, status: &str| {
        format!(
            "{id},髙橋,花子,,,,0600001,1,北海道,札幌市,,m{id}@example.jp,09000000000,,,,,,,,0,,{status},,\
             2026-07-01 10:00:00,2026-07-02 10:00:00,0"
        )
    };
    let lines = [line("1", "1"), line("2", "2"), line("3", "3")];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    shop.write("customer.csv", SHIFT_JIS.encode(&file(header, &lines)).0);
    import_by(shop, "members", "ec-cube", "customer.csv");
    let member = |id: &str, status: &str| {
        format!("{id} | {status} | 2026-07-01T01:00:00+00:00 | m{id}@example.jp | 髙橋 花子 | 09000000000")
    };
    assert_eq!(members(shop), [member("1", "UNCONFIRMED"), member("2", "ACTIVE"), member("3", "WITHDRAWN")]);

    // Also in UTF-8, as a setting of the shop has it.
    let header = "商品ID,商品名,商品規格ID,商品コード,販売価格,在庫数";
    shop.write("product.csv", file(header, &["1,煎茶,10,TEA-1,1000.00,5", "1,煎茶,11,,1200.00,"]));
    import_by(shop, "products", "ec-cube", "product.csv");
    assert_eq!(products(shop), ["11 | 煎茶 | 1200 | ON_SALE | NULL", "TEA-1 | 煎茶 | 1000 | ON_SALE | 5"]);
}
