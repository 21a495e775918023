-- What is for sale. The stock itself stands in V2: a product is edited by people, a stock row by sales.
create table products (
    product_id          bigint generated always as identity (maxvalue 281474976710655) primary key,
    sku                 text        not null,
    owner_id            text,
    name                text        not null,
    description         text        not null default '',
    category            text,
    price_minor         bigint,
    currency            text        not null,
    published           boolean     not null default true,
    sale                text        not null default 'open',
    hold_ttl_seconds    integer,
    max_per_buyer       integer,
    sale_starts_at      timestamptz,
    sale_ends_at        timestamptz,
    low_stock_threshold bigint,
    request_key         bytea,
    version             integer     not null default 1,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    -- A SKU is never given to another product: every replica remembers which number belongs to it.
    constraint products_sku_key unique (sku),
    -- The Idempotency-Key of the request that made the row, so that it stays once even if Redis forgets the key.
    constraint products_request_key_key unique (request_key),
    constraint products_sku_check check (sku ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    constraint products_price_check check (price_minor between 0 and 1000000000000000),
    constraint products_currency_check check (currency ~ '^[A-Z]{3}$'),
    constraint products_sale_check check (sale in ('open', 'paused', 'closed')),
    constraint products_hold_ttl_check check (hold_ttl_seconds between 1 and 86400),
    constraint products_max_per_buyer_check check (max_per_buyer between 1 and 1000000),
    constraint products_window_check check (sale_ends_at > sale_starts_at)
);
