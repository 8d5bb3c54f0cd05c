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

-- Figures of a day whose data has not come are provisional: which kind of data they wait for, up to when that of the days
-- before had come (NULL: none has), of which day it is missing, and the run that has stored a part of it, if one has. They
-- are replaced once it has come.
ALTER TABLE daily_sales ADD COLUMN awaited_subject TEXT;
ALTER TABLE daily_sales ADD COLUMN awaited_since TEXT;
ALTER TABLE daily_sales ADD COLUMN awaited_day TEXT;
ALTER TABLE daily_sales ADD COLUMN awaited_run INTEGER;
ALTER TABLE daily_cancellations ADD COLUMN awaited_subject TEXT;
ALTER TABLE daily_cancellations ADD COLUMN awaited_since TEXT;
ALTER TABLE daily_cancellations ADD COLUMN awaited_day TEXT;
ALTER TABLE daily_cancellations ADD COLUMN awaited_run INTEGER;
ALTER TABLE weekly_signups ADD COLUMN awaited_subject TEXT;
ALTER TABLE weekly_signups ADD COLUMN awaited_since TEXT;
ALTER TABLE weekly_signups ADD COLUMN awaited_day TEXT;
ALTER TABLE weekly_signups ADD COLUMN awaited_run INTEGER;

-- ---------------------------------------------------------------- what has changed

-- In which hours (UTC) of a mall something changed that reports count, noted by triggers: whoever writes the tables, an
-- import, a synchronisation or an application, need not know of it. ORDER: what an order of that hour came to; CUSTOMER: the
-- same, of a member, which also decides who is a new customer later on; CANCELLATION, REFUND and MEMBER by the time
-- they happened. A report that computes figures turns them into stale_periods.
CREATE TABLE sales_changes (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL,
    subject TEXT NOT NULL,
    changed_hour TEXT NOT NULL
) STRICT;
CREATE INDEX sales_changes_hour ON sales_changes (mall_id, subject, changed_hour);

-- The figures that something was changed under: the report, the first day of the period, the mall. Gone once they are
-- computed again.
CREATE TABLE stale_periods (
    report TEXT NOT NULL,
    period_day TEXT NOT NULL,
    mall_id INTEGER NOT NULL,
    noted_at TEXT NOT NULL,
    PRIMARY KEY (report, period_day, mall_id)
) STRICT;

-- What changed before there were triggers is not known: the newest figures are computed once more. A day that does not exist
-- is not the newest.
INSERT INTO stale_periods (report, period_day, mall_id, noted_at)
SELECT 'daily-sales', business_day, mall_id, MAX(computed_at) FROM daily_sales
WHERE business_day BETWEEN (SELECT DATE(MAX(business_day), '-14 days') FROM daily_sales WHERE business_day = DATE(business_day, '+0 days'))
    AND (SELECT MAX(business_day) FROM daily_sales WHERE business_day = DATE(business_day, '+0 days'))
GROUP BY business_day, mall_id
UNION ALL
SELECT 'daily-cancellations', business_day, mall_id, MAX(computed_at) FROM daily_cancellations
WHERE business_day BETWEEN (SELECT DATE(MAX(business_day), '-14 days') FROM daily_cancellations WHERE business_day = DATE(business_day, '+0 days'))
    AND (SELECT MAX(business_day) FROM daily_cancellations WHERE business_day = DATE(business_day, '+0 days'))
GROUP BY business_day, mall_id
UNION ALL
SELECT 'weekly-signups', week_day, mall_id, MAX(computed_at) FROM weekly_signups
WHERE week_day BETWEEN (SELECT DATE(MAX(week_day), '-14 days') FROM weekly_signups WHERE week_day = DATE(week_day, '+0 days'))
    AND (SELECT MAX(week_day) FROM weekly_signups WHERE week_day = DATE(week_day, '+0 days'))
GROUP BY week_day, mall_id;

