-- What `order expire` gives back, and what `stats daily` has told. The PostgreSQL file of the same name has the same tables
-- with the same columns in the same order.

-- ---------------------------------------------------------------- stock_releases

-- A reservation is called after the number of its order, so that there is one row for each number: an order that is opened
-- again can expire again, and SQLite gives the ID of a deleted order to a new one, whose reservation is another.
ALTER TABLE stock_releases RENAME TO stock_releases_before;
CREATE TABLE stock_releases (
    order_id INTEGER NOT NULL,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    order_no TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('WAITING', 'RELEASED')),
    attempts INTEGER NOT NULL,
    due_at TEXT NOT NULL,
    units INTEGER,
    last_error TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    id INTEGER PRIMARY KEY,
    UNIQUE (mall_id, order_no)
) STRICT;
INSERT INTO stock_releases
    (order_id, mall_id, order_no, state, attempts, due_at, units, last_error, created_at, updated_at)
SELECT order_id, mall_id, order_no, state, attempts, due_at, units, last_error, created_at, updated_at
FROM stock_releases_before WHERE TRUE ORDER BY state DESC, order_id DESC ON CONFLICT DO NOTHING;
DROP TABLE stock_releases_before;
CREATE INDEX stock_releases_waiting ON stock_releases (id) WHERE state = 'WAITING';
CREATE INDEX stock_releases_order ON stock_releases (order_id);
CREATE INDEX stock_releases_done ON stock_releases (updated_at) WHERE state = 'RELEASED';

-- ---------------------------------------------------------------- stats daily

-- The figures that other systems were told last of a day, by mall and currency. Those of `daily_statistics` are replaced by
-- provisional ones when a day is computed again whose data has not come.
CREATE TABLE daily_statistics_told (
    business_day TEXT NOT NULL,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    currency TEXT NOT NULL,
    orders INTEGER NOT NULL,
    sales_amount INTEGER NOT NULL,
    average_order_amount INTEGER NOT NULL,
    cancelled_orders INTEGER NOT NULL,
    refunded_amount INTEGER NOT NULL,
    told_at TEXT NOT NULL,
    PRIMARY KEY (business_day, mall_id, currency)
) STRICT;
INSERT INTO daily_statistics_told
SELECT business_day, mall_id, currency, orders, sales_amount, average_order_amount, cancelled_orders, refunded_amount, computed_at
FROM daily_statistics WHERE awaited_subject IS NULL;
