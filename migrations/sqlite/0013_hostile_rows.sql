-- What keeps rows that others wrote from doing harm. The PostgreSQL file of the same name has the same columns.
--
-- Proves that a stored command line is batchctl's own: a retry reads and writes the files that it names.
ALTER TABLE batch_execution ADD COLUMN command_seal TEXT;

-- PostgreSQL's file also keeps `infinity` out of every time. Here a time is a text, and the CHECKs of a table cannot be
-- changed; a value that cannot be read is an error that names its row.
