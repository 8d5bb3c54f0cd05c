-- The shop's data and the runner's own tables. The PostgreSQL file of the same name has the same tables with the
-- same columns in the same order; a test holds the two together.
-- Money is in integer minor units beside its currency; instants (*_at) are UTC, days (*_day) are local dates.

-- Which environment this database belongs to: one row, written by `db migrate`, checked by every command.
CREATE TABLE batch_environment (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL,
    stamped_at TEXT NOT NULL
) STRICT;

-- ---------------------------------------------------------------- the shop

CREATE TABLE malls (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    platform TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    currency TEXT NOT NULL,
    is_active INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE members (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    member_code TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('UNCONFIRMED', 'ACTIVE', 'WITHDRAWN')),
    email TEXT,
    name TEXT,
    phone TEXT,
    locale TEXT,
    channel TEXT,
    signed_up_at TEXT NOT NULL,
    confirmed_at TEXT,
    withdrawn_at TEXT,
    erasure_requested_at TEXT,
    source_updated_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (mall_id, member_code)
) STRICT;
CREATE INDEX members_signed_up ON members (mall_id, signed_up_at);

CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    product_code TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('ON_SALE', 'SOLD_OUT', 'DISCONTINUED')),
    currency TEXT NOT NULL,
    price_amount INTEGER NOT NULL,
    stock_alert_threshold INTEGER,
    source_updated_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (mall_id, product_code)
) STRICT;

CREATE TABLE stock (
    product_id INTEGER PRIMARY KEY REFERENCES products (id) ON DELETE CASCADE,
    quantity INTEGER NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

-- total_amount is what the buyer pays: lines, less discounts, with shipping and tax.
-- discount_amount, shipping_amount and tax_amount are the parts of it, for information.
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    order_no TEXT NOT NULL,
    member_code TEXT,
    status TEXT NOT NULL CHECK (status IN ('PAYMENT_WAIT', 'PAID', 'SHIPPED', 'DELIVERED', 'ORDER_CANCELLED', 'REFUNDED')),
    currency TEXT NOT NULL,
    total_amount INTEGER NOT NULL,
    discount_amount INTEGER NOT NULL,
    shipping_amount INTEGER NOT NULL,
    tax_amount INTEGER NOT NULL,
    payment_method TEXT,
    ordered_at TEXT NOT NULL,
    paid_at TEXT,
    cancelled_at TEXT,
    cancel_reason TEXT,
    source_updated_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (mall_id, order_no)
) STRICT;
CREATE INDEX orders_ordered ON orders (mall_id, ordered_at);
CREATE INDEX orders_paid ON orders (mall_id, paid_at) WHERE paid_at IS NOT NULL;
CREATE INDEX orders_cancelled ON orders (mall_id, cancelled_at) WHERE cancelled_at IS NOT NULL;
-- A member's first paid order, for new against returning customers.
CREATE INDEX orders_member_paid ON orders (mall_id, member_code, paid_at) WHERE paid_at IS NOT NULL AND member_code IS NOT NULL;
-- Unpaid orders waiting for expiry are few among many.
CREATE INDEX orders_waiting ON orders (ordered_at) WHERE status = 'PAYMENT_WAIT';

-- line_key is the line's own number where the shop has one, else its product code.
-- line_amount is what the buyer pays for the line: quantity x unit price, less the line's discount.
-- No foreign key: its check, row by row, was 45 % of PostgreSQL's time in an import of millions of lines. Lines are
-- only written by statements that join their orders in the same transaction; who deletes an order deletes its lines.
CREATE TABLE order_items (
    order_id INTEGER NOT NULL,
    line_key TEXT NOT NULL,
    product_code TEXT NOT NULL,
    product_name TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    unit_price_amount INTEGER NOT NULL,
    discount_amount INTEGER NOT NULL,
    tax_amount INTEGER NOT NULL,
    line_amount INTEGER NOT NULL,
    PRIMARY KEY (order_id, line_key)
) STRICT;

CREATE TABLE payments (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    payment_key TEXT NOT NULL,
    method TEXT NOT NULL,
    status TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL,
    paid_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (order_id, payment_key)
) STRICT;
CREATE INDEX payments_paid ON payments (paid_at);

CREATE TABLE refunds (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    order_id INTEGER NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    refund_key TEXT NOT NULL,
    product_code TEXT,
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL,
    reason TEXT,
    refunded_at TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (order_id, refund_key)
) STRICT;
CREATE INDEX refunds_refunded ON refunds (mall_id, refunded_at);

-- ---------------------------------------------------------------- the runner

