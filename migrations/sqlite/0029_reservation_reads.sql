-- Reservations in Redis without an order that `stock reconcile` has read, by the fingerprints of their keys: when somebody
-- else had last touched them, and when they were read, both by Redis's clock. Reading makes Redis forget the first.
CREATE TABLE stock_reservation_reads (
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    key_digest TEXT NOT NULL,
    touched_at TEXT NOT NULL CHECK (
        touched_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(touched_at, 1, 10) IS DATE(touched_at, '+0 days')),
    read_at TEXT NOT NULL CHECK (
        read_at GLOB '????-??-??T??:??:??*+00:00' AND SUBSTR(read_at, 1, 10) IS DATE(read_at, '+0 days')),
    PRIMARY KEY (mall_id, key_digest)
) STRICT;
