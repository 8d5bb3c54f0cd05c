-- Which data has come, which figures it has overtaken, and what was told of them. The PostgreSQL file of the same name has
-- the same tables with the same columns in the same order.

-- ---------------------------------------------------------------- what has come

-- The business days of a mall of which a kind of data has come as a whole: by a file that was exported, or a
-- synchronisation that began, after the day was over. as_of is up to when the source knew. A mall that has a row here is
-- expected to have one for every day after its first; a mall whose orders an application writes by itself has none.
CREATE TABLE data_arrivals (
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    subject TEXT NOT NULL CHECK (subject IN ('ORDER', 'SALES', 'REFUND', 'MEMBER')),
    business_day TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('IMPORT', 'SYNC')),
    as_of TEXT NOT NULL,
    execution_id INTEGER NOT NULL,
    arrived_at TEXT NOT NULL,
    PRIMARY KEY (mall_id, subject, business_day)
) STRICT;

-- Figures of a day whose data has not come are provisional: what they wait for, and up to when that kind of data had come
-- (NULL: never). They are replaced once it has.
ALTER TABLE daily_sales ADD COLUMN awaited_subject TEXT;
ALTER TABLE daily_sales ADD COLUMN awaited_since TEXT;
ALTER TABLE daily_cancellations ADD COLUMN awaited_subject TEXT;
ALTER TABLE daily_cancellations ADD COLUMN awaited_since TEXT;
ALTER TABLE weekly_signups ADD COLUMN awaited_subject TEXT;
ALTER TABLE weekly_signups ADD COLUMN awaited_since TEXT;