CREATE TABLE batch_execution (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    instance_key TEXT NOT NULL,
    command_line TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('RUNNING', 'COMPLETED', 'PARTIAL', 'FAILED', 'STOPPED', 'TIMED_OUT', 'CRASHED', 'REFUSED')),
    started_at TEXT NOT NULL,
    ended_at TEXT,
    heartbeat_at TEXT NOT NULL,
    lease_expires_at TEXT NOT NULL,
    exclusion_key TEXT,
    epoch INTEGER NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pid_started_ticks INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    retry_of INTEGER,
    items_read INTEGER NOT NULL,
    items_written INTEGER NOT NULL,
    items_skipped INTEGER NOT NULL,
    items_failed INTEGER NOT NULL,
    checkpoint TEXT,
    duration_ms INTEGER,
    peak_memory_bytes INTEGER,
    cpu_time_ms INTEGER,
    exit_code INTEGER,
    error_class TEXT,
    error_message TEXT,
    version TEXT NOT NULL,
    environment TEXT NOT NULL
) STRICT;
CREATE INDEX batch_execution_instance ON batch_execution (job, instance_key, id);
CREATE INDEX batch_execution_job ON batch_execution (job, id);
CREATE INDEX batch_execution_status ON batch_execution (status, id);
CREATE INDEX batch_execution_job_status ON batch_execution (job, status, id);
CREATE INDEX batch_execution_started ON batch_execution (started_at);
CREATE INDEX batch_execution_running ON batch_execution (job) WHERE status = 'RUNNING';

-- One row a key; the row stays when the lease is given back, so that the epoch only ever grows.
CREATE TABLE batch_lease (
    exclusion_key TEXT PRIMARY KEY,
    execution_id INTEGER,
    epoch INTEGER NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE batch_error_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    execution_id INTEGER NOT NULL,
    item_key TEXT NOT NULL,
    phase TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('SKIPPED', 'FAILED')),
    error_class TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at TEXT NOT NULL,
    resolved_at TEXT
) STRICT;
CREATE INDEX batch_error_log_execution ON batch_error_log (execution_id, id);

-- A legal way in for any admin tool: insert execution_id, reason, requested_by, requested_at and the status PENDING.
CREATE TABLE batch_retry_request (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    execution_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_at TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'RUNNING', 'DONE', 'FAILED')),
    claimed_by INTEGER,
    processed_at TEXT,
    exit_code INTEGER,
    message TEXT
) STRICT;
CREATE INDEX batch_retry_request_open ON batch_retry_request (id) WHERE status IN ('PENDING', 'RUNNING');

-- One row an incident: opened by the first alert, counted up by the next, closed by the recovery.
CREATE TABLE batch_incident (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('FAILURE', 'SLOW')),
    severity TEXT NOT NULL,
    opened_at TEXT NOT NULL,
    closed_at TEXT,
    occurrences INTEGER NOT NULL,
    first_execution_id INTEGER NOT NULL,
    last_execution_id INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX batch_incident_open ON batch_incident (job, kind) WHERE closed_at IS NULL;

-- What a channel is still to be told. A row that could not be sent stays and is sent later.
CREATE TABLE batch_alert (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    incident_id INTEGER NOT NULL,
    channel TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at TEXT NOT NULL,
    delivered_at TEXT,
    last_error TEXT
) STRICT;
CREATE INDEX batch_alert_open ON batch_alert (next_attempt_at) WHERE delivered_at IS NULL;
CREATE INDEX batch_alert_incident ON batch_alert (incident_id);

-- ---------------------------------------------------------------- report daily-sales

CREATE TABLE daily_sales (
    business_day TEXT NOT NULL,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    currency TEXT NOT NULL,
    orders INTEGER NOT NULL,
    items INTEGER NOT NULL,
    gross_amount INTEGER NOT NULL,
    discount_amount INTEGER NOT NULL,
    shipping_amount INTEGER NOT NULL,
    tax_amount INTEGER NOT NULL,
    cancelled_orders INTEGER NOT NULL,
    refunded_amount INTEGER NOT NULL,
    net_amount INTEGER NOT NULL,
    average_order_amount INTEGER NOT NULL,
    new_customers INTEGER NOT NULL,
    returning_customers INTEGER NOT NULL,
    refunds INTEGER NOT NULL,
    is_final INTEGER NOT NULL,
    execution_id INTEGER NOT NULL,
    computed_at TEXT NOT NULL,
    PRIMARY KEY (business_day, mall_id, currency)
) STRICT;

-- breakdown is PRODUCT or PAYMENT_METHOD; breakdown_key '' holds what belongs to no single one
-- (shipping, order discounts and whole-order refunds; orders without a payment method), so that each
-- breakdown adds up to the day's total.
CREATE TABLE daily_sales_breakdown (
    business_day TEXT NOT NULL,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    currency TEXT NOT NULL,
    breakdown TEXT NOT NULL CHECK (breakdown IN ('PRODUCT', 'PAYMENT_METHOD')),
    breakdown_key TEXT NOT NULL,
    name TEXT NOT NULL,
    orders INTEGER NOT NULL,
    items INTEGER NOT NULL,
    gross_amount INTEGER NOT NULL,
    discount_amount INTEGER NOT NULL,
    shipping_amount INTEGER NOT NULL,
    tax_amount INTEGER NOT NULL,
    cancelled_orders INTEGER NOT NULL,
    refunded_amount INTEGER NOT NULL,
    net_amount INTEGER NOT NULL,
    new_customers INTEGER NOT NULL,
    returning_customers INTEGER NOT NULL,
    PRIMARY KEY (business_day, mall_id, currency, breakdown, breakdown_key)
) STRICT;
