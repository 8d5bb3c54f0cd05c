-- The results of the reports beside daily sales. The PostgreSQL file of the same name has the same tables with the
-- same columns in the same order. Every table is for a dashboard to read: a period is replaced in one transaction.

-- ---------------------------------------------------------------- report daily-cancellations

-- A row for each mall and currency; a day without cancellations is a row of zeros in the mall's own currency.
-- cancelled_amount is what the cancelled orders came to, paid or not.
CREATE TABLE daily_cancellations (
    business_day TEXT NOT NULL,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    currency TEXT NOT NULL,
    cancelled_orders INTEGER NOT NULL,
    cancelled_amount INTEGER NOT NULL,
    execution_id INTEGER NOT NULL,
    computed_at TEXT NOT NULL,
    PRIMARY KEY (business_day, mall_id, currency)
) STRICT;

-- The same by reason, as the shop wrote it; 'unspecified' where it wrote none. Adds up to the row above.
CREATE TABLE daily_cancellations_by_reason (
    business_day TEXT NOT NULL,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    currency TEXT NOT NULL,
    reason TEXT NOT NULL,
    cancelled_orders INTEGER NOT NULL,
    cancelled_amount INTEGER NOT NULL,
    PRIMARY KEY (business_day, mall_id, currency, reason)
) STRICT;

-- ---------------------------------------------------------------- report weekly-signups

-- Counts only, and no count from 1 to min_cell - 1: a NULL is withheld (docs/weekly-signups.md).
-- week_day is the week's Monday.
CREATE TABLE weekly_signups (
    week_day TEXT NOT NULL,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    min_cell INTEGER NOT NULL,
    signups INTEGER,
    active INTEGER,
    unconfirmed INTEGER,
    withdrawn INTEGER,
    execution_id INTEGER NOT NULL,
    computed_at TEXT NOT NULL,
    PRIMARY KEY (week_day, mall_id)
) STRICT;

-- is_other marks the groups that were merged; their channel is ''. Without is_other, '' is "not stated".
CREATE TABLE weekly_signups_by_channel (
    week_day TEXT NOT NULL,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    channel TEXT NOT NULL,
    is_other INTEGER NOT NULL,
    signups INTEGER NOT NULL,
    active INTEGER,
    unconfirmed INTEGER,
    withdrawn INTEGER,
    PRIMARY KEY (week_day, mall_id, channel, is_other)
) STRICT;

-- ---------------------------------------------------------------- stats refresh

-- How many members, orders, products and carts were in which state when the snapshot was taken.
-- snapshot_day is the day on which it was taken, in the business time zone. A row that is reconstructed was made
-- later, from the instants that members keep, for the beginning of that day.
CREATE TABLE statistics_snapshots (
    snapshot_day TEXT NOT NULL,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    subject TEXT NOT NULL CHECK (subject IN ('MEMBER', 'ORDER', 'PRODUCT', 'CART')),
    status TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    is_reconstructed INTEGER NOT NULL,
    execution_id INTEGER NOT NULL,
    taken_at TEXT NOT NULL,
    PRIMARY KEY (snapshot_day, mall_id, subject, status)
) STRICT;
