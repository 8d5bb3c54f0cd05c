-- Low stock, and stock in Redis that differs from the database. The PostgreSQL file of the same name has the same tables with the same columns
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

-- ---------------------------------------------------------------- stock reconcile

-- The products of a mall in the order of their numbers, which the comparison reads page by page.
CREATE INDEX products_of_mall ON products (mall_id, id);

-- What a run of `stock reconcile` did in a mall. `summary_day` is the day whose summary tells of it.
CREATE TABLE stock_reconciliations (
    execution_id INTEGER NOT NULL,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    day TEXT NOT NULL CHECK (day IS DATE(day, '+0 days')),
    source TEXT NOT NULL CHECK (source IN ('DB', 'REDIS')),
    compared INTEGER NOT NULL,
    differences INTEGER NOT NULL,
    repaired INTEGER NOT NULL,
    unsettled INTEGER NOT NULL,
    completed_at TEXT NOT NULL CHECK (
        completed_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(completed_at, 1, 10) IS DATE(completed_at, '+0 days')),
    summary_day TEXT CHECK (summary_day IS DATE(summary_day, '+0 days')),
    PRIMARY KEY (execution_id, mall_id)
) STRICT;
CREATE INDEX stock_reconciliations_unsummarised ON stock_reconciliations (completed_at) WHERE summary_day IS NULL;
CREATE INDEX stock_reconciliations_summary ON stock_reconciliations (summary_day) WHERE summary_day IS NOT NULL;

-- A difference between the database and Redis: `quantity` is what the database had, `stored` what Redis had (NULL for
-- nothing), `target` what the repair made of it (NULL for a key that was deleted). `repair` is PLANNED while the repair is made,
-- then REPAIRED, MOVED (the stock moved in between, and nothing was done), LEFT (a person has to), or UNKNOWN (the run was
-- killed, and the stock has moved since). `told_by` is the run whose event and message count it.
CREATE TABLE stock_differences (
    id INTEGER PRIMARY KEY,
    execution_id INTEGER NOT NULL,
    day TEXT NOT NULL CHECK (day IS DATE(day, '+0 days')),
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    product_id INTEGER,
    product_code TEXT NOT NULL,
    stock_key TEXT NOT NULL,
    quantity INTEGER,
    stored TEXT,
    cause TEXT NOT NULL CHECK (cause IN
        ('MISSING_IN_REDIS', 'RESERVATION_LEAKED', 'LATE_DECREMENT', 'NEGATIVE', 'KEY_WITHOUT_PRODUCT', 'WRONG_TYPE')),
    target INTEGER,
    repair TEXT NOT NULL CHECK (repair IN ('PLANNED', 'REPAIRED', 'MOVED', 'LEFT', 'UNKNOWN')),
    found_at TEXT NOT NULL CHECK (
        found_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(found_at, 1, 10) IS DATE(found_at, '+0 days')),
    told_by INTEGER,
    summary_day TEXT CHECK (summary_day IS DATE(summary_day, '+0 days'))
) STRICT;
CREATE INDEX stock_differences_run ON stock_differences (execution_id);
CREATE INDEX stock_differences_planned ON stock_differences (id) WHERE repair = 'PLANNED';
CREATE INDEX stock_differences_untold ON stock_differences (id) WHERE told_by IS NULL;
CREATE INDEX stock_differences_unsummarised ON stock_differences (found_at) WHERE summary_day IS NULL;
CREATE INDEX stock_differences_summary ON stock_differences (summary_day) WHERE summary_day IS NOT NULL;
