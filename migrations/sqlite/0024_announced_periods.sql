-- When somebody was told that these figures are stale and lie too far back to be computed by themselves; NULL if nobody was.
ALTER TABLE stale_periods ADD COLUMN announced_at TEXT;
