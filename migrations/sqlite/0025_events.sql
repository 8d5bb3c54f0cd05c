-- Events that other systems are told of, written in the transaction that changes what they are about. The PostgreSQL file of
-- the same name has the same tables with the same columns in the same order.
-- `outbox_events` is an interface: any program may insert into it (docs/events.md says what and how).

-- id is the order in which the events of an aggregate are published; event_id is what consumers know an event by, and stays
-- the same however often it is sent. An event waits while published_at and dead_at are NULL: the events of its aggregate
-- behind it wait with it. claimed_by is the run of `events publish` that holds it, next_attempt_at when it is tried again.
CREATE TABLE outbox_events (
    -- SQLite counts on from the largest id, and would choose by chance after the largest of all.
    id INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 9007199254740991),
    event_id TEXT NOT NULL UNIQUE
        DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
                       || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))
        CHECK (length(event_id) = 36 AND event_id GLOB '????????-????-????-????-????????????'
               AND replace(event_id, '-', '') NOT GLOB '*[^0-9a-f]*' AND length(replace(event_id, '-', '')) = 32),
    aggregate_type TEXT NOT NULL
        CHECK (length(CAST(aggregate_type AS BLOB)) BETWEEN 1 AND 200 AND instr(aggregate_type, char(0)) = 0),
    aggregate_id TEXT NOT NULL
        CHECK (length(CAST(aggregate_id AS BLOB)) BETWEEN 1 AND 200 AND instr(aggregate_id, char(0)) = 0),
    event_type TEXT NOT NULL
        CHECK (length(CAST(event_type AS BLOB)) BETWEEN 1 AND 200 AND instr(event_type, char(0)) = 0),
    payload TEXT NOT NULL
        CHECK (length(CAST(payload AS BLOB)) <= 1048576 AND instr(payload, char(0)) = 0
               AND CASE WHEN json_valid(payload) THEN json_type(payload) = 'object' ELSE FALSE END),
    headers TEXT NOT NULL DEFAULT '{}'
        CHECK (length(CAST(headers AS BLOB)) <= 16384 AND instr(headers, char(0)) = 0
               AND CASE WHEN json_valid(headers) THEN json_type(headers) = 'object' ELSE FALSE END),
    occurred_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')) CHECK (
        substr(occurred_at, 1, 19) IS strftime('%Y-%m-%dT%H:%M:%S', substr(occurred_at, 1, 19)) AND substr(occurred_at, -6) = '+00:00'
        AND (length(occurred_at) = 25 OR (length(occurred_at) BETWEEN 27 AND 35 AND substr(occurred_at, 20, 1) = '.'
                                       AND substr(occurred_at, 21, length(occurred_at) - 26) NOT GLOB '*[^0-9]*'))),
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')) CHECK (
        substr(created_at, 1, 19) IS strftime('%Y-%m-%dT%H:%M:%S', substr(created_at, 1, 19)) AND substr(created_at, -6) = '+00:00'
        AND (length(created_at) = 25 OR (length(created_at) BETWEEN 27 AND 35 AND substr(created_at, 20, 1) = '.'
                                       AND substr(created_at, 21, length(created_at) - 26) NOT GLOB '*[^0-9]*'))),
    published_at TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT,
    last_error TEXT,
    dead_at TEXT,
    claimed_by INTEGER,
    CHECK (published_at IS NULL OR dead_at IS NULL)
) STRICT;
CREATE INDEX outbox_events_waiting ON outbox_events (id) WHERE published_at IS NULL AND dead_at IS NULL;
-- The few that hold up the others of their aggregate.
CREATE INDEX outbox_events_blocking ON outbox_events (aggregate_type, aggregate_id, id)
    WHERE published_at IS NULL AND dead_at IS NULL AND (claimed_by IS NOT NULL OR next_attempt_at IS NOT NULL);
-- What an operator looks for is rare among what was published.
CREATE INDEX outbox_events_dead ON outbox_events (id) WHERE dead_at IS NOT NULL;
