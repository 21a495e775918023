-- The shop owner's movements: goods that come in, are taken out, or come back with a refund. Each makes a version of the
-- stock, which Redis takes as a state; `applied_ver` remembers which one it has confirmed.
alter table sku_stock
    add column applied_ver bigint not null default 1,
    add constraint sku_stock_total_check check (stocked - returned <= 1000000000);
create index sku_stock_unapplied on sku_stock (product_id) where applied_ver < stock_ver;

-- A sale sets none of these, and is in none of their indexes.
alter table stock_movements
    -- Where it was bought; the number outlives the supplier.
    add column supplier_id    bigint,
    -- Under which id the units that were taken out had been pinned.
    add column reservation_id uuid,
    -- The version of the stock that it made; the opening stock made none.
    add column stock_ver      bigint,
    -- The Idempotency-Key of the request that made the row, so that it stays once even if Redis forgets the key.
    add column request_key    bytea;
create unique index stock_movements_request_key on stock_movements (request_key) where request_key is not null;
create unique index stock_movements_reservation on stock_movements (reservation_id) where reservation_id is not null;
create index stock_movements_by_ver on stock_movements (product_id, stock_ver) where stock_ver is not null;
-- The history of an owner goes through all their products, deleted ones too.
create index products_owned on products (owner_id);

-- Goods come in. No row: the owner has no such product. A request that was here before is answered with its movement.
create function stock_in(
    p_owner text, p_product bigint, p_quantity bigint, p_note text, p_supplier bigint, p_actor text, p_key bytea
) returns setof stock_movements language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    stock sku_stock;
begin
    select s.* into stock from sku_stock s join products p using (product_id)
     where s.product_id = p_product and p.deleted_at is null and (p_owner is null or p.owner_id = p_owner)
       for update of s;
    if stock.product_id is null then
        return;
    end if;
    if exists (select from stock_movements m where m.request_key = p_key) then
        return query select * from stock_movements m where m.request_key = p_key;
        return;
    end if;
    update sku_stock s set stocked = s.stocked + p_quantity, stock_ver = s.stock_ver + 1
     where s.product_id = p_product returning s.* into stock;
    return query
        insert into stock_movements as m (product_id, movement_type, quantity, stock_after, note, supplier_id, actor,
            stock_ver, request_key)
        values (p_product, 'IN', p_quantity, stock.stocked - stock.sold, p_note, p_supplier, p_actor,
            stock.stock_ver, p_key)
        returning m.*;
end $$;

-- Decides about units that their owner has pinned to take them out. Lock order as in `confirm`. Its fates:
--   decided before                           -> that decision
--   the epoch moved since the pin            -> no row: stale, the caller pins again
--   the request was here before (`repeated`), the product is gone, or what is neither sold nor under payment is less
--                                            -> ABORTED with the reason
--   otherwise                                -> OUT, with stock and movement in this transaction
create function stock_out(
    p_owner text, p_reservation uuid, p_token text, p_epoch bigint, p_product bigint, p_quantity bigint, p_note text,
    p_supplier bigint, p_actor text, p_key bytea
) returns setof reservation_decisions language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
declare
    stock   sku_stock;
    refused text;
    written integer := 0;
begin
    select s.* into stock from sku_stock s where s.product_id = p_product for update;
    if not exists (select from reservation_decisions d where d.reservation_id = p_reservation) then
        if stock.epoch is distinct from p_epoch then
            return;
        end if;
        refused := case
            when exists (select from stock_movements m where m.request_key = p_key) then 'repeated'
            when not exists (select from products p where p.product_id = p_product and p.deleted_at is null
                              and (p_owner is null or p.owner_id = p_owner)) then 'unknown_product'
            when stock.sold + stock.pending + p_quantity > stock.stocked then 'insufficient_stock'
            end;
        insert into reservation_decisions (reservation_id, outcome, reason, user_id, product_ids, quantities, tokens,
            actor)
        values (p_reservation, case when refused is null then 'OUT' else 'ABORTED' end, refused, '-',
            array[p_product], array[p_quantity], array[p_token], p_actor)
        on conflict do nothing;
        get diagnostics written = row_count;
    end if;
    if written = 1 and refused is null then
        update sku_stock s set stocked = s.stocked - p_quantity, stock_ver = s.stock_ver + 1
         where s.product_id = p_product returning s.* into stock;
        insert into stock_movements (product_id, movement_type, quantity, stock_after, note, supplier_id, actor,
            reservation_id, stock_ver, request_key)
        values (p_product, 'OUT', p_quantity, stock.stocked - stock.sold, p_note, p_supplier, p_actor,
            p_reservation, stock.stock_ver, p_key);
    end if;
    return query select * from reservation_decisions d where d.reservation_id = p_reservation;
end $$;

-- Refunds an order: the sale stays a sale, its units come back. Units that are not put on sale again come back and are
-- written off, so that `sold` and `total` as they are shown both fall and the movements still add up. One caller wins;
-- the answer is the status after it, and whether this call made it. No row: there is no such order.
create function return_order(p_order uuid, p_restock boolean, p_actor text)
returns table (status text, done boolean) language plpgsql volatile
    set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
    buyer text;
begin
    perform from sku_stock s join order_items i using (product_id)
      where i.order_id = p_order order by s.product_id for update of s;
    update orders o set status = 'refunded', updated_at = now()
     where o.order_id = p_order and o.status in ('paid', 'fulfilled') returning o.user_id into buyer;
    if buyer is not null then
        update user_sku u set returned = u.returned + i.quantity from order_items i
         where i.order_id = p_order and u.product_id = i.product_id and u.user_id = buyer;
        update sku_stock s
           set returned = s.returned + i.quantity,
               stocked = s.stocked + case when p_restock then i.quantity else 0 end,
               stock_ver = s.stock_ver + 1
          from order_items i where i.order_id = p_order and s.product_id = i.product_id;
        insert into stock_movements (product_id, movement_type, quantity, stock_after, note, order_id, actor, stock_ver)
        select s.product_id, kind.movement_type, i.quantity,
               s.stocked - s.sold + case when kind.movement_type = 'RETURN' and not p_restock then i.quantity else 0 end,
               kind.note, p_order, p_actor, s.stock_ver
          from order_items i join sku_stock s using (product_id)
          join (values (1, 'RETURN', null), (2, 'OUT', 'not restocked')) as kind(rank, movement_type, note)
            on kind.rank = 1 or not p_restock
         where i.order_id = p_order order by s.product_id, kind.rank;
        insert into outbox (topic, reservation_id, payload)
        select 'order.refunded', o.reservation_id,
               jsonb_build_object('order_id', o.order_id, 'reservation_id', o.reservation_id, 'user_id', o.user_id,
                                  'restock', p_restock)
          from orders o where o.order_id = p_order;
    end if;
    return query select o.status, buyer is not null from orders o where o.order_id = p_order;
end $$;
