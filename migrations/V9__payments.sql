-- Payments made here, and how they agree with the stock: `reservation_decisions` is the only arbiter, also for money.
-- A payment opens as PENDING, which keeps the units in `pending`, and turns once into CONFIRMED or ABORTED. The status
-- of its row says the same in the words of the buyer, and is written in the same transaction.
alter table reservation_decisions
    -- Until when the payment may take; recovery leaves the pin alone until then.
    add column pending_until timestamptz;
create index reservation_decisions_by_payment on reservation_decisions (payment_id) where payment_id is not null;

alter table orders
    -- Whether what was ordered leaves the buyer's cart once it is paid.
    add column from_cart boolean not null default false,
    -- A refund is under way at the provider; one caller has begun it.
    add column refunding_at timestamptz;

create table payments (
    payment_id          uuid primary key,
    order_id            uuid   not null references orders,
    user_id             text   not null,
    provider            text   not null,
    -- initiated: the provider may or may not know it. pending: the buyer has a URL. late: money came after the hold had
    -- ended, and takes the units again or goes back. review: what the provider says is not what was ordered.
    status              text   not null,
    amount_minor        bigint not null,
    currency            text   not null,
    -- The create call is repeated with these, byte for byte.
    idempotency_key     text   not null,
    parameters          jsonb  not null,
    invoice_no          text,
    success_url         text   not null,
    cancel_url          text   not null,
    -- Under which id late money takes units: one id for all who handle it, so that one row decides that too.
    late_reservation_id uuid   not null,
    provider_payment_id text,
    provider_intent_id  text,
    provider_trx_id     text,
    callback_signature  text,
    url                 text,
    pay_deadline        timestamptz not null,
    provider_expires_at timestamptz,
    -- Only our execute call moves money at bKash; whoever claimed it may have made it.
    execute_claimed_at  timestamptz,
    -- A claimed execute may land until then, and nobody would tell.
    watch_until         timestamptz,
    paid_at             timestamptz,
    refund_restock      boolean,
    refund_actor        text,
    refund_id           text,
    refunded_minor      bigint not null default 0,
    refunded_at         timestamptz,
    failure_code        text,
    -- When somebody must look at it; null: nothing is left to do.
    next_check_at       timestamptz,
    checks              integer not null default 0,
    actor               text   not null,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    constraint payments_provider_check check (provider in ('stripe', 'bkash')),
    constraint payments_status_check check (status in ('initiated', 'pending', 'paid', 'failed', 'cancelled',
        'expired', 'late', 'refunding', 'refunded', 'review')),
    constraint payments_amount_check check (amount_minor > 0 and refunded_minor between 0 and amount_minor),
    constraint payments_refunded_check check ((status = 'refunded') = (refunded_at is not null))
);
create unique index payments_idempotency_key on payments (idempotency_key);
create unique index payments_provider_payment on payments (provider, provider_payment_id)
    where provider_payment_id is not null;
create unique index payments_provider_trx on payments (provider, provider_trx_id) where provider_trx_id is not null;
create unique index payments_invoice on payments (invoice_no) where invoice_no is not null;
create unique index payments_late_reservation on payments (late_reservation_id);
-- A second attempt opens only after the first has its final no.
create unique index payments_one_open on payments (order_id) where status in ('initiated', 'pending', 'paid');
create index payments_by_order on payments (order_id, created_at desc);
create index payments_due on payments (next_check_at) where next_check_at is not null;

-- What was said to and by the providers, without secrets. Never changed.
create table payment_exchanges (
    exchange_id       bigint generated always as identity primary key,
    payment_id        uuid,
    provider          text  not null,
    -- api, webhook or callback.
    source            text  not null,
    operation         text  not null,
    http_status       integer,
    provider_event_id text,
    duration_ms       bigint,
    raw               jsonb not null,
    created_at        timestamptz not null default now(),
    constraint payment_exchanges_source_check check (source in ('api', 'webhook', 'callback'))
);
create index payment_exchanges_by_payment on payment_exchanges (payment_id, exchange_id);
create function payment_exchanges_stay() returns trigger language plpgsql as $$
begin
    raise exception 'payment_exchanges is append only';
