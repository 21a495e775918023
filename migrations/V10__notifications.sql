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
) returns table (product_id bigint, topic text) language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
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

-- The queue. It is empty at one moment and has a hundred thousand rows at the next, so what the planner knows of it is
-- always wrong: these functions say themselves that every look goes by an index, in its order.

-- Events that nobody has spread yet, the oldest first: those of Postgres, or those that were brought from Redis.
create function outbox_next(p_brought boolean, p_most bigint) returns setof outbox language plpgsql volatile
    set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
begin
    if p_brought then
        return query select o.* from outbox o where o.event_id is not null order by o.outbox_id limit p_most;
    else
        return query select o.* from outbox o where o.event_id is null order by o.outbox_id limit p_most;
    end if;
end $$;

-- Makes deliveries of events, one for each endpoint that wants to know (those without a body: none does) and one for the
-- mail server, and takes them out of the outbox. Two take turns, and whoever comes second finds the rows gone. Answers how
-- many events were still there.
create function outbox_spread(
    p_row bigint[], p_event uuid[], p_topic text[], p_subject uuid[], p_body text[], p_mail uuid[]
) returns bigint language plpgsql volatile
    set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    gone bigint[];
begin
    perform pg_advisory_xact_lock(hashtextextended('outbox_spread', 0));
    with taken as (
        delete from outbox o where o.outbox_id = any (p_row) returning o.outbox_id
    )
    select coalesce(array_agg(taken.outbox_id), '{}') into gone from taken;
    insert into deliveries (endpoint_id, event_id, topic, subject, body)
    select target.endpoint_id, event.event_id, event.topic, event.subject, target.body
      from unnest(p_row, p_event, p_topic, p_subject, p_body, p_mail) with ordinality
        as event(outbox_id, event_id, topic, subject, body, mail, place)
     cross join lateral (
         select w.endpoint_id, event.body from webhook_endpoints w
          where event.body <> '' and (cardinality(w.events) = 0 or event.topic = any (w.events))
         union all
         select '00000000-0000-0000-0000-000000000000'::uuid, event.mail::text where event.mail is not null) target
     where cardinality(gone) = cardinality(p_row) or event.outbox_id = any (gone)
     order by event.place;
    return cardinality(gone);
end $$;

-- Drops events while nobody wants to know; answers how many.
create function outbox_discard(p_most bigint) returns bigint language plpgsql volatile
    set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
    gone bigint;
begin
    if exists (select from webhook_endpoints) then
        return 0;
    end if;
    delete from outbox o where o.outbox_id = any (array(
        select u.outbox_id from outbox u order by u.outbox_id limit p_most for update skip locked));
    get diagnostics gone = row_count;
    return gone;
end $$;

-- Receivers for whom something is due.
create function deliveries_due() returns setof uuid language plpgsql volatile
    set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    receiver uuid;
begin
    for receiver in
        select w.endpoint_id from webhook_endpoints w
        union all select '00000000-0000-0000-0000-000000000000'
    loop
        if exists (select from deliveries d
                    where d.endpoint_id = receiver and d.dead_at is null and d.due_at <= now()) then
            return next receiver;
        end if;
    end loop;
end $$;

-- Claims what may be sent to a receiver, for so long. Of one subject only the earliest; the others wait until it is
-- delivered or given up.
create function deliveries_claim(p_endpoint uuid, p_most bigint, p_claim uuid, p_lease_ms bigint)
returns setof deliveries language plpgsql volatile
    set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
    set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    heads bigint[];
begin
    heads := array(
        select d.delivery_id from deliveries d
         where d.endpoint_id = p_endpoint and d.dead_at is null and d.due_at <= now()
           and not exists (select from deliveries e
                            where e.endpoint_id = d.endpoint_id and e.subject = d.subject and e.dead_at is null
                              and e.delivery_id < d.delivery_id)
         order by d.due_at, d.delivery_id limit p_most for update of d skip locked);
    return query
        update deliveries d
           set claim = p_claim, attempts = d.attempts + 1, due_at = now() + p_lease_ms * interval '1 ms'
         where d.delivery_id = any (heads)
        returning d.*;
end $$;

-- Drops what was delivered under a claim.
create function deliveries_done(p_claim uuid, p_delivery bigint[]) returns void language plpgsql volatile
    set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    delete from deliveries d where d.delivery_id = any (p_delivery) and d.claim = p_claim;
end $$;

-- Notes what was not. Later events of the same subject have to wait as long: they need not be looked at before.
create function deliveries_failed(
    p_claim uuid, p_delivery bigint[], p_error text[], p_pause_ms bigint[], p_counts boolean[], p_dead boolean[]
) returns void language plpgsql volatile
    set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    with failed as (
        update deliveries d
           set claim = null, last_error = case when f.counts then f.error else d.last_error end,
               attempts = d.attempts - case when f.counts then 0 else 1 end,
               due_at = now() + f.pause_ms * interval '1 ms',
               dead_at = case when f.dead then now() end
          from unnest(p_delivery, p_error, p_pause_ms, p_counts, p_dead)
            as f(delivery_id, error, pause_ms, counts, dead)
         where d.delivery_id = f.delivery_id and d.claim = p_claim
        returning d.delivery_id, d.endpoint_id, d.subject, d.due_at, d.dead_at
    )
    update deliveries d set due_at = failed.due_at from failed
     where failed.dead_at is null and d.endpoint_id = failed.endpoint_id and d.subject = failed.subject
       and d.dead_at is null and d.delivery_id > failed.delivery_id and d.due_at < failed.due_at;
end $$;
