-- What a run said of its work at its end, a sentence a line: what is worth knowing although nothing failed, in a night that
-- nobody watches. The SQLite file of the same name has the same column.
ALTER TABLE batch_execution ADD COLUMN summary TEXT;