end $$;
create trigger payment_exchanges_stay before update or delete on payment_exchanges
    for each statement execute function payment_exchanges_stay();

-- Signed events of a provider, each once, until their effect is done.
create table provider_events (
    provider      text  not null,
    event_id      text  not null,
    event_type    text  not null,
    payload       jsonb not null,
    payment_id    uuid,
    processed_at  timestamptz,
    next_check_at timestamptz default now(),
    checks        integer not null default 0,
    created_at    timestamptz not null default now(),
    constraint provider_events_key primary key (provider, event_id)
);
create index provider_events_due on provider_events (next_check_at) where next_check_at is not null;

-- Locks everything that decides about a payment, in the order of all functions: stock by number, buyers, decisions by
-- id, order, payment. Answers the payment as it stands after that.
create function lock_payment(p_payment uuid) returns payments language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    whole payments;
begin
    select p.* into whole from payments p where p.payment_id = p_payment;
    perform from sku_stock s join order_items i using (product_id)
      where i.order_id = whole.order_id order by s.product_id for update of s;
    perform from user_sku u join order_items i using (product_id)
      where i.order_id = whole.order_id and u.user_id = whole.user_id order by u.product_id for update of u;
    perform from reservation_decisions d where d.payment_id = p_payment order by d.reservation_id for update;
    perform from orders o where o.order_id = whole.order_id for update;
    select p.* into whole from payments p where p.payment_id = p_payment for update;
    return whole;
end $$;

-- Writes what a sale of this order is beside its decision: bought units, movements, the order's status, the cart, the
-- news. The caller has the locks, and has moved the units into `sold`.
create function sell_order(p_order uuid, p_user text, p_payment uuid, p_reservation uuid, p_actor text)
returns void language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    whole orders;
begin
    insert into user_sku as u (product_id, user_id, bought)
    select i.product_id, p_user, i.quantity from order_items i where i.order_id = p_order order by i.product_id
    on conflict (product_id, user_id) do update set bought = u.bought + excluded.bought;
    insert into stock_movements (product_id, movement_type, quantity, stock_after, order_id, actor)
    select s.product_id, 'SALE', i.quantity, s.stocked - s.sold, p_order, p_actor
      from order_items i join sku_stock s using (product_id) where i.order_id = p_order order by s.product_id;
    update orders o set status = 'paid', reservation_id = p_reservation, updated_at = now()
     where o.order_id = p_order returning o.* into whole;
    if whole.from_cart then
        delete from cart_items c using order_items i
         where i.order_id = p_order and c.user_id = p_user and c.product_id = i.product_id and c.quantity <= i.quantity;
        update cart_items c set quantity = c.quantity - i.quantity from order_items i
         where i.order_id = p_order and c.user_id = p_user and c.product_id = i.product_id and c.quantity > i.quantity;
    end if;
    insert into outbox (topic, reservation_id, payload)
    values ('order.paid', p_reservation,
            jsonb_build_object('order_id', p_order, 'reservation_id', p_reservation, 'user_id', p_user,
                               'payment_id', p_payment));
end $$;

-- Opens the payment of reservations whose lines are pinned, all of them or none. Its fates:
--   any decided before                    -> what stands; nothing is written
--   a line's epoch moved                  -> no row: stale, the caller pins again
--   stock, cap or a changed cart refuse   -> ABORTED with the reason, for each
--   otherwise                             -> PENDING for each, the units in `pending`, an order that awaits its payment
create function open_payment(
    p_order uuid, p_user text, p_actor text, p_email text, p_currency text, p_total bigint, p_named uuid,
    r_reservation uuid[], r_held_at timestamptz[], r_expires_at timestamptz[],
    l_position integer[], l_product bigint[], l_quantity bigint[], l_token text[], l_epoch bigint[], l_cap bigint[],
    l_sku text[], l_name text[], l_price bigint[], l_cart bigint[],
    p_payment uuid, p_provider text, p_key text, p_parameters jsonb, p_success_url text, p_cancel_url text,
    p_late uuid, p_window_ms bigint
) returns setof reservation_decisions language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    deadline timestamptz := now() + p_window_ms * interval '1 millisecond';
    refused  text;
    figures  jsonb;
    written  integer;
