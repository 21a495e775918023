-- Suppliers, and products that are edited, searched and deleted.
do $$
begin
    create extension if not exists pg_trgm;
exception when insufficient_privilege then
    raise exception 'searching products needs the extension pg_trgm: let a superuser run "create extension pg_trgm" here';
end
$$;

create table suppliers (
    supplier_id bigint generated always as identity (maxvalue 281474976710655) primary key,
    owner_id    text not null,
    name        text not null,
    email       text,
    phone       text,
    address     text,
    request_key bytea,
    created_at  timestamptz(3) not null default now(),
    updated_at  timestamptz(3) not null default now(),
    constraint suppliers_request_key_key unique (request_key),
    -- What refers to a supplier names its owner too, so that nobody refers to somebody else's.
    constraint suppliers_owner_key unique (owner_id, supplier_id)
);

alter table products
    add column supplier_id bigint,
    -- A deleted product stays as a row: its SKU is taken for ever, and orders and movements refer to it.
    add column deleted_at timestamptz,
    -- The last version whose terms Redis has confirmed; pushed again as long as it is behind `version`.
    add column terms_told integer not null default 1,
    -- Cursors carry milliseconds.
    alter column created_at type timestamptz(3),
    alter column updated_at type timestamptz(3),
    add constraint products_supplier_fkey foreign key (owner_id, supplier_id)
        references suppliers (owner_id, supplier_id) on delete set null (supplier_id);

create index products_untold on products (product_id) where terms_told < version;
create index products_by_owner on products (owner_id, created_at, product_id) where deleted_at is null;
create index products_by_supplier on products (owner_id, supplier_id) where supplier_id is not null;
create index products_all on products (created_at, product_id) where deleted_at is null;
-- One for each ordering of the public list, and one for each within a category.
create index products_by_created on products (created_at, product_id) where published and deleted_at is null;
create index products_by_name on products (name, product_id) where published and deleted_at is null;
create index products_by_price on products (coalesce(price_minor, -1), product_id)
    where published and deleted_at is null;
create index products_by_category_created on products (category, created_at, product_id)
    where published and deleted_at is null;
create index products_by_category_name on products (category, name, product_id)
    where published and deleted_at is null;
create index products_by_category_price on products (category, coalesce(price_minor, -1), product_id)
    where published and deleted_at is null;
create index products_by_text on products using gin (name gin_trgm_ops, sku gin_trgm_ops)
    where deleted_at is null;

create view shown_products as
select p.*, s.stocked - s.returned as total_stock, s.stocked - s.sold as on_hand
  from products p join sku_stock s using (product_id)
 where p.deleted_at is null;

-- A page of products. The statement is put together here from fixed parts and planned for each call: the best plan
-- depends on what is asked for. A null argument asks for nothing.
create function products_page(
    owner text, every boolean, low boolean, category text, pattern text,
    ordering text, descending boolean, after_key text, after_id bigint, most bigint
) returns setof shown_products language plpgsql stable as $$
declare
    sorted text := case ordering when 'name' then 'p.name' when 'price' then 'coalesce(p.price_minor, -1)'
                                 else 'p.created_at' end;
    kind   text := case ordering when 'name' then 'text' when 'price' then 'bigint' else 'timestamptz' end;
    way    text := case when descending then 'desc' else 'asc' end;
    wanted text := 'p.deleted_at is null';
begin
    if owner is not null then
        wanted := wanted || ' and p.owner_id = $1';
    elsif not every then
        wanted := wanted || ' and p.published';
    end if;
    if low then
        wanted := wanted || ' and exists (select from sku_stock s where s.product_id = p.product_id'
                         || ' and s.stocked - s.sold <= p.low_stock_threshold)';
    end if;
    if category is not null then wanted := wanted || ' and p.category = $2'; end if;
    if pattern is not null then wanted := wanted || ' and (p.name ilike $3 or p.sku ilike $3)'; end if;
    if after_id is not null then
        wanted := wanted || format(' and (%s, p.product_id) %s ($4::%s, $5)', sorted,
                                   case when descending then '<' else '>' end, kind);
    end if;
    return query execute format(
        'select p.* from (select p.product_id from products p where %1$s order by %2$s %3$s, p.product_id %3$s limit $6) page'
        || ' join shown_products p using (product_id) order by %2$s %3$s, p.product_id %3$s', wanted, sorted, way)
        using owner, category, pattern, after_key, after_id, most;
end
$$;
