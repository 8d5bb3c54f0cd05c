-- What people call a run's instance where its key means nothing to them: the file of an import, whose key is the hash of
-- its content. The file of the same name for the other database has the same columns in the same order.
ALTER TABLE batch_execution ADD COLUMN title TEXT;
