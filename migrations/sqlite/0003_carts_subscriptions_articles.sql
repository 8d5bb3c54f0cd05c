-- Carts, subscriptions and articles: what mails to customers are made of, and ledgers of what each got. The PostgreSQL
-- file of the same name has the same tables with the same columns in the same order.
-- Ledgers outlive the mails themselves (`mail purge`): nobody is reminded of a cart or sent an article twice.

-- A guest's cart has no member. ordered_at is set once the whole cart has become an order.
CREATE TABLE carts (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    cart_key TEXT NOT NULL,
    member_code TEXT,
    currency TEXT NOT NULL,
    locale TEXT,
    url TEXT,
    last_activity_at TEXT NOT NULL,
    ordered_at TEXT,
    source_updated_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (mall_id, cart_key)
) STRICT;
-- Carts to remind of, by when they were left; a member's other carts.
CREATE INDEX carts_open ON carts (mall_id, last_activity_at, id) WHERE ordered_at IS NULL AND member_code IS NOT NULL;
CREATE INDEX carts_member ON carts (mall_id, member_code) WHERE ordered_at IS NULL AND member_code IS NOT NULL;

-- line_key is the line's own number where the shop has one, else its product code. No foreign key, as order_items.
CREATE TABLE cart_items (
    cart_id INTEGER NOT NULL,
    line_key TEXT NOT NULL,
    product_code TEXT NOT NULL,
    product_name TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    unit_price_amount INTEGER NOT NULL,
    url TEXT,
    image_url TEXT,
    is_purchased INTEGER NOT NULL,
    PRIMARY KEY (cart_id, line_key)
) STRICT;

-- Single-use codes, handed out oldest first. Who got one, and when, is written in the transaction that queues the mail.
CREATE TABLE coupons (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    code TEXT NOT NULL,
    description TEXT,
    expires_day TEXT,
    assigned_to TEXT,
    assigned_at TEXT,
    source_updated_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (mall_id, code)
) STRICT;
CREATE INDEX coupons_free ON coupons (mall_id, id) WHERE assigned_at IS NULL;

-- One row a cart: it was mailed, or a mail about a newer cart of the same member covers it.
CREATE TABLE cart_reminders (
    cart_id INTEGER PRIMARY KEY,
    outcome TEXT NOT NULL CHECK (outcome IN ('MAILED', 'COVERED')),
    coupon_id INTEGER,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    subscription_no TEXT NOT NULL,
    member_code TEXT NOT NULL,
    plan_name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'PAUSED', 'CANCELLED')),
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL,
    next_charge_day TEXT,
    cancel_by_day TEXT,
    payment_method TEXT,
    card_last4 TEXT,
    manage_url TEXT,
    source_updated_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (mall_id, subscription_no)
) STRICT;
CREATE INDEX subscriptions_charge ON subscriptions (mall_id, next_charge_day, id)
    WHERE status = 'ACTIVE' AND next_charge_day IS NOT NULL;
CREATE INDEX subscriptions_member ON subscriptions (mall_id, member_code) WHERE status = 'ACTIVE';

-- One row a subscription, charge and kind of notice.
CREATE TABLE payment_notices (
    subscription_id INTEGER NOT NULL,
    charge_day TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('BEFORE', 'ON_DAY')),
    created_at TEXT NOT NULL,
    PRIMARY KEY (subscription_id, charge_day, kind)
) STRICT;

-- An article without free_summary is for subscribers alone; one with a locale for readers of that language alone.
CREATE TABLE articles (
    id INTEGER PRIMARY KEY,
    mall_id INTEGER NOT NULL REFERENCES malls (id),
    article_key TEXT NOT NULL,
    title TEXT NOT NULL,
    summary TEXT NOT NULL,
    free_summary TEXT,
    url TEXT NOT NULL,
    locale TEXT,
    published_at TEXT NOT NULL,
    source_updated_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (mall_id, article_key)
) STRICT;
CREATE INDEX articles_published ON articles (mall_id, published_at, id);

-- One row an article and member it was sent to.
CREATE TABLE article_deliveries (
    member_id INTEGER NOT NULL,
    article_id INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (member_id, article_id)
) STRICT;
