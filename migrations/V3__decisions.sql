-- The commit point of a sale is one row of reservation_decisions: whoever inserts it first decides.
-- PENDING may turn once, into CONFIRMED or ABORTED; nothing else ever changes.
create table reservation_decisions (
    reservation_id uuid primary key,
    outcome        text not null,
    reason         text,
    figures        jsonb,
    user_id        text not null,
    order_id       uuid,
    payment_id     uuid,
    product_ids    bigint[] not null default '{}',
    quantities     bigint[] not null default '{}',
    tokens         text[]   not null default '{}',
    held_at        timestamptz,
    expires_at     timestamptz,
    actor          text not null,
    created_at     timestamptz not null default now(),
    constraint reservation_decisions_outcome_check check (outcome in ('PENDING', 'CONFIRMED', 'ABORTED', 'OUT')),
    constraint reservation_decisions_order_check check ((outcome in ('PENDING', 'CONFIRMED')) = (order_id is not null))
);
create index reservation_decisions_by_user on reservation_decisions (user_id, created_at desc)
    where outcome = 'CONFIRMED';
create index reservation_decisions_pending on reservation_decisions using gin (product_ids)
    where outcome = 'PENDING';

create table orders (
    order_id       uuid primary key,
    user_id        text not null,
    reservation_id uuid,
    status         text not null,
    total_minor    bigint not null,
    currency       text not null,
    email          text,
    actor          text not null,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),
    constraint orders_status_check
        check (status in ('pending_payment', 'paid', 'fulfilled', 'cancelled', 'refunded')),
    constraint orders_total_check check (total_minor >= 0)
);

-- Name, price and SKU as they were when the order was made. Written by the statement that writes the order, and never
-- deleted: to check that it is there would cost a twelfth of the sale.
create table order_items (
    order_id         uuid   not null,
    product_id       bigint not null,
    sku              text   not null,
    name             text   not null,
    quantity         bigint not null,
    unit_price_minor bigint,
    created_at       timestamptz not null default now(),
    constraint order_items_key primary key (order_id, product_id),
    constraint order_items_quantity_check check (quantity > 0)
);

-- News for the outside, written in the transaction of the change it tells of.
create table outbox (
    outbox_id      bigint generated always as identity primary key,
    topic          text  not null,
    reservation_id uuid  not null,
    payload        jsonb not null,
    created_at     timestamptz not null default now()
);

-- Ended reservations, moved here from Redis soon after their end. Confirmed ones stand in their decision.
create table reservation_history (
    reservation_id uuid   not null,
    product_id     bigint not null references products,
    user_id        text   not null,
    quantity       bigint not null,
    status         text   not null,
    reason         text   not null,
    actor          text   not null,
    created_at     timestamptz not null,
    expires_at     timestamptz not null,
    ended_at       timestamptz not null,
    constraint reservation_history_key primary key (reservation_id, product_id),
    constraint reservation_history_status_check check (status in ('cancelled', 'expired'))
);
create index reservation_history_by_user on reservation_history (user_id, ended_at desc, reservation_id);
