-- Sales that people open and close while they run, the clock by which holds expire, and what was done to holds.

-- A sale that is draining takes no new holds, and is closed once the last one that runs has ended.
alter table products drop constraint products_sale_check;
alter table products
    add constraint products_sale_check check (sale in ('open', 'paused', 'draining', 'closed')),
    -- Who closed it, as long as its holds are still being released.
    add column sale_closer text;
create index products_ending on products (product_id) where sale = 'draining' or sale_closer is not null;

-- Puts a sale into a state, and notes who did it and why; null where there is no such product. With `p_from`, only out of
-- that state. A state that stands already is no change; but closing again releases what is held again.
create function set_sale(p_product bigint, p_from text, p_sale text, p_actor text, p_reason text)
returns text language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    was text;
begin
    select p.sale into was from products p where p.product_id = p_product and p.deleted_at is null for update;
    if was is null or p_from is not null and was <> p_from then
        return was;
    end if;
    if was = p_sale then
        if p_sale = 'closed' and p_from is null then
            update products p set sale_closer = p_actor where p.product_id = p_product;
        end if;
        return was;
    end if;
    update products p
       set sale = p_sale,
           -- A sale that has drained has nothing to release.
           sale_closer = case when p_sale = 'closed' and p_from is null then p_actor end,
           changed_by = p_actor, version = version + 1, updated_at = now()
     where p.product_id = p_product;
    perform note_audit(p_actor, 'sale.' || p_sale, p_product::text,
        jsonb_strip_nulls(jsonb_build_object('before', was, 'after', p_sale, 'reason', p_reason)));
    return p_sale;
end $$;

-- The clock by which holds expire: it is `lag_ms` behind Redis's, and stands at `frozen_ms` (Redis's time) while it is
-- frozen. Every SKU in Redis has a copy with its version; `told` is the version that all of them have.
create table expiry_clock (
    one        boolean        primary key default true,
    version    bigint         not null default 0,
    lag_ms     bigint         not null default 0,
    frozen_ms  bigint,
    told       bigint         not null default 0,
    changed_by text,
    reason     text,
    changed_at timestamptz(3) not null default now(),
    constraint expiry_clock_one_check check (one),
    constraint expiry_clock_lag_check check (lag_ms >= 0)
);
insert into expiry_clock default values;

-- Stops the clock at this moment of Redis's, or lets it go on from where it stopped. What it does already is no change.
create function set_expiry(p_frozen boolean, p_now_ms bigint, p_actor text, p_reason text)
returns void language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    clock expiry_clock;
begin
    select * into clock from expiry_clock for update;
    if (clock.frozen_ms is not null) = p_frozen then
        return;
    end if;
    update expiry_clock c
       set version = version + 1,
           lag_ms = c.lag_ms + case when p_frozen then 0 else greatest(0, p_now_ms - c.frozen_ms) end,
           frozen_ms = case when p_frozen then p_now_ms end,
           changed_by = p_actor, reason = p_reason, changed_at = now();
    perform note_audit(p_actor, case when p_frozen then 'expiry.freeze' else 'expiry.thaw' end, 'expiry',
        jsonb_strip_nulls(jsonb_build_object('redis_ms', p_now_ms, 'reason', p_reason)));
end $$;

-- What people did to one hold, beside its end (reservation_history) and its sale (reservation_decisions). Only added to.
create table hold_events (
    hold_event_id  bigint         generated always as identity primary key,
    reservation_id uuid           not null,
    at             timestamptz(3) not null default now(),
    event          text           not null,
    actor          text           not null,
    reason         text,
    detail         jsonb          not null default '{}'
);
-- Whatever extends all holds of a product says once per reservation of several products where its deadline goes.
create unique index hold_events_operation on hold_events (reservation_id, (detail ->> 'operation'))
    where detail ? 'operation';
create index hold_events_by_reservation on hold_events (reservation_id, hold_event_id);

-- Holds of one product that have ended, the latest first.
create index reservation_history_by_product on reservation_history (product_id, ended_at desc, reservation_id desc);
