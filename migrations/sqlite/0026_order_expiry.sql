-- What `order expire` writes beside the orders themselves. The PostgreSQL file of the same name has the same tables with the
-- same columns in the same order.

-- A mall's orders that wait for their payment, oldest first: a few among many, and each mall's by themselves. SQLite adds the
-- row's own number by itself.
DROP INDEX orders_waiting;
CREATE INDEX orders_waiting ON orders (mall_id, ordered_at) WHERE status = 'PAYMENT_WAIT';

-- ---------------------------------------------------------------- notifications

-- What customers are to be told by another way than mail: an interface, any program may insert into it
-- (docs/orders-and-stock.md). kind names the text and data holds its values, as a JSON object. due_at is when it may be
-- sent at the earliest; a second row with the same dedup_key is refused.
CREATE TABLE notifications (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    member_code TEXT NOT NULL,
    channel TEXT NOT NULL CHECK (channel IN ('PUSH')),
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    dedup_key TEXT,
    due_at TEXT NOT NULL,
    queued_at TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'QUEUED' CHECK (status IN ('QUEUED', 'SENT', 'FAILED', 'CANCELLED'))
) STRICT;
CREATE UNIQUE INDEX notifications_dedup ON notifications (dedup_key) WHERE dedup_key IS NOT NULL;
CREATE INDEX notifications_due ON notifications (due_at, id) WHERE status = 'QUEUED';

-- ---------------------------------------------------------------- stock_releases

-- Reservations in Redis to give back: one row for each order that was cancelled, written in the transaction that cancels it.
-- due_at is when the next attempt may be made. A row that is RELEASED is kept for a while, to be looked up.
CREATE TABLE stock_releases (
    order_id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    order_no TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('WAITING', 'RELEASED')),
    attempts INTEGER NOT NULL,
    due_at TEXT NOT NULL,
    units INTEGER,
    last_error TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX stock_releases_waiting ON stock_releases (order_id) WHERE state = 'WAITING';
CREATE INDEX stock_releases_done ON stock_releases (updated_at) WHERE state = 'RELEASED';
