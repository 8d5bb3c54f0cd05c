-- The members of one mall by the status they had at an instant. $1 mall, $2 the instant.
-- undatable counts those who withdrew at an unknown time. A member without a time of confirmation was confirmed from
-- the start, because the shop requires none. Those who requested erasure since are not counted either
-- (docs/statistics.md).
WITH then_members AS (
    SELECT CASE
               WHEN withdrawn_at < $2 THEN 'WITHDRAWN'
               WHEN confirmed_at < $2 OR (confirmed_at IS NULL AND status = 'ACTIVE') THEN 'ACTIVE'
               ELSE 'UNCONFIRMED'
           END AS status,
           CASE WHEN status = 'WITHDRAWN' AND withdrawn_at IS NULL THEN 1 ELSE 0 END AS undatable
    FROM members
    WHERE mall_id = $1 AND signed_up_at < $2 AND erasure_requested_at IS NULL
),
states (status) AS (VALUES ('UNCONFIRMED'), ('ACTIVE'), ('WITHDRAWN'))
SELECT states.status, CAST(COUNT(then_members.status) AS BIGINT) AS quantity,
       CAST(COALESCE(SUM(then_members.undatable), 0) AS BIGINT) AS undatable
FROM states
LEFT JOIN then_members ON then_members.status = states.status
GROUP BY states.status