begin
    perform from sku_stock s where s.product_id = any (l_product) order by s.product_id for update;
    if exists (select from reservation_decisions d where d.reservation_id = any (r_reservation)) then
        return query select * from reservation_decisions d where d.reservation_id = any (r_reservation);
        return;
    end if;
    if exists (select from unnest(l_product, l_epoch) as line(product_id, epoch)
                 left join sku_stock s using (product_id) where s.epoch is distinct from line.epoch) then
        return;
    end if;
    perform from cart_items c where c.cart_item_id = any (l_cart) order by c.cart_item_id for update;
    select why.* into refused, figures from why_not(p_user, l_product, l_quantity, l_cap) why;
    if refused is null and exists (
            select from unnest(l_cart, l_quantity) as line(cart_item_id, quantity)
              left join cart_items c on c.cart_item_id = line.cart_item_id and c.user_id = p_user
             where line.cart_item_id is not null and coalesce(c.quantity, 0) < line.quantity) then
        refused := 'cart_changed';
    end if;
    if refused is not null then
        insert into reservation_decisions (reservation_id, outcome, reason, figures, user_id, held_at, expires_at, actor)
        select r.id, 'ABORTED', refused, figures, p_user, r.held_at, r.expires_at, p_actor
          from unnest(r_reservation, r_held_at, r_expires_at) as r(id, held_at, expires_at) order by r.id
        on conflict do nothing;
        return query select * from reservation_decisions d where d.reservation_id = any (r_reservation);
        return;
    end if;

    -- A fence in flight is waited for; one that wins undoes all that is written here.
    begin
        insert into reservation_decisions (reservation_id, outcome, user_id, order_id, payment_id, product_ids,
            quantities, tokens, held_at, expires_at, pending_until, actor)
        select r.id, 'PENDING', p_user, p_order, p_payment, array_agg(line.product_id order by line.product_id),
               array_agg(line.quantity order by line.product_id), array_agg(line.token order by line.product_id),
               r.held_at, r.expires_at, deadline, p_actor
          from unnest(r_reservation, r_held_at, r_expires_at) with ordinality as r(id, held_at, expires_at, position)
          join unnest(l_position, l_product, l_quantity, l_token) as line(position, product_id, quantity, token)
            using (position)
         group by r.id, r.held_at, r.expires_at
         order by r.id
        on conflict do nothing;
        get diagnostics written = row_count;
        if written < cardinality(r_reservation) then
            raise exception using errcode = 'HF001', message = 'a reservation of the order is decided';
        end if;
    exception when sqlstate 'HF001' then
        return query select * from reservation_decisions d where d.reservation_id = any (r_reservation);
        return;
    end;
    update sku_stock s set pending = s.pending + line.quantity
      from unnest(l_product, l_quantity) as line(product_id, quantity) where s.product_id = line.product_id;
    insert into user_sku as u (product_id, user_id, pending)
    select line.product_id, p_user, line.quantity
      from unnest(l_product, l_quantity) as line(product_id, quantity) order by line.product_id
    on conflict (product_id, user_id) do update set pending = u.pending + excluded.pending;
    insert into orders (order_id, user_id, reservation_id, status, total_minor, currency, email, actor, from_cart)
    values (p_order, p_user, p_named, 'pending_payment', p_total, p_currency, p_email, p_actor,
            exists (select from unnest(l_cart) as line(cart_item_id) where line.cart_item_id is not null));
    insert into order_items (order_id, product_id, sku, name, quantity, unit_price_minor)
    select p_order, line.product_id, line.sku, line.name, line.quantity, line.price
      from unnest(l_product, l_sku, l_name, l_quantity, l_price) as line(product_id, sku, name, quantity, price);
    insert into payments (payment_id, order_id, user_id, provider, status, amount_minor, currency, idempotency_key,
        parameters, success_url, cancel_url, late_reservation_id, pay_deadline, next_check_at, actor)
    values (p_payment, p_order, p_user, p_provider, 'initiated', p_total, p_currency, p_key, p_parameters,
        p_success_url, p_cancel_url, p_late, deadline, deadline, p_actor);
    return query select * from reservation_decisions d where d.reservation_id = any (r_reservation);
