-- What is left of a mall's old name once it was renamed: reservations, and notices. The PostgreSQL file of the same name has the
-- same tables with the same columns in the same order.

-- ---------------------------------------------------------------- stock_releases

-- What the keys were called when the order was cancelled: a mall may be renamed, and `[stock.redis]` changed, until its
-- reservation is given back. Empty in older rows, whose keys are called as they are by now.
ALTER TABLE stock_releases ADD COLUMN reservation_key TEXT;
ALTER TABLE stock_releases ADD COLUMN stock_before TEXT;
ALTER TABLE stock_releases ADD COLUMN stock_after TEXT;
-- The Redis that was asked, and may have done it, though nobody has noted its answer.
ALTER TABLE stock_releases ADD COLUMN asked_redis TEXT;
-- Whether Redis has no such reservation, and it is not decided whether that is to be believed.
ALTER TABLE stock_releases ADD COLUMN is_missing INTEGER NOT NULL DEFAULT 0;
CREATE INDEX stock_releases_missing ON stock_releases (mall_id, id) WHERE is_missing;
CREATE INDEX stock_releases_latest ON stock_releases (mall_id, updated_at, id) WHERE state = 'RELEASED';

-- ---------------------------------------------------------------- notices

-- Their keys have the number of the mall instead of its code: nobody is told twice because a mall was renamed.
UPDATE notifications SET dedup_key = kind || ':' || mall_id || SUBSTR(dedup_key, LENGTH(kind || '/' || malls.code) + 1)
FROM malls
WHERE malls.id = notifications.mall_id AND kind = 'order-expired'
  AND SUBSTR(dedup_key, 1, LENGTH(kind || '/' || malls.code || '/')) = kind || '/' || malls.code || '/';
UPDATE mails SET dedup_key = kind || ':' || mall_id || SUBSTR(dedup_key, LENGTH(kind || '/' || malls.code) + 1)
FROM malls
WHERE malls.id = mails.mall_id AND kind IN ('order-expired', 'cart-reminder', 'payment-notice')
  AND SUBSTR(dedup_key, 1, LENGTH(kind || '/' || malls.code || '/')) = kind || '/' || malls.code || '/';
