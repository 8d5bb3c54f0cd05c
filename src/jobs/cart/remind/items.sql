-- Items of the carts $1 that can still be bought: not bought from the cart, nor by an order of the member since they
-- touched it, and not sold out. An unknown product counts as on sale, and one without a stock row as in stock.
-- The two halves of `bought` have an index each; orders that are neither paid nor waiting for it were cancelled.
WITH page AS (
    SELECT id, mall_id, member_code, last_activity_at FROM carts
    WHERE id IN (SELECT CAST(value AS BIGINT) FROM {carts} AS wanted)
), bought AS (
    SELECT p.id AS cart_id, i.product_code
    FROM page p
    JOIN orders o ON o.mall_id = p.mall_id AND o.member_code = p.member_code AND o.paid_at IS NOT NULL
        AND o.member_code IS NOT NULL AND o.ordered_at >= p.last_activity_at AND o.status <> 'ORDER_CANCELLED'
    JOIN order_items i ON i.order_id = o.id
    UNION
    SELECT p.id AS cart_id, i.product_code
    FROM page p
    JOIN orders o ON o.mall_id = p.mall_id AND o.member_code = p.member_code AND o.status = 'PAYMENT_WAIT'
        AND o.ordered_at >= p.last_activity_at
    JOIN order_items i ON i.order_id = o.id
)
SELECT i.cart_id, i.product_name, i.quantity, i.unit_price_amount, i.url, i.image_url
FROM page p
JOIN cart_items i ON i.cart_id = p.id
LEFT JOIN products t ON t.mall_id = p.mall_id AND t.product_code = i.product_code
LEFT JOIN stock s ON s.product_id = t.id
WHERE NOT i.is_purchased AND i.quantity > 0
  AND (t.id IS NULL OR t.status = 'ON_SALE') AND (s.quantity IS NULL OR s.quantity > 0)
  AND NOT EXISTS (SELECT 1 FROM bought b WHERE b.cart_id = i.cart_id AND b.product_code = i.product_code)
ORDER BY i.cart_id, i.line_key
