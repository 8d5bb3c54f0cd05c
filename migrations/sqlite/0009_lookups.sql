-- Lookups of a few rows among very many. The PostgreSQL file of the same name has the same indexes, but
-- for the last two.
-- They begin with what is looked up, not with its mall: of two indexes that begin with the mall, a planner without
-- statistics takes either, and one of them leads through all of the mall's rows.

-- A member's other carts, for `cart remind`.
DROP INDEX carts_member;
CREATE INDEX carts_member ON carts (member_code) WHERE ordered_at IS NULL AND member_code IS NOT NULL;
-- A member's orders that wait for their payment.
CREATE INDEX orders_waiting_member ON orders (member_code) WHERE status = 'PAYMENT_WAIT' AND member_code IS NOT NULL;
-- Items that an earlier run gave up on. Of the open ones alone, PostgreSQL would read all of them for each run whose
-- errors are resolved.
CREATE INDEX batch_error_log_item ON batch_error_log (item_key);

-- Where a page of charges or carts begins: the position of the last one, of which many may have the same day. SQLite adds
-- a row's number to each index by itself, and seeks by it only then.
DROP INDEX subscriptions_charge;
CREATE INDEX subscriptions_charge ON subscriptions (mall_id, next_charge_day)
    WHERE status = 'ACTIVE' AND next_charge_day IS NOT NULL;
DROP INDEX carts_open;
CREATE INDEX carts_open ON carts (mall_id, last_activity_at) WHERE ordered_at IS NULL AND member_code IS NOT NULL;
