-- The index of the events that wait, by aggregate, in other words than that of all that wait: a planner that knows nothing of
-- the table takes either for the other if both fit a statement. The SQLite file of the same name is the same.
DROP INDEX outbox_events_of_aggregate;
CREATE INDEX outbox_events_of_aggregate ON outbox_events (aggregate_type, aggregate_id, id)
    WHERE COALESCE(published_at, dead_at) IS NULL;
