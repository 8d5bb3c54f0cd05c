-- The day's figures by payment method, into the result table. $1 mall, $2 start, $3 end, $4 business day.
-- An order without a payment method is under the empty key. A refund and a cancellation count under the method with
-- which their order was paid.
INSERT INTO daily_sales_breakdown (business_day, mall_id, currency, breakdown, breakdown_key, name, orders, items,
    gross_amount, discount_amount, shipping_amount, tax_amount, cancelled_orders, refunded_amount, net_amount,
    new_customers, returning_customers)
WITH buyers AS (
    SELECT DISTINCT o.currency, COALESCE(o.payment_method, '') AS payment_method, o.member_code,
           EXISTS (SELECT 1 FROM orders e
                   WHERE e.mall_id = $1 AND e.member_code = o.member_code AND e.paid_at < $2) AS has_bought_before
    FROM orders o
    WHERE o.mall_id = $1 AND o.paid_at >= $2 AND o.paid_at < $3 AND o.member_code IS NOT NULL
),
facts AS (
    SELECT o.currency, COALESCE(o.payment_method, '') AS breakdown_key, COUNT(*) AS orders, 0 AS items,
           SUM(o.total_amount) AS gross_amount, SUM(o.discount_amount) AS discount_amount,
           SUM(o.shipping_amount) AS shipping_amount, SUM(o.tax_amount) AS tax_amount, 0 AS cancelled_orders,
           0 AS refunded_amount, 0 AS new_customers, 0 AS returning_customers
    FROM orders o
    WHERE o.mall_id = $1 AND o.paid_at >= $2 AND o.paid_at < $3
    GROUP BY o.currency, COALESCE(o.payment_method, '')
    UNION ALL
    SELECT o.currency, COALESCE(o.payment_method, ''), 0, SUM(i.quantity), 0, 0, 0, 0, 0, 0, 0, 0
    FROM orders o
    JOIN order_items i ON i.order_id = o.id
    WHERE o.mall_id = $1 AND o.paid_at >= $2 AND o.paid_at < $3
    GROUP BY o.currency, COALESCE(o.payment_method, '')
    UNION ALL
    SELECT o.currency, COALESCE(o.payment_method, ''), 0, 0, 0, 0, 0, 0, COUNT(*), 0, 0, 0
    FROM orders o
    WHERE o.mall_id = $1 AND o.cancelled_at >= $2 AND o.cancelled_at < $3
    GROUP BY o.currency, COALESCE(o.payment_method, '')
    UNION ALL
    SELECT r.currency, COALESCE(o.payment_method, ''), 0, 0, 0, 0, 0, 0, 0, SUM(r.amount), 0, 0
    FROM refunds r
    JOIN orders o ON o.id = r.order_id
    WHERE r.mall_id = $1 AND r.refunded_at >= $2 AND r.refunded_at < $3
    GROUP BY r.currency, COALESCE(o.payment_method, '')
    UNION ALL
    SELECT currency, payment_method, 0, 0, 0, 0, 0, 0, 0, 0,
           COUNT(*) FILTER (WHERE NOT has_bought_before), COUNT(*) FILTER (WHERE has_bought_before)
    FROM buyers
    GROUP BY currency, payment_method
)
SELECT $4, $1, currency, 'PAYMENT_METHOD', breakdown_key, breakdown_key, CAST(SUM(orders) AS BIGINT),
       CAST(SUM(items) AS BIGINT), CAST(SUM(gross_amount) AS BIGINT), CAST(SUM(discount_amount) AS BIGINT),
       CAST(SUM(shipping_amount) AS BIGINT), CAST(SUM(tax_amount) AS BIGINT), CAST(SUM(cancelled_orders) AS BIGINT),
       CAST(SUM(refunded_amount) AS BIGINT), CAST(SUM(gross_amount) - SUM(refunded_amount) AS BIGINT),
       CAST(SUM(new_customers) AS BIGINT), CAST(SUM(returning_customers) AS BIGINT)
FROM facts
GROUP BY currency, breakdown_key
