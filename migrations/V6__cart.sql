-- The cart: what a buyer means to order, one line for each product. It holds no stock.
create table cart_items (
    cart_item_id bigint generated always as identity primary key,
    user_id      text   not null,
    product_id   bigint not null references products,
    quantity     bigint not null,
    created_at   timestamptz not null default now(),
    constraint cart_items_key unique (user_id, product_id),
    constraint cart_items_quantity_check check (quantity between 1 and 1000000)
);

-- Which requests with an Idempotency-Key have added something, so that it is added once even if Redis forgets the key.
create table cart_additions (
    request_key bytea       primary key,
    created     boolean     not null,
    created_at  timestamptz not null default now()
);
create index cart_additions_by_age on cart_additions (created_at);

-- Lists of orders go by their ids, which are made in the order of time.
create index orders_page_by_user on orders (user_id, order_id desc);
create index order_items_by_product on order_items (product_id, order_id desc);

-- An order of several reservations that all stood before names none of them.
alter table outbox alter column reservation_id drop not null;

-- Adds units to a buyer's line of a product. Refuses with a code; the lock makes the bound on lines exact, and lets an
-- earlier run of the same request be seen.
create function cart_add(p_user text, p_product bigint, p_quantity bigint, p_most integer, p_key bytea)
returns table (refused text, cart_item_id bigint, created boolean) language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
    wanted text;
    item   cart_items;
    fresh  boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended('cart ' || p_user, 0));
    select a.created into fresh from cart_additions a where a.request_key = p_key;
    if found then
        return query select null::text, null::bigint, fresh;
        return;
    end if;
    select p.currency into wanted from products p where p.product_id = p_product and p.published
       and p.deleted_at is null;
    if wanted is null then
        return query select 'unknown_product', null::bigint, false;
        return;
    end if;
    select * into item from cart_items c where c.user_id = p_user and c.product_id = p_product;
    fresh := item.cart_item_id is null;
    if item.quantity + p_quantity > 1000000 then
        return query select 'too_many', item.cart_item_id, false;
        return;
    elsif item.cart_item_id is not null then
        return query update cart_items c set quantity = c.quantity + p_quantity
            where c.cart_item_id = item.cart_item_id returning null::text, c.cart_item_id, false;
    elsif exists (select from cart_items c join products p using (product_id)
                   where c.user_id = p_user and p.currency <> wanted) then
        return query select 'mixed_currency', null::bigint, false;
        return;
    elsif (select count(*) from cart_items c where c.user_id = p_user) >= p_most then
        return query select 'cart_full', null::bigint, false;
        return;
    else
        return query insert into cart_items as c (user_id, product_id, quantity)
            values (p_user, p_product, p_quantity) returning null::text, c.cart_item_id, true;
    end if;
    if p_key is not null then
        insert into cart_additions (request_key, created) values (p_key, fresh);
        -- As long as the key is kept elsewhere; each addition takes away two that are over.
        delete from cart_additions a where a.request_key = any (array(
            select o.request_key from cart_additions o where o.created_at < now() - interval '24 hours'
             order by o.created_at limit 2 for update skip locked));
    end if;
end $$;

-- Decides the reservations of one order together, all of them or none. Lock order as in `confirm`: sku_stock rows by
-- number, user_sku under them, decisions by id; cart lines last. Its fates:
--   all decided as this order             -> those decisions: an answer was lost on the way
--   any decided otherwise                 -> what stands; nothing is written, the caller fences the rest
--   a line's epoch moved                  -> no row: stale, the caller pins again
--   stock, cap or a changed cart refuse   -> ABORTED with the reason, for each
--   otherwise                             -> CONFIRMED for each, one order, and what was ordered leaves the cart
create function confirm_order(
    p_order uuid, p_user text, p_actor text, p_email text, p_currency text, p_total bigint, p_named uuid,
    r_reservation uuid[], r_held_at timestamptz[], r_expires_at timestamptz[],
    l_position integer[], l_product bigint[], l_quantity bigint[], l_token text[], l_epoch bigint[], l_cap bigint[],
    l_sku text[], l_name text[], l_price bigint[], l_cart bigint[]
) returns setof reservation_decisions language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    refused text;
    figures jsonb;
    written integer;
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
             where coalesce(c.quantity, 0) < line.quantity) then
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
        insert into reservation_decisions (reservation_id, outcome, user_id, order_id, product_ids, quantities,
            tokens, held_at, expires_at, actor)
        select r.id, 'CONFIRMED', p_user, p_order, array_agg(line.product_id order by line.product_id),
               array_agg(line.quantity order by line.product_id), array_agg(line.token order by line.product_id),
               r.held_at, r.expires_at, p_actor
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
    update sku_stock s set sold = s.sold + line.quantity
      from unnest(l_product, l_quantity) as line(product_id, quantity) where s.product_id = line.product_id;
    insert into user_sku as u (product_id, user_id, bought)
    select line.product_id, p_user, line.quantity
      from unnest(l_product, l_quantity) as line(product_id, quantity) order by line.product_id
    on conflict (product_id, user_id) do update set bought = u.bought + excluded.bought;
    insert into orders (order_id, user_id, reservation_id, status, total_minor, currency, email, actor)
    values (p_order, p_user, p_named, 'paid', p_total, p_currency, p_email, p_actor);
    insert into order_items (order_id, product_id, sku, name, quantity, unit_price_minor)
    select p_order, line.product_id, line.sku, line.name, line.quantity, line.price
      from unnest(l_product, l_sku, l_name, l_quantity, l_price) as line(product_id, sku, name, quantity, price);
    insert into stock_movements (product_id, movement_type, quantity, stock_after, order_id, actor)
    select s.product_id, 'SALE', line.quantity, s.stocked - s.sold, p_order, p_actor
      from unnest(l_product, l_quantity) as line(product_id, quantity) join sku_stock s using (product_id)
     order by s.product_id;
    delete from cart_items c using unnest(l_cart, l_quantity) as line(cart_item_id, quantity)
     where c.cart_item_id = line.cart_item_id and c.quantity = line.quantity;
    update cart_items c set quantity = c.quantity - line.quantity
      from unnest(l_cart, l_quantity) as line(cart_item_id, quantity)
     where c.cart_item_id = line.cart_item_id and c.quantity > line.quantity;
    insert into outbox (topic, reservation_id, payload)
    values ('order.paid', p_named,
            jsonb_build_object('order_id', p_order, 'reservation_id', p_named, 'user_id', p_user));
    return query select * from reservation_decisions d where d.reservation_id = any (r_reservation);
end $$;
