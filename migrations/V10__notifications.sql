-- News on its way out: which events go where, and what became of each attempt.

alter table outbox
    -- There where the event began in Redis: the same however often it is brought from there. The others get their id
    -- when they become deliveries.
    add column event_id uuid;
-- News from Redis goes first: what Postgres tells of a reservation always comes later in its life.
create index outbox_of_redis on outbox (outbox_id) where event_id is not null;

-- Which news was brought from Redis lately, because it is forgotten there only after it stands here.
create table brought_news (
    event_id   uuid        not null,
    created_at timestamptz not null default now(),
    constraint brought_news_key primary key (event_id)
);
create index brought_news_by_age on brought_news (created_at);

-- What the outside was last told of the stock of a product. No row: nothing, so there is plenty.
create table stock_levels (
    product_id bigint      not null references products,
    sold_out   boolean     not null,
    low        boolean     not null,
    -- Redis's time of the reading; an older reading changes nothing.
    read_at    timestamptz not null,
    created_at timestamptz not null default now(),
    constraint stock_levels_key primary key (product_id)
);

-- Where storefronts want to be told. Secrets are sealed with a key that the database does not have.
create table webhook_endpoints (
    endpoint_id     uuid        not null,
    owner_id        text        not null,
    url             text        not null,
    description     text,
    -- None means every event.
    events          text[]      not null default '{}',
    secret          bytea       not null,
    -- The secret before it signs too, for a while.
    previous_secret bytea,
    previous_until  timestamptz,
    -- The Idempotency-Key of the request that made the row, so that it stays once even if Redis forgets the key.
    request_key     bytea,
    created_at      timestamptz(3) not null default now(),
    constraint webhook_endpoints_pkey primary key (endpoint_id),
    constraint webhook_endpoints_request_key_key unique (request_key),
    constraint webhook_endpoints_previous_check check ((previous_secret is null) = (previous_until is null))
);
create index webhook_endpoints_by_owner on webhook_endpoints (owner_id, endpoint_id);

-- One event for one receiver. A row goes when it is delivered; one that is given up stays until somebody sends it again.
create table deliveries (
    delivery_id bigint      generated always as identity,
    -- All zeros: the mail server. No foreign key: an event must not wait for whoever deletes an endpoint.
    endpoint_id uuid        not null,
    event_id    uuid        not null,
    topic       text        not null,
    -- What the event is about. Of one subject and receiver, the earlier is delivered or given up before the later is sent.
    subject     uuid        not null,
    body        text        not null,
    attempts    integer     not null default 0,
    -- When it may be sent; while somebody sends it, when he is taken for dead.
    due_at      timestamptz not null default now(),
    -- Who sends it: he alone may say what became of it.
    claim       uuid,
    last_error  text,
    dead_at     timestamptz(3),
    created_at  timestamptz(3) not null default now(),
    constraint deliveries_pkey primary key (delivery_id),
    constraint deliveries_attempts_check check (attempts >= 0)
);
create index deliveries_due on deliveries (endpoint_id, due_at, delivery_id) where dead_at is null;
create index deliveries_by_subject on deliveries (endpoint_id, subject, delivery_id) where dead_at is null;
create index deliveries_dead on deliveries (delivery_id) where dead_at is not null;
