-- Which run made a failure good. What is neither settled nor dismissed is open: for a person, and for the incident. The
-- PostgreSQL file of the same name has the same columns in the same order.
ALTER TABLE batch_execution ADD COLUMN settled_by INTEGER;

-- Until now a failure counted as settled by the next success of its instance, and one without an instance by any.
UPDATE batch_execution SET settled_by = COALESCE(
    (SELECT MIN(retry.id) FROM batch_execution AS retry
     WHERE retry.retry_of = batch_execution.id AND retry.status = 'COMPLETED'),
    CASE WHEN instance_key = '' THEN
        (SELECT MIN(later.id) FROM batch_execution AS later
         WHERE later.job = batch_execution.job AND later.status = 'COMPLETED' AND later.id > batch_execution.id)
    ELSE
        (SELECT MIN(later.id) FROM batch_execution AS later
         WHERE later.job = batch_execution.job AND later.instance_key = batch_execution.instance_key
           AND later.id > batch_execution.id AND later.status = 'COMPLETED')
    END)
WHERE status IN ('FAILED', 'PARTIAL', 'TIMED_OUT', 'CRASHED', 'STOPPED', 'REFUSED');

-- Only what is open: a few rows, whatever the history's length.
CREATE INDEX batch_execution_unsettled ON batch_execution (job, id)
    WHERE settled_by IS NULL AND dismissed_at IS NULL
      AND status IN ('FAILED', 'PARTIAL', 'TIMED_OUT', 'CRASHED', 'STOPPED', 'REFUSED');
