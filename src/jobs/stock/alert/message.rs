//! What people are told: about products that are low, and about a mall whose stock is in doubt.

use crate::channels::Message;
use crate::context::Context;
use crate::locale::{Locale, group_digits};
use crate::period::shown_instant;
use crate::printable::{one_line, shortened};
use crate::severity::Severity;
use crate::wording::command;

use super::{Feed, Low};

/// How much is shown of a product's name or code.
const SHOWN_CHARACTERS: usize = 60;

/// The products that a message is about.
pub(super) struct Digest {
    /// How many there are.
    pub(super) total: u64,
    /// The most urgent ones, which it names.
    pub(super) named: Vec<Low>,
}

/// The message about products that are low.
pub(super) fn of_products(cx: &Context, id: &str, severity: Severity, digest: &Digest) -> Message {
    let locale = cx.config.locale();
    let total = group_digits(&digest.total.to_string());
    let are = if digest.total == 1 { "product is" } else { "products are" };
    let title = locale.pick(
        format!("{total} {are} low on stock"),
        format!("在庫が少ない商品：{total}件"),
        format!("재고 부족 상품 {total}개"),
    );
    let mut lines: Vec<String> = digest.named.iter().map(|low| line(low, locale)).collect();
    let more = digest.total.saturating_sub(digest.named.len() as u64);
    if more > 0 {
        let more = group_digits(&more.to_string());
        let command = cx.full_command("stock alerts");
        lines.push(locale.pick(
            format!("and {more} more: {command}"),
            format!("ほか{more}件：{command}"),
            format!("외 {more}개: {command}"),
        ));
    }
    lines.push(as_of(cx, locale));
    Message { lines, ..Message::new(id, cx.now(), severity, in_environment(cx, &title)) }
}

/// `tokyo/P-1 Green tea: 3 left (alert at 5)`. Whatever another program calls its products, it is one line.
fn line(low: &Low, locale: Locale) -> String {
    let shown = |text: &str| shortened(&one_line(text), SHOWN_CHARACTERS).into_owned();
    let product =
        format!("{}/{} {}", shown(low.mall.shown()), shown(low.product.shown()), shown(low.name.shown()));
    let (quantity, threshold) =
        (group_digits(&low.quantity.to_string()), group_digits(&low.threshold.to_string()));
    let left = match low.quantity {
        0 => locale.pick("sold out".to_owned(), "在庫切れ".to_owned(), "품절".to_owned()),
        1.. => {
            locale.pick(format!("{quantity} left"), format!("残り{quantity}点"), format!("{quantity}개 남음"))
        }
        // More was sold than there was.
        _ => locale.pick(format!("stock {quantity}"), format!("在庫 {quantity}"), format!("재고 {quantity}")),
    };
    locale.pick(
        format!("{product}: {left} (alert at {threshold})"),
        format!("{product}：{left}（基準 {threshold}）"),
        format!("{product}: {left} (기준 {threshold})"),
    )
}

/// The message about a mall whose stock is in doubt.
pub(super) fn of_feed(cx: &Context, feed: &Feed) -> Message {
    let locale = cx.config.locale();
    let mall = feed.mall.shown();
    let accept = command(&["stock", "alert", "--mall", mall, "--accept-all"]);
    let accept = cx.full_command(accept.strip_prefix("batchctl ").unwrap_or(&accept));
    let mall = one_line(mall);
    let (products, watched) =
        (group_digits(&feed.products.to_string()), group_digits(&feed.watched.to_string()));
    let title = locale.pick(
        format!("The stock of mall {mall} is in doubt: {products} of {watched} products became low at once"),
        format!("店舗 {mall} の在庫数に異常の疑い：対象商品{watched}件のうち{products}件が一度に基準以下"),
        format!("쇼핑몰 {mall} 재고 확인 필요: 상품 {watched}개 중 {products}개가 한꺼번에 기준 이하"),
    );
    let lines = vec![
        locale.pick(
            "No alert is opened for its products: check what writes the table `stock`".to_owned(),
            "商品ごとのアラートは出していません。テーブル `stock` に書き込む連携を確認してください"
                .to_owned(),
            "상품별 알림은 내지 않았습니다. 테이블 `stock`에 기록하는 연동을 확인하십시오".to_owned(),
        ),
        locale.pick(
            format!("If it is true: {accept}"),
            format!("正しい場合：{accept}"),
            format!("사실이라면: {accept}"),
        ),
        as_of(cx, locale),
    ];
    let id = format!("stock-feed/{}", feed.id);
    Message { lines, ..Message::new(id, cx.now(), Severity::High, in_environment(cx, &title)) }
}

fn in_environment(cx: &Context, title: &str) -> String {
    let environment = cx.config.environment();
    let locale = cx.config.locale();
    locale.pick(
        format!("{title} ({environment})"),
        format!("{title}（{environment}）"),
        format!("{title} ({environment})"),
    )
}

/// A message that had to wait is read later.
fn as_of(cx: &Context, locale: Locale) -> String {
    let at = shown_instant(cx.now(), cx.time_zone());
    locale.pick(format!("as of {at}"), format!("{at} 現在"), format!("{at} 기준"))
}
