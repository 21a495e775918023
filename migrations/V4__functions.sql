-- The functions that decide. Each is one implicit transaction at READ COMMITTED and VOLATILE, so that every
-- statement in it sees what was committed while it waited for the locks of the one before.
-- Lock order everywhere: sku_stock rows by number, then user_sku, then the decision row.
-- Sessions last for days and keep the plans of their first calls, when a shop's tables were empty and reading one whole
-- seemed cheap: so every function here and in later files says that looks go by an index. (What is turned off costs much
-- by the planner's count, which is why there must be no JIT.)

-- Why these lines of one buyer cannot be had: what `reason` and `figures` of an ABORTED row are to be, or nothing. Their
-- stock is locked. A line is short as [sku, requested, available]; the cap says `limit`, `held` and `bought`.
create function why_not(
    p_user text, l_product bigint[], l_quantity bigint[], l_cap bigint[], out refused text, out figures jsonb
) language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
begin
    select 'insufficient_stock', jsonb_build_object('lines', jsonb_agg(
               jsonb_build_array(p.sku, line.quantity, s.stocked - s.sold - s.pending) order by product_id))
      into refused, figures
      from unnest(l_product, l_quantity) as line(product_id, quantity)
      join sku_stock s using (product_id) join products p using (product_id)
     where s.sold + s.pending + line.quantity > s.stocked having count(*) > 0;
    if refused is null then
        select 'buyer_limit', jsonb_build_object('limit', line.cap, 'held', coalesce(u.pending, 0),
                                                 'bought', coalesce(u.bought - u.returned, 0))
          into refused, figures
          from unnest(l_product, l_quantity, l_cap) as line(product_id, quantity, cap)
          left join user_sku u on u.product_id = line.product_id and u.user_id = p_user
         where coalesce(u.bought - u.returned + u.pending, 0) + line.quantity > nullif(line.cap, 0)
         order by line.product_id limit 1;
    end if;
end $$;

-- Decides reservations whose lines are pinned. Each reservation meets one of four fates:
--   decided before       -> that decision
--   a line's epoch moved -> no row: stale, the caller pins again
--   stock or cap refuse  -> ABORTED with the reason
--   otherwise            -> CONFIRMED, with stock, order, items, movements and outbox in this transaction
-- A batch that does not fit as a whole is decided one by one.
create function confirm(
    r_reservation uuid[], r_order uuid[], r_user text[], r_actor text[], r_email text[],
    r_currency text[], r_total bigint[], r_held_at timestamptz[], r_expires_at timestamptz[],
    l_position integer[], l_product bigint[], l_quantity bigint[], l_token text[], l_epoch bigint[], l_cap bigint[],
    l_sku text[], l_name text[], l_price bigint[]
) returns setof reservation_decisions language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    refused text;
    single  integer;
begin
    perform from sku_stock s where s.product_id = any (l_product) order by s.product_id for update;

    with line as (
        select * from unnest(l_position, l_product, l_quantity, l_epoch, l_cap)
            as line(position, product_id, quantity, epoch, cap)
    ), open as (
        select request.position, request.user_id
          from unnest(r_reservation, r_user) with ordinality as request(reservation_id, user_id, position)
         where not exists (select from reservation_decisions d where d.reservation_id = request.reservation_id)
           and not exists (select from line left join sku_stock s using (product_id)
                            where line.position = request.position and s.epoch is distinct from line.epoch)
    ), demand as (
        select line.product_id, sum(line.quantity) as quantity from line join open using (position) group by 1
    ), buyer as (
        select line.product_id, open.user_id, sum(line.quantity) as quantity, min(nullif(line.cap, 0)) as cap
          from line join open using (position) group by 1, 2
    )
    select case
        when exists (select from demand join sku_stock s using (product_id)
                      where s.sold + s.pending + demand.quantity > s.stocked) then 'insufficient_stock'
        when exists (select from buyer left join user_sku u using (product_id, user_id)
                      where coalesce(u.bought - u.returned + u.pending, 0) + buyer.quantity > buyer.cap)
            then 'buyer_limit'
        end into refused;

    if refused is not null and cardinality(r_reservation) > 1 then
        for single in select o.position from unnest(r_reservation) with ordinality as o(id, position) order by o.id loop
            perform confirm(
                array[r_reservation[single]], array[r_order[single]], array[r_user[single]], array[r_actor[single]],
                array[r_email[single]], array[r_currency[single]], array[r_total[single]],
                array[r_held_at[single]], array[r_expires_at[single]],
                array_agg(1), array_agg(line.product_id), array_agg(line.quantity), array_agg(line.token),
                array_agg(line.epoch), array_agg(line.cap), array_agg(line.sku), array_agg(line.name),
                array_agg(line.price))
              from unnest(l_position, l_product, l_quantity, l_token, l_epoch, l_cap, l_sku, l_name, l_price)
                as line(position, product_id, quantity, token, epoch, cap, sku, name, price)
             where line.position = single;
        end loop;
    elsif refused is not null then
        insert into reservation_decisions (reservation_id, outcome, reason, figures, user_id, held_at, expires_at, actor)
        select r_reservation[1], 'ABORTED', why.refused, why.figures, r_user[1], r_held_at[1], r_expires_at[1],
               r_actor[1]
          from why_not(r_user[1], l_product, l_quantity, l_cap) why
        on conflict do nothing;
    else
        with line as (
            select * from unnest(l_position, l_product, l_quantity, l_token, l_epoch, l_sku, l_name, l_price)
                as line(position, product_id, quantity, token, epoch, sku, name, price)
        ), request as (
            select distinct on (request.reservation_id) request.*
              from unnest(r_reservation, r_order, r_user, r_actor, r_email, r_currency, r_total, r_held_at,
                          r_expires_at) with ordinality
                as request(reservation_id, order_id, user_id, actor, email, currency, total, held_at, expires_at,
                           position)
             where not exists (select from line left join sku_stock s using (product_id)
                                where line.position = request.position and s.epoch is distinct from line.epoch)
        ), decision as (
            insert into reservation_decisions as d (reservation_id, outcome, user_id, order_id, product_ids,
                quantities, tokens, held_at, expires_at, actor)
            select request.reservation_id, 'CONFIRMED', request.user_id, request.order_id,
                   array_agg(line.product_id order by line.product_id),
                   array_agg(line.quantity order by line.product_id),
                   array_agg(line.token order by line.product_id),
                   request.held_at, request.expires_at, request.actor
              from request join line using (position)
             group by request.reservation_id, request.user_id, request.order_id, request.held_at,
                   request.expires_at, request.actor
             order by request.reservation_id
            on conflict do nothing
            returning d.reservation_id
        ), won as (
            -- Told `is true`, the planner looks each up in a hash; a join it would make pair by pair.
            select request.* from request
             where (request.reservation_id in (select decision.reservation_id from decision)) is true
        ), won_line as (
            select won.order_id, won.user_id, won.actor, line.* from won join line using (position)
        ), stock as (
            update sku_stock s set sold = s.sold + taken.quantity
              from (select product_id, sum(quantity) as quantity from won_line group by 1) taken
             where s.product_id = taken.product_id
            returning s.product_id, s.stocked - s.sold as on_hand
        ), buyer as (
            insert into user_sku as u (product_id, user_id, bought)
            select product_id, user_id, sum(quantity) from won_line group by 1, 2 order by 1, 2
            on conflict (product_id, user_id) do update set bought = u.bought + excluded.bought
        ), placed as (
            insert into orders (order_id, user_id, reservation_id, status, total_minor, currency, email, actor)
            select won.order_id, won.user_id, won.reservation_id, 'paid', won.total, won.currency, won.email, won.actor
              from won
        ), item as (
            insert into order_items (order_id, product_id, sku, name, quantity, unit_price_minor)
            select w.order_id, w.product_id, w.sku, w.name, w.quantity, w.price from won_line w
        ), movement as (
            insert into stock_movements (product_id, movement_type, quantity, stock_after, order_id, actor)
            select w.product_id, 'SALE', w.quantity,
                   stock.on_hand + coalesce(sum(w.quantity) over (partition by w.product_id order by w.position
                       rows between 1 following and unbounded following), 0),
                   w.order_id, w.actor
              from won_line w join stock using (product_id)
             order by w.product_id, w.position
        )
        insert into outbox (topic, reservation_id, payload)
        select 'order.paid', won.reservation_id,
               jsonb_build_object('order_id', won.order_id, 'reservation_id', won.reservation_id,
                                  'user_id', won.user_id)
          from won order by won.position;
    end if;

    return query select * from reservation_decisions d where d.reservation_id = any (r_reservation);
end $$;

-- Ends the doubt about pins: whoever has no decision yet gets ABORTED, and the answer is what stands.
-- Inserting waits for a rival in flight (unique key), so "no row" can never turn into a sale afterwards.
create function fence(p_reservation uuid[], p_user text[], p_reason text, p_actor text)
returns setof reservation_decisions language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
begin
    insert into reservation_decisions (reservation_id, outcome, reason, user_id, actor)
    select f.reservation_id, 'ABORTED', p_reason, f.user_id, p_actor
      from unnest(p_reservation, p_user) as f(reservation_id, user_id)
     order by f.reservation_id
    on conflict do nothing;
    return query select * from reservation_decisions d where d.reservation_id = any (p_reservation);
end $$;

-- R1 of the rebuild. The update both locks the stock row and shuts out every confirm that pinned before; only
-- statements after it may read what was decided.
create function rebuild_begin(p_product bigint) returns table (
    epoch bigint, stocked bigint, sold bigint, returned bigint, stock_ver bigint, pending jsonb
) language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
begin
    update sku_stock s set epoch = s.epoch + 1 where s.product_id = p_product;
    return query
        select s.epoch, s.stocked, s.sold, s.returned, s.stock_ver,
               (select coalesce(jsonb_agg(jsonb_build_object(
                           'reservation_id', d.reservation_id, 'user_id', d.user_id,
                           'token', d.tokens[line.position], 'quantity', d.quantities[line.position],
                           'product_ids', d.product_ids)), '[]')
                  from reservation_decisions d,
                       unnest(d.product_ids) with ordinality as line(product_id, position)
                 where d.outcome = 'PENDING' and d.product_ids @> array[p_product] and line.product_id = p_product)
          from sku_stock s where s.product_id = p_product;
end $$;
