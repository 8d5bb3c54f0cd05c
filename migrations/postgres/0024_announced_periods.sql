-- When somebody was told that these figures are stale and lie too far back to be computed by themselves; NULL if nobody was.
ALTER TABLE stale_periods ADD COLUMN announced_at TIMESTAMPTZ;
ALTER TABLE stale_periods ADD CONSTRAINT stale_periods_announced_at_is_in_calendar
    CHECK (announced_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59.999999Z');
