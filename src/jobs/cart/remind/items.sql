-- Items of the carts $1 that can still be bought: not bought from the cart, nor by an order of the member since they
-- touched it, and not sold out. An unknown product counts as on sale, and one without a stock row as in stock.
-- All of it is looked up cart by cart and item by item, by construction: in a join, a planner without statistics reads all
-- orders since the cart was touched, or all of the mall, for each cart, and the items of all carts for each page. No index
-- serves a condition inside COALESCE, which leaves the member's two: of paid orders, and of those that wait for their
-- payment; all others were cancelled.
WITH page AS MATERIALIZED (
    SELECT c.id, c.mall_id,
           (SELECT {array_of}(i.product_code)
            FROM orders o
            JOIN order_items i ON i.order_id = o.id
            WHERE o.mall_id = c.mall_id AND o.member_code = c.member_code AND o.member_code IS NOT NULL
              AND o.paid_at IS NOT NULL AND o.status <> 'ORDER_CANCELLED'
              AND COALESCE(o.ordered_at >= c.last_activity_at, FALSE)) AS paid,
           (SELECT {array_of}(i.product_code)
            FROM orders o
            JOIN order_items i ON i.order_id = o.id
            WHERE o.member_code = c.member_code AND o.member_code IS NOT NULL AND o.status = 'PAYMENT_WAIT'
              AND COALESCE(o.mall_id = c.mall_id AND o.ordered_at >= c.last_activity_at, FALSE)) AS ordered
    FROM carts c
    WHERE c.id IN {carts}
)
SELECT p.id AS cart_id, item.value ->> 0 AS line_key, item.value ->> 1 AS product_name,
       CAST(item.value ->> 2 AS BIGINT) AS quantity, CAST(item.value ->> 3 AS BIGINT) AS unit_price_amount,
       item.value ->> 4 AS url, item.value ->> 5 AS image_url
FROM page p, {each_array}((
    SELECT {array_of}({array}(l.line_key, l.product_name, l.quantity, l.unit_price_amount, l.url, l.image_url))
    FROM cart_items l
    WHERE l.cart_id = p.id AND NOT l.is_purchased AND l.quantity > 0
      AND (SELECT COUNT(*)
           FROM products t
           LEFT JOIN stock s ON s.product_id = t.id
           WHERE t.mall_id = p.mall_id AND t.product_code = l.product_code
             AND COALESCE(t.status <> 'ON_SALE' OR s.quantity <= 0, FALSE)) = 0
      AND NOT EXISTS (SELECT 1 FROM {each}(p.paid) AS b WHERE b.value = l.product_code)
      AND NOT EXISTS (SELECT 1 FROM {each}(p.ordered) AS b WHERE b.value = l.product_code)
)) AS item
ORDER BY cart_id, {line_order}
