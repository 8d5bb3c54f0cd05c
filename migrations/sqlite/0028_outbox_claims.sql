-- Who publishes which event, apart from the events: a claim writes a row of its own and not the event's again, so that an
-- event is written twice in its life, when it happens and when it is published. The PostgreSQL file of the same name has the
-- same tables with the same columns in the same order.

-- run_id is the run of `events publish` that holds the event; what a dead one holds is free.
CREATE TABLE outbox_claims (
    outbox_id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL
) STRICT;
INSERT INTO outbox_claims (outbox_id, run_id)
SELECT id, claimed_by FROM outbox_events WHERE claimed_by IS NOT NULL AND published_at IS NULL AND dead_at IS NULL;
DROP INDEX outbox_events_blocking;
ALTER TABLE outbox_events DROP COLUMN claimed_by;
-- Any event that waits holds up those of its aggregate behind it, whether anybody has looked at it yet or not.
CREATE INDEX outbox_events_of_aggregate ON outbox_events (aggregate_type, aggregate_id, id)
    WHERE published_at IS NULL AND dead_at IS NULL;