end $$;

-- Another attempt to pay an order, in the place of one that has its final no. False: that one is not open any more, or
-- its execute was claimed, which is no no.
create function replace_payment(
    p_old uuid, p_failure text, p_payment uuid, p_provider text, p_key text, p_parameters jsonb, p_success_url text,
    p_cancel_url text, p_late uuid, p_window_ms bigint, p_actor text
) returns boolean language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    deadline timestamptz := now() + p_window_ms * interval '1 millisecond';
    old      payments;
begin
    old := lock_payment(p_old);
    if old.status not in ('initiated', 'pending') or old.execute_claimed_at is not null then
        return false;
    end if;
    update payments set status = 'cancelled', failure_code = p_failure, next_check_at = null, updated_at = now()
     where payment_id = p_old;
    insert into payments (payment_id, order_id, user_id, provider, status, amount_minor, currency, idempotency_key,
        parameters, success_url, cancel_url, late_reservation_id, pay_deadline, next_check_at, actor)
    values (p_payment, old.order_id, old.user_id, p_provider, 'initiated', old.amount_minor, old.currency, p_key,
        p_parameters, p_success_url, p_cancel_url, p_late, deadline, deadline, p_actor);
    update reservation_decisions set payment_id = p_payment, pending_until = deadline
     where payment_id = p_old and outcome = 'PENDING';
    return true;
end $$;

-- The provider has the money. Its fates:
--   sold       it is the order's payment, and the hold stands: CONFIRMED for each reservation of it
--   stale      an epoch moved since its pins were joined: nothing is written, the caller pins again
--   late       the hold had ended, or another payment took its place: noted, the caller takes the units again or refunds
--   known      that was known
create function pay_order(
    p_payment uuid, l_product bigint[], l_epoch bigint[], p_provider_payment text, p_intent text, p_trx text,
    p_actor text
) returns text language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    pay   payments;
    named uuid;
begin
    pay := lock_payment(p_payment);
    if pay.status in ('failed', 'cancelled', 'expired', 'late') then
        update payments p
           set status = 'late', paid_at = coalesce(p.paid_at, now()), checks = 0, updated_at = now(),
               -- Whoever noted it goes on with it; should they die, another comes.
               next_check_at = now() + interval '2 seconds',
               provider_payment_id = coalesce(p.provider_payment_id, p_provider_payment),
               provider_intent_id = coalesce(p.provider_intent_id, p_intent),
               provider_trx_id = coalesce(p.provider_trx_id, p_trx)
         where p.payment_id = p_payment and p.status <> 'late';
        return 'late';
    end if;
    if pay.status not in ('initiated', 'pending') then
        return 'known';
    end if;
    if exists (select from order_items i join sku_stock s using (product_id)
                 left join unnest(l_product, l_epoch) as line(product_id, epoch) using (product_id)
                where i.order_id = pay.order_id and s.epoch is distinct from line.epoch) then
        return 'stale';
    end if;
    update reservation_decisions d set outcome = 'CONFIRMED', pending_until = null, created_at = now()
     where d.payment_id = p_payment and d.outcome = 'PENDING';
    update sku_stock s set pending = s.pending - i.quantity, sold = s.sold + i.quantity
      from order_items i where i.order_id = pay.order_id and s.product_id = i.product_id;
    update user_sku u set pending = u.pending - i.quantity
      from order_items i where i.order_id = pay.order_id and u.product_id = i.product_id and u.user_id = pay.user_id;
    select o.reservation_id into named from orders o where o.order_id = pay.order_id;
    perform sell_order(pay.order_id, pay.user_id, p_payment, named, p_actor);
    update payments p
       set status = 'paid', paid_at = now(), updated_at = now(), checks = 0,
           -- Until somebody has told Redis.
           next_check_at = now() + interval '5 seconds',
           provider_payment_id = coalesce(p.provider_payment_id, p_provider_payment),
           provider_intent_id = coalesce(p.provider_intent_id, p_intent),
           provider_trx_id = coalesce(p.provider_trx_id, p_trx)
     where p.payment_id = p_payment;
    return 'sold';
