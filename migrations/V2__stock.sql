-- Stock as Postgres knows it. Holds live in Redis alone; here stand only units that came, were sold, or wait for money.
-- `stocked` and `sold` never fall by a return; what a reader sees is net of `returned`.
create table sku_stock (
    product_id bigint  primary key references products,
    stocked    bigint  not null,
    sold       bigint  not null default 0,
    pending    bigint  not null default 0,
    returned   bigint  not null default 0,
    -- Bumped by every rebuild: a confirm whose pin saw an older epoch is refused, because Redis may have lost it.
    epoch      bigint  not null default 0,
    -- Bumped by every change of `stocked` or `returned`, so that Redis takes each state once.
    stock_ver  bigint  not null default 1,
    created_at timestamptz not null default now(),
    constraint sku_stock_no_oversell check (0 <= sold and 0 <= pending and sold + pending <= stocked),
    constraint sku_stock_returned_check check (0 <= returned and returned <= sold)
) with (fillfactor = 50);

-- What each buyer has of each product, for `max_per_buyer`. Written under the lock of the product's stock row, which
-- refers to the product; so here and in the other tables that every sale writes, checking it again for each row would
-- only cost a fifth of the sale.
create table user_sku (
    product_id bigint not null,
    user_id    text   not null,
    bought     bigint not null default 0,
    pending    bigint not null default 0,
    returned   bigint not null default 0,
    created_at timestamptz not null default now(),
    constraint user_sku_key primary key (product_id, user_id),
    constraint user_sku_check check (0 <= bought and 0 <= pending and 0 <= returned and returned <= bought)
);

-- Every change of the stock on hand (available + reserved), with the balance after it.
create table stock_movements (
    movement_id   bigint generated always as identity primary key,
    product_id    bigint not null,
    movement_type text   not null,
    quantity      bigint not null,
    stock_after   bigint not null,
    note          text,
    order_id      uuid,
    actor         text   not null,
    created_at    timestamptz not null default now(),
    constraint stock_movements_type_check check (movement_type in ('IN', 'OUT', 'SALE', 'RETURN')),
    constraint stock_movements_quantity_check check (quantity > 0)
);
create index stock_movements_by_product on stock_movements (product_id, movement_id desc);

-- Which Redis this database last rebuilt. Another one may have lost its tail, or everything.
create table redis_incarnations (
    shard      integer primary key,
    run_id     text not null,
    replid     text not null,
    created_at timestamptz not null default now()
);
