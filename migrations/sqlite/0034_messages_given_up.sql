-- Messages that are given up, because their channel is not configured any more. The PostgreSQL file of the same name has the same
-- tables with the same columns in the same order.

ALTER TABLE channel_messages ADD COLUMN given_up_at TEXT CHECK (
    given_up_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(given_up_at, 1, 10) IS DATE(given_up_at, '+0 days'));
DROP INDEX channel_messages_open;
CREATE INDEX channel_messages_open ON channel_messages (next_attempt_at) WHERE delivered_at IS NULL AND given_up_at IS NULL;

ALTER TABLE batch_alert ADD COLUMN given_up_at TEXT CHECK (
    given_up_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(given_up_at, 1, 10) IS DATE(given_up_at, '+0 days'));
DROP INDEX batch_alert_open;
CREATE INDEX batch_alert_open ON batch_alert (next_attempt_at) WHERE delivered_at IS NULL AND given_up_at IS NULL;