end $$;

-- No money can come any more: the units go back. `p_asked`: the provider was asked after the execute was claimed.
-- Answers ended, claimed (nothing is written: ask first) or known.
create function end_payment(p_payment uuid, p_status text, p_reason text, p_failure text, p_asked boolean, p_actor text)
returns text language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    pay payments;
begin
    pay := lock_payment(p_payment);
    if pay.status not in ('initiated', 'pending') then
        return 'known';
    end if;
    if pay.execute_claimed_at is not null and not p_asked then
        return 'claimed';
    end if;
    update reservation_decisions d
       set outcome = 'ABORTED', reason = p_reason, order_id = null, pending_until = null, actor = p_actor
     where d.payment_id = p_payment and d.outcome = 'PENDING';
    update sku_stock s set pending = s.pending - i.quantity
      from order_items i where i.order_id = pay.order_id and s.product_id = i.product_id;
    update user_sku u set pending = u.pending - i.quantity
      from order_items i where i.order_id = pay.order_id and u.product_id = i.product_id and u.user_id = pay.user_id;
    update orders o set status = 'cancelled', updated_at = now() where o.order_id = pay.order_id;
    update payments p
       set status = p_status, failure_code = p_failure, updated_at = now(), checks = 0,
           next_check_at = now() + interval '5 seconds'
     where p.payment_id = p_payment;
    insert into outbox (topic, reservation_id, payload)
    select 'order.cancelled', o.reservation_id,
           jsonb_build_object('order_id', o.order_id, 'reservation_id', o.reservation_id, 'user_id', o.user_id,
                              'payment_id', p_payment, 'reason', p_reason)
      from orders o where o.order_id = pay.order_id;
    return 'ended';
end $$;

-- Late money, with units pinned again under the payment's own id. Its fates are those of `confirm`; refused also where
-- another payment has the order. One row, that of `late_reservation_id`, decides between sale and refund.
create function sell_late(
    p_payment uuid, l_product bigint[], l_token text[], l_epoch bigint[], l_cap bigint[], p_actor text
) returns setof reservation_decisions language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    pay     payments;
    refused text;
    written integer;
begin
    pay := lock_payment(p_payment);
    if exists (select from reservation_decisions d where d.reservation_id = pay.late_reservation_id) then
        return query select * from reservation_decisions d where d.reservation_id = pay.late_reservation_id;
        return;
    end if;
    if exists (select from order_items i join sku_stock s using (product_id)
                 left join unnest(l_product, l_epoch) as line(product_id, epoch) using (product_id)
                where i.order_id = pay.order_id and s.epoch is distinct from line.epoch) then
        return;
    end if;
    select case
        when pay.status <> 'late' or not exists (
                select from orders o where o.order_id = pay.order_id and o.status = 'cancelled') then 'order_taken'
        when exists (select from order_items i join sku_stock s using (product_id)
                      where i.order_id = pay.order_id and s.sold + s.pending + i.quantity > s.stocked)
            then 'insufficient_stock'
        when exists (select from order_items i
                       join unnest(l_product, l_cap) as line(product_id, cap) using (product_id)
                       left join user_sku u on u.product_id = i.product_id and u.user_id = pay.user_id
                      where i.order_id = pay.order_id
                        and coalesce(u.bought - u.returned + u.pending, 0) + i.quantity > nullif(line.cap, 0))
            then 'buyer_limit'
        end into refused;
    insert into reservation_decisions (reservation_id, outcome, reason, user_id, order_id, product_ids, quantities,
        tokens, held_at, expires_at, actor)
    select pay.late_reservation_id, case when refused is null then 'CONFIRMED' else 'ABORTED' end, refused, pay.user_id,
           case when refused is null then pay.order_id end, array_agg(i.product_id order by i.product_id),
           array_agg(i.quantity order by i.product_id), array_agg(line.token order by i.product_id), now(), now(),
           p_actor
      from order_items i join unnest(l_product, l_token) as line(product_id, token) using (product_id)
     where i.order_id = pay.order_id
    on conflict do nothing;
    get diagnostics written = row_count;
    if written = 1 and refused is null then
        update sku_stock s set sold = s.sold + i.quantity
          from order_items i where i.order_id = pay.order_id and s.product_id = i.product_id;
        perform sell_order(pay.order_id, pay.user_id, p_payment, pay.late_reservation_id, p_actor);
        update payments p
           set status = 'paid', checks = 0, next_check_at = now() + interval '5 seconds', updated_at = now()
         where p.payment_id = p_payment;
    end if;
    return query select * from reservation_decisions d where d.reservation_id = pay.late_reservation_id;
