-- The results of the reports beside daily sales. The SQLite file of the same name has the same tables with the
-- same columns in the same order. Every table is for a dashboard to read: a period is replaced in one transaction.

-- ---------------------------------------------------------------- report daily-cancellations

-- A row for each mall and currency; a day without cancellations is a row of zeros in the mall's own currency.
-- cancelled_amount is what the cancelled orders came to, paid or not.
CREATE TABLE daily_cancellations (
    business_day DATE NOT NULL,
    mall_id BIGINT NOT NULL REFERENCES malls (id),
    currency TEXT NOT NULL,
    cancelled_orders BIGINT NOT NULL,
    cancelled_amount BIGINT NOT NULL,
    execution_id BIGINT NOT NULL,
    computed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (business_day, mall_id, currency)
);

-- The same by reason, as the shop wrote it; 'unspecified' where it wrote none. Adds up to the row above.
CREATE TABLE daily_cancellations_by_reason (
    business_day DATE NOT NULL,
    mall_id BIGINT NOT NULL REFERENCES malls (id),
    currency TEXT NOT NULL,
    reason TEXT NOT NULL,
    cancelled_orders BIGINT NOT NULL,
    cancelled_amount BIGINT NOT NULL,
    PRIMARY KEY (business_day, mall_id, currency, reason)
);

-- ---------------------------------------------------------------- report weekly-signups

-- Counts only, and no count from 1 to min_cell - 1: a NULL is withheld (docs/weekly-signups.md).
-- week_day is the week's Monday.
CREATE TABLE weekly_signups (
    week_day DATE NOT NULL,
    mall_id BIGINT NOT NULL REFERENCES malls (id),
    min_cell BIGINT NOT NULL,
    signups BIGINT,
    active BIGINT,
    unconfirmed BIGINT,
    withdrawn BIGINT,
    execution_id BIGINT NOT NULL,
    computed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (week_day, mall_id)
);

-- is_other marks the groups that were merged; their channel is ''. Without is_other, '' is "not stated".
CREATE TABLE weekly_signups_by_channel (
    week_day DATE NOT NULL,
    mall_id BIGINT NOT NULL REFERENCES malls (id),
    channel TEXT NOT NULL,
    is_other BOOLEAN NOT NULL,
    signups BIGINT NOT NULL,
    active BIGINT,
    unconfirmed BIGINT,
    withdrawn BIGINT,
    PRIMARY KEY (week_day, mall_id, channel, is_other)
);

-- ---------------------------------------------------------------- stats refresh

-- How many members, orders, products and carts were in which state when the snapshot was taken.
-- snapshot_day is the day on which it was taken, in the business time zone. A row that is reconstructed was made
-- later, from the instants that members keep, for the beginning of that day.
CREATE TABLE statistics_snapshots (
    snapshot_day DATE NOT NULL,
    mall_id BIGINT NOT NULL REFERENCES malls (id),
    subject TEXT NOT NULL CHECK (subject IN ('MEMBER', 'ORDER', 'PRODUCT', 'CART')),
    status TEXT NOT NULL,
    quantity BIGINT NOT NULL,
    is_reconstructed BOOLEAN NOT NULL,
    execution_id BIGINT NOT NULL,
    taken_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (snapshot_day, mall_id, subject, status)
);
