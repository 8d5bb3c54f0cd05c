-- Figures that a later attempt failed to replace stay, and say so: since when. NULL: they are those of the last attempt. The
-- PostgreSQL file of the same name has the same columns in the same order.
ALTER TABLE daily_sales ADD COLUMN outdated_at TEXT;
ALTER TABLE daily_cancellations ADD COLUMN outdated_at TEXT;
ALTER TABLE weekly_signups ADD COLUMN outdated_at TEXT;