-- A time that is none belongs to no hour: its row is found by orders_misdated. No trigger has a conflict that the statement
-- of an application could resolve in its own way.

-- An import inserts millions of orders of few hours: whether an hour is noted is asked before the trigger's body is entered,
-- which is a third of the cost.
CREATE TRIGGER orders_inserted AFTER INSERT ON orders
WHEN NEW.paid_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM sales_changes
                    WHERE mall_id = NEW.mall_id AND subject = CASE WHEN NEW.member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END
                      AND changed_hour = SUBSTR(NEW.paid_at, 1, 14) || '00:00+00:00')
BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT NEW.mall_id, CASE WHEN NEW.member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END,
           SUBSTR(NEW.paid_at, 1, 14) || '00:00+00:00'
    WHERE NEW.paid_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*';
END;
CREATE TRIGGER orders_inserted_cancelled AFTER INSERT ON orders
WHEN NEW.cancelled_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM sales_changes
                    WHERE mall_id = NEW.mall_id AND subject = 'CANCELLATION' AND changed_hour = SUBSTR(NEW.cancelled_at, 1, 14) || '00:00+00:00')
BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT NEW.mall_id, 'CANCELLATION', SUBSTR(NEW.cancelled_at, 1, 14) || '00:00+00:00'
    WHERE NEW.cancelled_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*';
END;
CREATE TRIGGER orders_deleted AFTER DELETE ON orders WHEN OLD.paid_at IS NOT NULL OR OLD.cancelled_at IS NOT NULL BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT OLD.mall_id, CASE WHEN OLD.member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END, SUBSTR(OLD.paid_at, 1, 13) || ':00:00+00:00'
    WHERE OLD.paid_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = OLD.mall_id AND subject = CASE WHEN OLD.member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END
                        AND changed_hour = SUBSTR(OLD.paid_at, 1, 13) || ':00:00+00:00');
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT OLD.mall_id, 'CANCELLATION', SUBSTR(OLD.cancelled_at, 1, 13) || ':00:00+00:00'
    WHERE OLD.cancelled_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = OLD.mall_id AND subject = 'CANCELLATION'
                        AND changed_hour = SUBSTR(OLD.cancelled_at, 1, 13) || ':00:00+00:00');
END;
-- A row whose updated_at alone was set was touched on purpose: something that belongs to it has changed.
CREATE TRIGGER orders_updated AFTER UPDATE ON orders
WHEN OLD.mall_id IS NOT NEW.mall_id
    OR OLD.paid_at IS NOT NEW.paid_at
    OR OLD.cancelled_at IS NOT NEW.cancelled_at
    OR OLD.member_code IS NOT NEW.member_code
    OR OLD.currency IS NOT NEW.currency
    OR OLD.total_amount IS NOT NEW.total_amount
    OR OLD.discount_amount IS NOT NEW.discount_amount
    OR OLD.shipping_amount IS NOT NEW.shipping_amount
    OR OLD.tax_amount IS NOT NEW.tax_amount
    OR OLD.payment_method IS NOT NEW.payment_method
    OR OLD.cancel_reason IS NOT NEW.cancel_reason
    OR (OLD.updated_at <> NEW.updated_at AND OLD.status = NEW.status
        AND OLD.source_updated_at IS NEW.source_updated_at)
BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT OLD.mall_id, CASE WHEN COALESCE(OLD.member_code, NEW.member_code) IS NOT NULL
                AND (OLD.mall_id IS NOT NEW.mall_id OR OLD.paid_at IS NOT NEW.paid_at OR OLD.member_code IS NOT NEW.member_code)
           THEN 'CUSTOMER' ELSE 'ORDER' END, SUBSTR(OLD.paid_at, 1, 13) || ':00:00+00:00'
    WHERE OLD.paid_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = OLD.mall_id AND subject = CASE WHEN COALESCE(OLD.member_code, NEW.member_code) IS NOT NULL
                AND (OLD.mall_id IS NOT NEW.mall_id OR OLD.paid_at IS NOT NEW.paid_at OR OLD.member_code IS NOT NEW.member_code)
           THEN 'CUSTOMER' ELSE 'ORDER' END
                        AND changed_hour = SUBSTR(OLD.paid_at, 1, 13) || ':00:00+00:00');
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT NEW.mall_id, CASE WHEN COALESCE(OLD.member_code, NEW.member_code) IS NOT NULL
                AND (OLD.mall_id IS NOT NEW.mall_id OR OLD.paid_at IS NOT NEW.paid_at OR OLD.member_code IS NOT NEW.member_code)
           THEN 'CUSTOMER' ELSE 'ORDER' END, SUBSTR(NEW.paid_at, 1, 13) || ':00:00+00:00'
    WHERE NEW.paid_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = NEW.mall_id AND subject = CASE WHEN COALESCE(OLD.member_code, NEW.member_code) IS NOT NULL
                AND (OLD.mall_id IS NOT NEW.mall_id OR OLD.paid_at IS NOT NEW.paid_at OR OLD.member_code IS NOT NEW.member_code)
           THEN 'CUSTOMER' ELSE 'ORDER' END
                        AND changed_hour = SUBSTR(NEW.paid_at, 1, 13) || ':00:00+00:00');
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT OLD.mall_id, 'CANCELLATION', SUBSTR(OLD.cancelled_at, 1, 13) || ':00:00+00:00'
    WHERE OLD.cancelled_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = OLD.mall_id AND subject = 'CANCELLATION'
                        AND changed_hour = SUBSTR(OLD.cancelled_at, 1, 13) || ':00:00+00:00');
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT NEW.mall_id, 'CANCELLATION', SUBSTR(NEW.cancelled_at, 1, 13) || ':00:00+00:00'
    WHERE NEW.cancelled_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = NEW.mall_id AND subject = 'CANCELLATION'
                        AND changed_hour = SUBSTR(NEW.cancelled_at, 1, 13) || ':00:00+00:00');
END;
CREATE TRIGGER order_items_deleted AFTER DELETE ON order_items BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT o.mall_id, 'ORDER', SUBSTR(o.paid_at, 1, 13) || ':00:00+00:00' FROM orders o
    WHERE o.id = OLD.order_id AND o.paid_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes c
                      WHERE c.mall_id = o.mall_id AND c.subject = 'ORDER'
                        AND c.changed_hour = SUBSTR(o.paid_at, 1, 13) || ':00:00+00:00');
END;
CREATE TRIGGER order_items_updated AFTER UPDATE ON order_items BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT o.mall_id, 'ORDER', SUBSTR(o.paid_at, 1, 13) || ':00:00+00:00' FROM orders o
    WHERE o.id = NEW.order_id AND o.paid_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes c
                      WHERE c.mall_id = o.mall_id AND c.subject = 'ORDER'
                        AND c.changed_hour = SUBSTR(o.paid_at, 1, 13) || ':00:00+00:00');
END;
CREATE TRIGGER refunds_inserted AFTER INSERT ON refunds BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT NEW.mall_id, 'REFUND', SUBSTR(NEW.refunded_at, 1, 13) || ':00:00+00:00'
    WHERE NEW.refunded_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = NEW.mall_id AND subject = 'REFUND'
                        AND changed_hour = SUBSTR(NEW.refunded_at, 1, 13) || ':00:00+00:00');
END;
CREATE TRIGGER refunds_deleted AFTER DELETE ON refunds BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT OLD.mall_id, 'REFUND', SUBSTR(OLD.refunded_at, 1, 13) || ':00:00+00:00'
    WHERE OLD.refunded_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = OLD.mall_id AND subject = 'REFUND'
                        AND changed_hour = SUBSTR(OLD.refunded_at, 1, 13) || ':00:00+00:00');
