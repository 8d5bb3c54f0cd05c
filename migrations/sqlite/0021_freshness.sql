-- Which data has come, which figures are stale because of it, and what was told of them. The PostgreSQL file of the same name has
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
-- import, a synchronisation or an application, need not know of it. ORDER: what an order that was paid in that hour came to;
-- CUSTOMER: the same, of a member, which also decides who is a new customer later on; CANCELLATION, REFUND and MEMBER by the
-- time they happened. A report that computes figures, and `runs purge`, turn them into stale_periods.
CREATE TABLE sales_changes (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL,
    subject TEXT NOT NULL CHECK (subject IN ('ORDER', 'CUSTOMER', 'CANCELLATION', 'REFUND', 'MEMBER')),
    changed_hour TEXT NOT NULL
) STRICT;
CREATE INDEX sales_changes_hour ON sales_changes (mall_id, subject, changed_hour);

-- The stored figures whose data has changed since: the report, the first day of the period, the mall. Gone once they are
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

-- What the triggers write: a time, whose hour is noted once. An invalid time belongs to no hour; its row is found by
-- orders_misdated. Nothing here conflicts with anything, which the statement of an application (`INSERT OR REPLACE`) would
-- resolve in its own way.
CREATE VIEW sales_change_times AS SELECT mall_id, subject, changed_hour AS changed_at FROM sales_changes;
CREATE TRIGGER sales_change_times_noted INSTEAD OF INSERT ON sales_change_times
WHEN NEW.changed_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:*'
    AND NOT EXISTS (SELECT 1 FROM sales_changes
                    WHERE mall_id = NEW.mall_id AND subject = NEW.subject
                      AND changed_hour = SUBSTR(NEW.changed_at, 1, 14) || '00:00+00:00')
BEGIN
    INSERT INTO sales_changes (mall_id, subject, changed_hour)
    VALUES (NEW.mall_id, NEW.subject, SUBSTR(NEW.changed_at, 1, 14) || '00:00+00:00');
END;

-- A row with the number -1 is there while a transaction of batchctl inserts new orders with all their lines, millions of them
-- in an import: what it is asked of each line would cost a quarter of the import's time. Nobody else ever sees the row.

-- An import inserts millions of orders of few hours: whether an hour is noted is asked before the trigger's body is entered,
-- which is a third of the cost.
CREATE TRIGGER orders_inserted AFTER INSERT ON orders
WHEN NEW.paid_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM sales_changes
                    WHERE mall_id = NEW.mall_id AND subject = CASE WHEN NEW.member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END
                      AND changed_hour = SUBSTR(NEW.paid_at, 1, 14) || '00:00+00:00')
BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    VALUES (NEW.mall_id, CASE WHEN NEW.member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END, NEW.paid_at);
END;
CREATE TRIGGER orders_inserted_cancelled AFTER INSERT ON orders WHEN NEW.cancelled_at IS NOT NULL BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    VALUES (NEW.mall_id, 'CANCELLATION', NEW.cancelled_at);
END;
-- A row that INSERT OR REPLACE replaces is deleted without a trigger. What differs is noted here; a statement that conflicts
-- and updates the row, or does nothing, notes too much at worst.
CREATE TRIGGER orders_replaced BEFORE INSERT ON orders
WHEN NOT EXISTS (SELECT 1 FROM sales_changes WHERE id = -1)
    AND (EXISTS (SELECT 1 FROM orders o WHERE o.mall_id = NEW.mall_id AND o.order_no = NEW.order_no)
         OR EXISTS (SELECT 1 FROM orders o WHERE o.id = NEW.id))
BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    WITH replaced AS (
        SELECT o.*,
               (o.mall_id, o.paid_at, o.cancelled_at, o.member_code, o.currency, o.total_amount, o.discount_amount,
                o.shipping_amount, o.tax_amount, o.payment_method, o.cancel_reason)
               IS NOT
               (NEW.mall_id, NEW.paid_at, NEW.cancelled_at, NEW.member_code, NEW.currency, NEW.total_amount,
                NEW.discount_amount, NEW.shipping_amount, NEW.tax_amount, NEW.payment_method, NEW.cancel_reason) AS differs,
               (o.id, o.payment_method) IS NOT (NEW.id, NEW.payment_method) AS loses_refunds
        FROM orders o WHERE (o.mall_id = NEW.mall_id AND o.order_no = NEW.order_no) OR o.id = NEW.id
    )
    SELECT mall_id, CASE WHEN member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END, paid_at FROM replaced WHERE differs
    UNION ALL
    SELECT mall_id, 'CANCELLATION', cancelled_at FROM replaced WHERE differs
    UNION ALL
    SELECT r.mall_id, 'REFUND', r.refunded_at FROM replaced JOIN refunds r ON r.order_id = replaced.id
    WHERE loses_refunds;
