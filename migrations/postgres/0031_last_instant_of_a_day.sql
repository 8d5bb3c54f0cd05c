-- A time is a time here, and no text that is read as one. The SQLite file of the same name has indexes that find those that
-- are not.
SELECT 1;
