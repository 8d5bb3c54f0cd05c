-- What keeps rows that others wrote from doing harm. The SQLite file of the same name has the same columns.
--
-- Proves that a stored command line is batchctl's own: a retry reads and writes the files that it names.
ALTER TABLE batch_execution ADD COLUMN command_seal TEXT;

-- Times and days that are in a calendar: PostgreSQL also has `infinity`, and years of six digits, with which nothing
-- can be computed. A row that has one already keeps its place at the end of the calendar.
--
-- Each column's rule has a name of its own, which an INSERT that breaks it is told.
DO $$
DECLARE
    rule RECORD;
BEGIN
    FOR rule IN
        SELECT columns.table_name,
               string_agg(
                   format('%1$I = LEAST(GREATEST(%1$I, %2$L), %3$L)', column_name, earliest, latest), ', '
               ) AS moved,
               string_agg(format('%I NOT BETWEEN %L AND %L', column_name, earliest, latest), ' OR ') AS is_outside,
               string_agg(
                   format('ADD CONSTRAINT %I CHECK (%I BETWEEN %L AND %L)',
                          columns.table_name || '_' || column_name || '_is_in_calendar', column_name, earliest, latest),
                   ', '
               ) AS checks
        FROM information_schema.columns
        JOIN (VALUES ('date', '0001-01-01', '9999-12-31'),
                     ('timestamp with time zone', '0001-01-01T00:00:00Z', '9999-12-31T23:59:59.999999Z'))
             AS calendar (data_type, earliest, latest) ON calendar.data_type = columns.data_type
        WHERE table_schema = current_schema()
          AND columns.table_name IN (
              'api_blocks', 'api_tokens', 'article_deliveries', 'articles', 'batch_alert', 'batch_environment',
              'batch_error_log', 'batch_execution', 'batch_incident', 'batch_lease', 'batch_retry_request',
              'cart_items', 'cart_reminders', 'carts', 'coupons', 'daily_cancellations',
              'daily_cancellations_by_reason', 'daily_sales', 'daily_sales_breakdown', 'mail_attachments',
              'mail_bounce_counts', 'mail_consents', 'mail_pace', 'mail_suppressions', 'mail_tries', 'mails', 'malls',
              'members', 'order_items', 'orders', 'payment_notices', 'payments', 'products', 'refunds', 'statistics_snapshots', 'stock',
              'subscriptions', 'weekly_signups', 'weekly_signups_by_channel'
          )
        GROUP BY columns.table_name
        ORDER BY columns.table_name
    LOOP
        EXECUTE format('UPDATE %I SET %s WHERE %s', rule.table_name, rule.moved, rule.is_outside);
        EXECUTE format('ALTER TABLE %I %s', rule.table_name, rule.checks);
    END LOOP;
END
$$;
