-- One trigger where there were two: each costs an import a program for each row, whatever its condition says. While all that a
-- transaction of batchctl inserts is new (the row with the number -1), it notes the hours itself, a chunk at a time. On
-- PostgreSQL the triggers run once for a statement, and nothing changes.
DROP TRIGGER orders_inserted;
DROP TRIGGER orders_inserted_cancelled;
CREATE TRIGGER orders_inserted AFTER INSERT ON orders
WHEN NOT EXISTS (SELECT 1 FROM sales_changes WHERE id = -1)
BEGIN
    INSERT INTO sales_change_times (mall_id, subject, changed_at)
    SELECT NEW.mall_id, CASE WHEN NEW.member_code IS NULL THEN 'ORDER' ELSE 'CUSTOMER' END, NEW.paid_at
    WHERE NEW.paid_at IS NOT NULL
    UNION ALL
    SELECT NEW.mall_id, 'CANCELLATION', NEW.cancelled_at WHERE NEW.cancelled_at IS NOT NULL;
END;
