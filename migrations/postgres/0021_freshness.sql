-- Which data has come, which figures it has overtaken, and what was told of them. The SQLite file of the same name has the
-- same tables with the same columns in the same order.

-- ---------------------------------------------------------------- what has come

-- The business days of a mall of which a kind of data has come as a whole: by a file that was exported, or a
-- synchronisation that began, after the day was over. as_of is up to when the source knew. A mall that has a row here is
-- expected to have one for every day after its first; a mall whose orders an application writes by itself has none.
CREATE TABLE data_arrivals (
    mall_id BIGINT NOT NULL REFERENCES malls (id),
    subject TEXT NOT NULL CHECK (subject IN ('ORDER', 'SALES', 'REFUND', 'MEMBER')),
    business_day DATE NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('IMPORT', 'SYNC')),
    as_of TIMESTAMPTZ NOT NULL,
    execution_id BIGINT NOT NULL,
    arrived_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (mall_id, subject, business_day),
    CONSTRAINT data_arrivals_business_day_is_in_calendar CHECK (business_day BETWEEN '0001-01-01' AND '9999-12-31'),
    CONSTRAINT data_arrivals_as_of_is_in_calendar
        CHECK (as_of BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z'),
    CONSTRAINT data_arrivals_arrived_at_is_in_calendar
        CHECK (arrived_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z')
);

-- Figures of a day whose data has not come are provisional: what they wait for, and up to when that kind of data had come
-- (NULL: never). They are replaced once it has.
ALTER TABLE daily_sales ADD COLUMN awaited_subject TEXT;
ALTER TABLE daily_sales ADD COLUMN awaited_since TIMESTAMPTZ
    CONSTRAINT daily_sales_awaited_since_is_in_calendar
    CHECK (awaited_since BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z');
ALTER TABLE daily_cancellations ADD COLUMN awaited_subject TEXT;
ALTER TABLE daily_cancellations ADD COLUMN awaited_since TIMESTAMPTZ
    CONSTRAINT daily_cancellations_awaited_since_is_in_calendar
    CHECK (awaited_since BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z');
ALTER TABLE weekly_signups ADD COLUMN awaited_subject TEXT;
ALTER TABLE weekly_signups ADD COLUMN awaited_since TIMESTAMPTZ
    CONSTRAINT weekly_signups_awaited_since_is_in_calendar
    CHECK (awaited_since BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z');
