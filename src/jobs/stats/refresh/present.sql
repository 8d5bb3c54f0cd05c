-- The present state of one mall, into the result table, every state with its row of zero. $1 day, $2 mall, $3 run,
-- $4 now. A product is sold out if the shop says so, or if its stock is counted and none is left.
-- Members who requested erasure are not counted (docs/statistics.md).
INSERT INTO statistics_snapshots (snapshot_day, mall_id, subject, status, quantity, is_reconstructed, execution_id,
    taken_at)
WITH states (subject, status) AS (
    VALUES ('MEMBER', 'UNCONFIRMED'), ('MEMBER', 'ACTIVE'), ('MEMBER', 'WITHDRAWN'),
           ('ORDER', 'PAYMENT_WAIT'), ('ORDER', 'PAID'), ('ORDER', 'SHIPPED'), ('ORDER', 'DELIVERED'),
           ('ORDER', 'ORDER_CANCELLED'), ('ORDER', 'REFUNDED'),
           ('PRODUCT', 'ON_SALE'), ('PRODUCT', 'SOLD_OUT'),
           ('CART', 'OPEN')
),
counts AS (
    SELECT 'MEMBER' AS subject, status, COUNT(*) AS quantity
    FROM members WHERE mall_id = $2 AND erasure_requested_at IS NULL
    GROUP BY status
    UNION ALL
    SELECT 'ORDER', status, COUNT(*) FROM orders WHERE mall_id = $2 GROUP BY status
    UNION ALL
    SELECT 'PRODUCT', state, COUNT(*)
    FROM (SELECT CASE WHEN p.status = 'SOLD_OUT' OR s.quantity <= 0 THEN 'SOLD_OUT' ELSE 'ON_SALE' END AS state
          FROM products p
          LEFT JOIN stock s ON s.product_id = p.id
          WHERE p.mall_id = $2 AND p.status IN ('ON_SALE', 'SOLD_OUT')) products_by_state
    GROUP BY state
    UNION ALL
    SELECT 'CART', 'OPEN', COUNT(*) FROM carts WHERE mall_id = $2 AND ordered_at IS NULL
)
SELECT $1, $2, states.subject, states.status, COALESCE(counts.quantity, 0), FALSE, $3, $4
FROM states
LEFT JOIN counts ON counts.subject = states.subject AND counts.status = states.status