end $$;

-- Begins the refund of an order that was paid here. One caller wins; the answer is the payment that is being refunded and
-- whether this call began it, or no row where there is nothing to refund.
create function refund_begin(p_order uuid, p_restock boolean, p_actor text, p_look_ms bigint)
returns table (payment_id uuid, begun boolean) language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
    pay uuid;
begin
    begun := false;
    select p.payment_id into pay from payments p where p.order_id = p_order and p.status = 'paid';
    perform lock_payment(pay);
    update orders o set refunding_at = now(), updated_at = now()
     where o.order_id = p_order and o.status in ('paid', 'fulfilled') and o.refunding_at is null
       and exists (select from payments p where p.payment_id = pay and p.status = 'paid');
    begun := found;
    if begun then
        update payments p
           set status = 'refunding', refund_restock = p_restock, refund_actor = p_actor, checks = 0,
               next_check_at = now() + p_look_ms * interval '1 millisecond', updated_at = now()
         where p.payment_id = pay;
    end if;
    return query select p.payment_id, begun from payments p where p.order_id = p_order and p.status = 'refunding'
        and p.refund_restock is not null;
end $$;

-- The provider has given the money back. The units of an order come back with it, in this transaction. False: that was
-- known.
create function refund_finish(p_payment uuid, p_refund text) returns boolean language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    pay payments;
begin
    pay := lock_payment(p_payment);
    if pay.status <> 'refunding' then
        return false;
    end if;
    update payments p
       set status = 'refunded', refund_id = p_refund, refunded_minor = p.amount_minor, refunded_at = now(),
           next_check_at = null, updated_at = now()
     where p.payment_id = p_payment;
    if pay.refund_restock is not null then
        perform return_order(pay.order_id, pay.refund_restock, pay.refund_actor);
    else
        insert into outbox (topic, reservation_id, payload)
        select 'order.refunded', o.reservation_id,
               jsonb_build_object('order_id', o.order_id, 'reservation_id', o.reservation_id, 'user_id', o.user_id,
                                  'payment_id', p_payment, 'late', true)
          from orders o where o.order_id = pay.order_id;
    end if;
    return true;
end $$;

-- The provider will not give the money back: the order stays as it is, for its owner to settle; late money waits for
-- somebody to look at it.
create function refund_refused(p_payment uuid, p_failure text) returns void language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    pay payments;
begin
    pay := lock_payment(p_payment);
    if pay.status = 'refunding' then
        update payments p
           set status = case when pay.refund_restock is null then 'review' else 'paid' end, failure_code = p_failure,
               refund_restock = null, refund_actor = null, next_check_at = null, updated_at = now()
         where p.payment_id = p_payment;
        update orders o set refunding_at = null, updated_at = now() where o.order_id = pay.order_id;
    end if;
end $$;