END;
CREATE TRIGGER refunds_updated AFTER UPDATE ON refunds
WHEN OLD.mall_id IS NOT NEW.mall_id
    OR OLD.refunded_at IS NOT NEW.refunded_at
    OR OLD.currency IS NOT NEW.currency
    OR OLD.amount IS NOT NEW.amount
    OR OLD.product_code IS NOT NEW.product_code
BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT OLD.mall_id, 'REFUND', SUBSTR(OLD.refunded_at, 1, 13) || ':00:00+00:00'
    WHERE OLD.refunded_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = OLD.mall_id AND subject = 'REFUND'
                        AND changed_hour = SUBSTR(OLD.refunded_at, 1, 13) || ':00:00+00:00');
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT NEW.mall_id, 'REFUND', SUBSTR(NEW.refunded_at, 1, 13) || ':00:00+00:00'
    WHERE NEW.refunded_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = NEW.mall_id AND subject = 'REFUND'
                        AND changed_hour = SUBSTR(NEW.refunded_at, 1, 13) || ':00:00+00:00');
END;
-- Members are counted by the status that they have when the week is over: a member who leaves later changes nothing.
CREATE TRIGGER members_inserted AFTER INSERT ON members BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    SELECT NEW.mall_id, 'MEMBER', SUBSTR(NEW.signed_up_at, 1, 13) || ':00:00+00:00'
    WHERE NEW.signed_up_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
      AND NOT EXISTS (SELECT 1 FROM sales_changes
                      WHERE mall_id = NEW.mall_id AND subject = 'MEMBER'
                        AND changed_hour = SUBSTR(NEW.signed_up_at, 1, 13) || ':00:00+00:00');
END;

-- ---------------------------------------------------------------- what was said, and what is true now

-- An interface for finance: each figure that was reported and has another value now. currency is NULL for a figure that is
-- no money and belongs to none; a figure that was or is not there is NULL. why: DATA_ARRIVED (it was provisional, and its data has come),
-- DATA_CHANGED (rows were written since), RERUN (somebody asked).
CREATE TABLE report_restatements (
    id INTEGER PRIMARY KEY,
    report TEXT NOT NULL,
    mall_id INTEGER NOT NULL,
    business_day TEXT NOT NULL,
    currency TEXT,
    figure TEXT NOT NULL,
    value_before INTEGER,
    value_after INTEGER,
    why TEXT NOT NULL CHECK (why IN ('DATA_ARRIVED', 'DATA_CHANGED', 'RERUN')),
    execution_id INTEGER NOT NULL,
    restated_at TEXT NOT NULL
) STRICT;
CREATE INDEX report_restatements_day ON report_restatements (report, business_day, mall_id);

-- What was mailed to whom about which period, last: the fingerprint and the figures of the mail, to say later what has
-- changed. digest is NULL where the mail is held back until the figures are final. malls and formats are lists in their
-- order; version counts the mails; revision is that of the figures (report_revisions) that the recipient knows of.
CREATE TABLE report_mailings (
    report TEXT NOT NULL,
    period_day TEXT NOT NULL,
    recipient TEXT NOT NULL,
    malls TEXT NOT NULL,
    formats TEXT NOT NULL,
    locale TEXT NOT NULL,
    subject TEXT,
    digest TEXT,
    is_provisional INTEGER NOT NULL,
    figures TEXT NOT NULL,
    version INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    mailed_at TEXT NOT NULL,
    PRIMARY KEY (report, period_day, recipient, malls, formats, locale)
) STRICT;

-- How often the figures of a report's period have been replaced: raised in the transaction that replaces them. A recipient
-- whose mail is of an earlier revision has to be told of this one.
CREATE TABLE report_revisions (
    report TEXT NOT NULL,
    period_day TEXT NOT NULL,
    revision INTEGER NOT NULL,
    revised_at TEXT NOT NULL,
    PRIMARY KEY (report, period_day)
) STRICT;
