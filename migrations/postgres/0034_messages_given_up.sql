-- Messages that are given up, because their channel is not configured any more. The SQLite file of the same name has the same
-- tables with the same columns in the same order.

ALTER TABLE channel_messages ADD COLUMN given_up_at TIMESTAMPTZ
    CONSTRAINT channel_messages_given_up_at_is_in_calendar
    CHECK (given_up_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z');
DROP INDEX channel_messages_open;
CREATE INDEX channel_messages_open ON channel_messages (next_attempt_at) WHERE delivered_at IS NULL AND given_up_at IS NULL;

ALTER TABLE batch_alert ADD COLUMN given_up_at TIMESTAMPTZ
    CONSTRAINT batch_alert_given_up_at_is_in_calendar
    CHECK (given_up_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z');
DROP INDEX batch_alert_open;
CREATE INDEX batch_alert_open ON batch_alert (next_attempt_at) WHERE delivered_at IS NULL AND given_up_at IS NULL;
