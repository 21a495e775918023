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

-- Notes the stock of products as it was read from Redis, and tells of what has crossed a line since the outside was told
-- last: it ran out, it came back, or it fell to the threshold that its owner set. An older reading than the one that was
-- told changes nothing. Answers what is told.
create function note_stock(
    p_product bigint[], p_available bigint[], p_read_at timestamptz[], p_payload jsonb[]
) returns table (product_id bigint, topic text) language plpgsql volatile as $$
#variable_conflict use_column
declare
    reading record;
    told    stock_levels;
    now_out boolean;
    now_low boolean;
begin
    for reading in
        select r.*, p.low_stock_threshold as threshold
          from unnest(p_product, p_available, p_read_at, p_payload) as r(product_id, available, read_at, payload)
          join products p using (product_id)
         where p.deleted_at is null order by r.product_id
    loop
        now_out := reading.available <= 0;
        now_low := coalesce(reading.available <= reading.threshold, false);
        select l.* into told from stock_levels l where l.product_id = reading.product_id for update;
        if told.product_id is null then
            -- Whoever comes second waits here, and then finds the row.
            insert into stock_levels (product_id, sold_out, low, read_at)
            values (reading.product_id, false, false, '-infinity') on conflict do nothing;
            select l.* into told from stock_levels l where l.product_id = reading.product_id for update;
        end if;
        if told.read_at >= reading.read_at or (told.sold_out, told.low) = (now_out, now_low) then
            continue;
        end if;
        update stock_levels l set sold_out = now_out, low = now_low, read_at = reading.read_at
         where l.product_id = reading.product_id;
        product_id := reading.product_id;
        topic := case when now_out and not told.sold_out then 'stock.sold_out'
                      when told.sold_out and not now_out then 'stock.available'
                      when now_low and not told.low and not now_out then 'stock.low' end;
        if topic is not null then
            insert into outbox (topic, payload)
            values (topic, reading.payload || jsonb_build_object('low_stock_threshold', reading.threshold));
            return next;
        end if;
    end loop;
end $$;
