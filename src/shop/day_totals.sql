-- One business day of one mall, a row for each currency. $1 mall, $2 start, $3 end of the day.
-- A sale counts on the day it was paid; a cancellation and a refund on the day they happened.
SELECT currency,
       CAST(SUM(orders) AS BIGINT) AS orders,
       CAST(SUM(items) AS BIGINT) AS items,
       CAST(SUM(gross_amount) AS BIGINT) AS gross_amount,
       CAST(SUM(discount_amount) AS BIGINT) AS discount_amount,
       CAST(SUM(shipping_amount) AS BIGINT) AS shipping_amount,
       CAST(SUM(tax_amount) AS BIGINT) AS tax_amount,
       CAST(SUM(cancelled_orders) AS BIGINT) AS cancelled_orders,
       CAST(SUM(refunds) AS BIGINT) AS refunds,
       CAST(SUM(refunded_amount) AS BIGINT) AS refunded_amount,
       CAST(SUM(new_customers) AS BIGINT) AS new_customers,
       CAST(SUM(returning_customers) AS BIGINT) AS returning_customers
FROM (
    SELECT currency, COUNT(*) AS orders, 0 AS items, SUM(total_amount) AS gross_amount,
           SUM(discount_amount) AS discount_amount, SUM(shipping_amount) AS shipping_amount,
           SUM(tax_amount) AS tax_amount, 0 AS cancelled_orders, 0 AS refunds, 0 AS refunded_amount,
           0 AS new_customers, 0 AS returning_customers
    FROM orders
    WHERE mall_id = $1 AND paid_at >= $2 AND paid_at < $3
    GROUP BY currency
    UNION ALL
    SELECT o.currency, 0, SUM(i.quantity), 0, 0, 0, 0, 0, 0, 0, 0, 0
    FROM orders o
    JOIN order_items i ON i.order_id = o.id
    WHERE o.mall_id = $1 AND o.paid_at >= $2 AND o.paid_at < $3
    GROUP BY o.currency
    UNION ALL
    SELECT currency, 0, 0, 0, 0, 0, 0, COUNT(*), 0, 0, 0, 0
    FROM orders
    WHERE mall_id = $1 AND cancelled_at >= $2 AND cancelled_at < $3
    GROUP BY currency
    UNION ALL
    SELECT currency, 0, 0, 0, 0, 0, 0, 0, COUNT(*), SUM(amount), 0, 0
    FROM refunds
    WHERE mall_id = $1 AND refunded_at >= $2 AND refunded_at < $3
    GROUP BY currency
    UNION ALL
    SELECT currency, 0, 0, 0, 0, 0, 0, 0, 0, 0,
           COUNT(*) FILTER (WHERE NOT has_bought_before), COUNT(*) FILTER (WHERE has_bought_before)
    FROM (
        SELECT DISTINCT o.currency, o.member_code,
               EXISTS (SELECT 1 FROM orders e
                       WHERE e.mall_id = $1 AND e.member_code = o.member_code AND e.paid_at < $2) AS has_bought_before
        FROM orders o
        WHERE o.mall_id = $1 AND o.paid_at >= $2 AND o.paid_at < $3 AND o.member_code IS NOT NULL
    ) buyers
    GROUP BY currency
) facts
GROUP BY currency
ORDER BY currency
