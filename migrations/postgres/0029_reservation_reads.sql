-- Reservations in Redis without an order that `stock reconcile` has read, by the fingerprints of their keys: when somebody
-- else had last touched them, and when they were read, both by Redis's clock. Reading makes Redis forget the first.
CREATE TABLE stock_reservation_reads (
    mall_id BIGINT NOT NULL REFERENCES malls (id),
    key_digest TEXT NOT NULL,
    touched_at TIMESTAMPTZ NOT NULL
        CONSTRAINT stock_reservation_reads_touched_at_is_in_calendar
        CHECK (touched_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z'),
    read_at TIMESTAMPTZ NOT NULL
        CONSTRAINT stock_reservation_reads_read_at_is_in_calendar
        CHECK (read_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z'),
    PRIMARY KEY (mall_id, key_digest)
);
