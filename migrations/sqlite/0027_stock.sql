-- Low stock: who was alerted of which product. The PostgreSQL file of the same name has the same tables with the same columns
-- in the same order.

-- Messages to channels that are kept until each channel has them, whichever job wrote them. `parts` names those of several
-- parts that were delivered.
CREATE TABLE channel_messages (
    id INTEGER PRIMARY KEY,
    message_key TEXT NOT NULL,
    channel TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at TEXT NOT NULL CHECK (
        created_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(created_at, 1, 10) IS DATE(created_at, '+0 days')),
    attempts INTEGER NOT NULL,
    next_attempt_at TEXT NOT NULL CHECK (
        next_attempt_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(next_attempt_at, 1, 10) IS DATE(next_attempt_at, '+0 days')),
    parts TEXT,
    delivered_at TEXT CHECK (
        delivered_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(delivered_at, 1, 10) IS DATE(delivered_at, '+0 days')),
    last_error TEXT,
    UNIQUE (message_key, channel)
) STRICT;
CREATE INDEX channel_messages_open ON channel_messages (next_attempt_at) WHERE delivered_at IS NULL;

-- A product whose stock fell to its threshold or below: one open row a product, until it has recovered. `quantity` and
-- `threshold` are those of that moment. `message_key` is the message that tells of it, `told_at` when everybody had it.
CREATE TABLE stock_alerts (
    id INTEGER PRIMARY KEY,
    product_id INTEGER NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    opened_at TEXT NOT NULL CHECK (
        opened_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(opened_at, 1, 10) IS DATE(opened_at, '+0 days')),
    quantity INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    message_key TEXT,
    told_at TEXT CHECK (
        told_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(told_at, 1, 10) IS DATE(told_at, '+0 days')),
    recovered_at TEXT CHECK (
        recovered_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(recovered_at, 1, 10) IS DATE(recovered_at, '+0 days'))
) STRICT;
CREATE UNIQUE INDEX stock_alerts_open ON stock_alerts (product_id) WHERE recovered_at IS NULL;
CREATE INDEX stock_alerts_product ON stock_alerts (product_id);
CREATE INDEX stock_alerts_untold ON stock_alerts (message_key) WHERE told_at IS NULL;
CREATE INDEX stock_alerts_recovered ON stock_alerts (recovered_at) WHERE recovered_at IS NOT NULL;

-- A mall of whose products so many fell below their thresholds at once that its stock is in doubt: one open row a mall,
-- instead of one for each product. `products` of `watched` had fallen.
CREATE TABLE stock_feed_alerts (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    opened_at TEXT NOT NULL CHECK (
        opened_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(opened_at, 1, 10) IS DATE(opened_at, '+0 days')),
    products INTEGER NOT NULL,
    watched INTEGER NOT NULL,
    message_key TEXT,
    told_at TEXT CHECK (
        told_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(told_at, 1, 10) IS DATE(told_at, '+0 days')),
    closed_at TEXT CHECK (
        closed_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(closed_at, 1, 10) IS DATE(closed_at, '+0 days'))
) STRICT;
CREATE UNIQUE INDEX stock_feed_alerts_open ON stock_feed_alerts (mall_id) WHERE closed_at IS NULL;
