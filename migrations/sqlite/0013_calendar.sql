-- Times and days that are in a calendar: PostgreSQL's file of the same name keeps `infinity` out of its columns. Here a
-- time is a text, which no type keeps out, and a table's CHECKs cannot be changed; a row that cannot be read is an
-- error that names it.
SELECT 1;