END;
-- The refunds of an order are deleted with it, unless a program has switched foreign keys off.
CREATE TRIGGER orders_deleted AFTER DELETE ON orders BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    SELECT OLD.mall_id, CASE WHEN OLD.member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END, OLD.paid_at
    UNION ALL
    SELECT OLD.mall_id, 'CANCELLATION', OLD.cancelled_at
    UNION ALL
    SELECT mall_id, 'REFUND', refunded_at FROM refunds WHERE order_id = OLD.id;
END;
-- Refunds are counted by the payment method of their order. A row whose updated_at alone was set was touched on purpose:
-- something that belongs to it has changed.
CREATE TRIGGER orders_updated AFTER UPDATE ON orders
WHEN (OLD.id, OLD.mall_id, OLD.paid_at, OLD.cancelled_at, OLD.member_code, OLD.currency, OLD.total_amount,
      OLD.discount_amount, OLD.shipping_amount, OLD.tax_amount, OLD.payment_method, OLD.cancel_reason)
     IS NOT
     (NEW.id, NEW.mall_id, NEW.paid_at, NEW.cancelled_at, NEW.member_code, NEW.currency, NEW.total_amount,
      NEW.discount_amount, NEW.shipping_amount, NEW.tax_amount, NEW.payment_method, NEW.cancel_reason)
    OR (OLD.updated_at <> NEW.updated_at AND OLD.status = NEW.status
        AND OLD.source_updated_at IS NEW.source_updated_at)
BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    SELECT paid.mall_id,
           CASE WHEN COALESCE(OLD.member_code, NEW.member_code) IS NOT NULL
                 AND (OLD.mall_id, OLD.paid_at, OLD.member_code) IS NOT (NEW.mall_id, NEW.paid_at, NEW.member_code)
                THEN 'CUSTOMER' ELSE 'ORDER' END,
           paid.changed_at
    FROM (SELECT OLD.mall_id AS mall_id, OLD.paid_at AS changed_at
          UNION ALL SELECT NEW.mall_id, NEW.paid_at) AS paid
    UNION ALL
    SELECT OLD.mall_id, 'CANCELLATION', OLD.cancelled_at
    UNION ALL
    SELECT NEW.mall_id, 'CANCELLATION', NEW.cancelled_at
    UNION ALL
    SELECT mall_id, 'REFUND', refunded_at FROM refunds
    WHERE order_id IN (OLD.id, NEW.id) AND (OLD.id, OLD.payment_method) IS NOT (NEW.id, NEW.payment_method);
END;

-- Lines are counted when their order was paid and cancelled, and name the products of its refunds. Those of an order that
-- was just inserted have nothing to add to what it has noted, which is asked first.
CREATE TRIGGER order_items_inserted AFTER INSERT ON order_items
WHEN NOT EXISTS (SELECT 1 FROM sales_changes WHERE id = -1)
    AND EXISTS (SELECT 1 FROM orders o
             WHERE o.id = NEW.order_id
               AND (o.cancelled_at IS NOT NULL
                    OR (o.paid_at IS NOT NULL
                        AND NOT EXISTS (SELECT 1 FROM sales_changes c
                                        WHERE c.mall_id = o.mall_id
                                          AND c.subject = CASE WHEN o.member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END
                                          AND c.changed_hour = SUBSTR(o.paid_at, 1, 14) || '00:00+00:00'))))
BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    SELECT mall_id, 'ORDER', paid_at FROM orders WHERE id = NEW.order_id
    UNION ALL
    SELECT mall_id, 'CANCELLATION', cancelled_at FROM orders WHERE id = NEW.order_id
    UNION ALL
    SELECT mall_id, 'REFUND', refunded_at FROM refunds WHERE order_id = NEW.order_id;
END;
CREATE TRIGGER order_items_deleted AFTER DELETE ON order_items BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    SELECT mall_id, 'ORDER', paid_at FROM orders WHERE id = OLD.order_id
    UNION ALL
    SELECT mall_id, 'CANCELLATION', cancelled_at FROM orders WHERE id = OLD.order_id
    UNION ALL
    SELECT mall_id, 'REFUND', refunded_at FROM refunds WHERE order_id = OLD.order_id;
