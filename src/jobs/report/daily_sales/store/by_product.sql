-- The day's figures by product, into the result table. $1 mall, $2 start, $3 end, $4 business day.
-- The row with the empty key holds what belongs to no single product: shipping, discounts and taxes of whole
-- orders, refunds of whole orders. With it, money adds up to the day's total. An order of two products counts
-- once for each of them.
-- Whether the buyer is new is part of the order's row: with a join, a planner without statistics reads all buyers of the
-- day for each order.
INSERT INTO daily_sales_breakdown (business_day, mall_id, currency, breakdown, breakdown_key, name, orders, items,
    gross_amount, discount_amount, shipping_amount, tax_amount, cancelled_orders, refunded_amount, net_amount,
    new_customers, returning_customers)
WITH sold AS MATERIALIZED (
    SELECT o.id, o.currency, o.member_code,
           EXISTS (SELECT 1 FROM orders e
                   WHERE e.mall_id = $1 AND e.member_code = o.member_code AND e.paid_at < $2) AS has_bought_before
    FROM orders o
    WHERE o.mall_id = $1 AND o.paid_at >= $2 AND o.paid_at < $3
),
facts AS (
    SELECT o.currency, i.product_code AS breakdown_key, MAX(i.product_name) AS name,
           COUNT(DISTINCT o.id) AS orders, SUM(i.quantity) AS items, SUM(i.line_amount) AS gross_amount,
           SUM(i.discount_amount) AS discount_amount, 0 AS shipping_amount, SUM(i.tax_amount) AS tax_amount,
           0 AS cancelled_orders, 0 AS refunded_amount,
           COUNT(DISTINCT CASE WHEN NOT o.has_bought_before THEN o.member_code END) AS new_customers,
           COUNT(DISTINCT CASE WHEN o.has_bought_before THEN o.member_code END) AS returning_customers
    FROM sold o
    JOIN order_items i ON i.order_id = o.id
    GROUP BY o.currency, i.product_code
    UNION ALL
    SELECT o.currency, '', '', 0, 0, SUM(o.total_amount), SUM(o.discount_amount), SUM(o.shipping_amount),
           SUM(o.tax_amount), 0, 0, 0, 0
    FROM orders o
    WHERE o.mall_id = $1 AND o.paid_at >= $2 AND o.paid_at < $3
    GROUP BY o.currency
    UNION ALL
    SELECT o.currency, '', '', 0, 0, -SUM(i.line_amount), -SUM(i.discount_amount), 0, -SUM(i.tax_amount), 0, 0, 0, 0
    FROM orders o
    JOIN order_items i ON i.order_id = o.id
    WHERE o.mall_id = $1 AND o.paid_at >= $2 AND o.paid_at < $3
    GROUP BY o.currency
    UNION ALL
    SELECT o.currency, i.product_code, MAX(i.product_name), 0, 0, 0, 0, 0, 0, COUNT(DISTINCT o.id), 0, 0, 0
    FROM orders o
    JOIN order_items i ON i.order_id = o.id
    WHERE o.mall_id = $1 AND o.cancelled_at >= $2 AND o.cancelled_at < $3
    GROUP BY o.currency, i.product_code
    UNION ALL
    SELECT r.currency, COALESCE(r.product_code, ''),
           MAX(COALESCE(
               (SELECT p.name FROM products p WHERE p.mall_id = $1 AND p.product_code = r.product_code),
               -- A product that the shop has deleted since.
               (SELECT MAX(i.product_name) FROM order_items i
                WHERE i.order_id = r.order_id AND i.product_code = r.product_code),
               '')),
           0, 0, 0, 0, 0, 0, 0, SUM(r.amount), 0, 0
    FROM refunds r
    WHERE r.mall_id = $1 AND r.refunded_at >= $2 AND r.refunded_at < $3
    GROUP BY r.currency, r.product_code
)
SELECT $4, $1, currency, 'PRODUCT', breakdown_key, MAX(name), CAST(SUM(orders) AS BIGINT), CAST(SUM(items) AS BIGINT),
       CAST(SUM(gross_amount) AS BIGINT), CAST(SUM(discount_amount) AS BIGINT), CAST(SUM(shipping_amount) AS BIGINT),
       CAST(SUM(tax_amount) AS BIGINT), CAST(SUM(cancelled_orders) AS BIGINT), CAST(SUM(refunded_amount) AS BIGINT),
       CAST(SUM(gross_amount) - SUM(refunded_amount) AS BIGINT), CAST(SUM(new_customers) AS BIGINT),
       CAST(SUM(returning_customers) AS BIGINT)
FROM facts
GROUP BY currency, breakdown_key
HAVING breakdown_key <> '' OR SUM(gross_amount) <> 0 OR SUM(discount_amount) <> 0 OR SUM(shipping_amount) <> 0
    OR SUM(tax_amount) <> 0 OR SUM(refunded_amount) <> 0
