-- Rows without a proper time cannot be here: the types, and the CHECKs of 0013, keep them out. A large text lies beside its
-- row, and is not read when the row changes. The SQLite file of the same name has indexes that find such rows.
SELECT 1;