END;
CREATE TRIGGER order_items_updated AFTER UPDATE ON order_items
WHEN (OLD.order_id, OLD.product_code, OLD.product_name, OLD.quantity, OLD.line_amount, OLD.discount_amount, OLD.tax_amount)
     IS NOT
     (NEW.order_id, NEW.product_code, NEW.product_name, NEW.quantity, NEW.line_amount, NEW.discount_amount, NEW.tax_amount)
BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    SELECT mall_id, 'ORDER', paid_at FROM orders WHERE id IN (OLD.order_id, NEW.order_id)
    UNION ALL
    SELECT mall_id, 'CANCELLATION', cancelled_at FROM orders WHERE id IN (OLD.order_id, NEW.order_id)
    UNION ALL
    SELECT mall_id, 'REFUND', refunded_at FROM refunds WHERE order_id IN (OLD.order_id, NEW.order_id);
END;

CREATE TRIGGER refunds_inserted AFTER INSERT ON refunds BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at) VALUES (NEW.mall_id, 'REFUND', NEW.refunded_at);
END;
CREATE TRIGGER refunds_replaced BEFORE INSERT ON refunds
WHEN EXISTS (SELECT 1 FROM refunds r WHERE r.order_id = NEW.order_id AND r.refund_key = NEW.refund_key)
    OR EXISTS (SELECT 1 FROM refunds r WHERE r.id = NEW.id)
BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    SELECT r.mall_id, 'REFUND', r.refunded_at FROM refunds r
    WHERE ((r.order_id = NEW.order_id AND r.refund_key = NEW.refund_key) OR r.id = NEW.id)
      AND (r.mall_id, r.order_id, r.refunded_at, r.currency, r.amount, r.product_code)
          IS NOT (NEW.mall_id, NEW.order_id, NEW.refunded_at, NEW.currency, NEW.amount, NEW.product_code);
END;
CREATE TRIGGER refunds_deleted AFTER DELETE ON refunds BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at) VALUES (OLD.mall_id, 'REFUND', OLD.refunded_at);
END;
CREATE TRIGGER refunds_updated AFTER UPDATE ON refunds
WHEN (OLD.mall_id, OLD.order_id, OLD.refunded_at, OLD.currency, OLD.amount, OLD.product_code)
     IS NOT (NEW.mall_id, NEW.order_id, NEW.refunded_at, NEW.currency, NEW.amount, NEW.product_code)
BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    VALUES (OLD.mall_id, 'REFUND', OLD.refunded_at), (NEW.mall_id, 'REFUND', NEW.refunded_at);
END;

CREATE TRIGGER members_inserted AFTER INSERT ON members BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at) VALUES (NEW.mall_id, 'MEMBER', NEW.signed_up_at);
END;
CREATE TRIGGER members_replaced BEFORE INSERT ON members
WHEN EXISTS (SELECT 1 FROM members m WHERE m.mall_id = NEW.mall_id AND m.member_code = NEW.member_code)
    OR EXISTS (SELECT 1 FROM members m WHERE m.id = NEW.id)
BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    SELECT m.mall_id, 'MEMBER', m.signed_up_at FROM members m
    WHERE ((m.mall_id = NEW.mall_id AND m.member_code = NEW.member_code) OR m.id = NEW.id)
      AND (m.mall_id, m.signed_up_at, m.channel) IS NOT (NEW.mall_id, NEW.signed_up_at, NEW.channel);
END;
CREATE TRIGGER members_deleted AFTER DELETE ON members BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at) VALUES (OLD.mall_id, 'MEMBER', OLD.signed_up_at);
END;
-- Not their status, nor that they asked to be forgotten: a week is counted with what was known when it was over, and must not
-- be reported once more for each member who leaves.
CREATE TRIGGER members_updated AFTER UPDATE ON members
WHEN (OLD.mall_id, OLD.signed_up_at, OLD.channel) IS NOT (NEW.mall_id, NEW.signed_up_at, NEW.channel)
BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    VALUES (OLD.mall_id, 'MEMBER', OLD.signed_up_at), (NEW.mall_id, 'MEMBER', NEW.signed_up_at);
END;

-- ---------------------------------------------------------------- what was said, and what is true now

-- An interface for finance: each figure that was reported and has another value now. currency is NULL for a figure that is
-- not an amount; a figure that was or is not there is NULL. why: DATA_ARRIVED (it was provisional, and its data has
-- come), DATA_CHANGED (rows were written since), RERUN (somebody asked).
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
