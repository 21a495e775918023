-- Lists that stay quick with a million products: every order, filter and search of the first page reads thousands of
-- entries at most, whatever the texts and whoever owns them. With a million products it takes minutes, and they can
-- neither be read nor sold meanwhile.

-- What a search looks through, in small letters, so that comparing costs little. No name and no search has the mark
-- between the two, so nothing is found across it.
alter table products
    add column searched text generated always as (lower(name) || E'\x01' || lower(sku)) stored,
    -- Who changed it last.
    add column changed_by text,
    alter column searched set statistics 300;
alter table suppliers add column changed_by text;
alter table orders add column changed_by text;

-- How low is low, and whose it is, beside the figures that decide it. Sales change `low` only as they cross the
-- threshold, so the index costs them nothing otherwise.
alter table sku_stock
    add column owner_id text,
    add column low_stock_threshold bigint,
    add column low boolean generated always as (coalesce(stocked - sold <= low_stock_threshold, false)) stored;
update sku_stock s set owner_id = p.owner_id, low_stock_threshold = p.low_stock_threshold
  from products p where p.product_id = s.product_id;
create index sku_stock_low on sku_stock (owner_id, product_id) where low;

create function sku_stock_begins() returns trigger language plpgsql as $$
begin
    select p.owner_id, p.low_stock_threshold into new.owner_id, new.low_stock_threshold
      from products p where p.product_id = new.product_id;
    return new;
end $$;
create trigger sku_stock_begins before insert on sku_stock for each row execute function sku_stock_begins();

create function threshold_changed() returns trigger language plpgsql as $$
begin
    update sku_stock s set low_stock_threshold = new.low_stock_threshold where s.product_id = new.product_id;
    return null;
end $$;
create trigger threshold_changed after update on products for each row
    when (old.low_stock_threshold is distinct from new.low_stock_threshold) execute function threshold_changed();

-- One index for each order of a list: of everybody's list, of one within a category, of one owner's. Searches walk them
-- as long as that promises to fill the page, so what is compared stands in them. Without a list of what is pending, a
-- search after many edits is as quick as before.
drop index products_by_text, products_all, products_by_created, products_by_name, products_by_price,
    products_by_category_created, products_by_category_name, products_by_category_price, products_by_owner;
create index products_by_text on products using gin (searched gin_trgm_ops) with (fastupdate = off)
    where deleted_at is null;
create index products_by_created on products (published, created_at, product_id) include (searched)
    where deleted_at is null;
create index products_by_name on products (published, name, product_id) include (searched) where deleted_at is null;
create index products_by_price on products (published, coalesce(price_minor, -1), product_id)
    include (price_minor, searched) where deleted_at is null;
create index products_by_category_created on products (category, published, created_at, product_id) include (searched)
    where deleted_at is null;
create index products_by_category_name on products (category, published, name, product_id) include (searched)
    where deleted_at is null;
create index products_by_category_price on products (category, published, coalesce(price_minor, -1), product_id)
    include (price_minor, searched) where deleted_at is null;
create index products_by_owner_created on products (owner_id, created_at, product_id) include (category, searched)
    where deleted_at is null;
create index products_by_owner_name on products (owner_id, name, product_id) include (category, searched)
    where deleted_at is null;
create index products_by_owner_price on products (owner_id, coalesce(price_minor, -1), product_id)
    include (price_minor, category, searched) where deleted_at is null;
create index products_by_owner_category on products (owner_id, category) where deleted_at is null;

-- A page of products. The statements are put together from fixed parts and planned for each call. A null argument asks
-- for nothing; what is low is asked for by its owner only. An index in the order of the list gives the page at once where
-- nothing but its scope is asked for. Where products must also match something, few that do are fetched by the index of
-- what is asked for, and sorted. Of many, the first ones are found by walking the index of the order for a while; what
-- is not found there is fetched all the same.
create or replace function products_page(
    owner text, every boolean, low boolean, category text, pattern text,
    ordering text, descending boolean, after_key text, after_id bigint, most bigint
) returns setof shown_products language plpgsql stable as $$
#variable_conflict use_variable
declare
    sorted text := case ordering when 'name' then 'p.name' when 'price' then 'coalesce(p.price_minor, -1)'
                                 else 'p.created_at' end;
    kind   text := case ordering when 'name' then 'text' when 'price' then 'bigint' else 'timestamptz' end;
    way    text := case when descending then 'desc' else 'asc' end;
    -- Whose products; each scope is a range of the index, and two ranges are merged.
    scopes text[] := case when owner is not null then array['p.owner_id = $1']
                          when every then array['p.published', 'not p.published'] else array['p.published'] end;
    within text := 'p.deleted_at is null';
    -- What the order of the index does not know, and what of a product tells it.
    wanted text := '';
    needed text := '';
    is_low text := '';
    exact  text;
    -- How many matching rows are few, and how many entries of the index are walked.
    few    bigint := 0;
    walked bigint := most;
    lows   bigint;
    -- Where is fetched from what is not walked to.
    source text := 'products';
    met    bigint;
    found  bigint[];
begin
    if after_id is not null then
        within := within || format(' and (%s, p.product_id) %s ($4::%s, $5)', sorted,
                                   case when descending then '<' else '>' end, kind);
    end if;
    if category is not null and owner is null then
        within := within || ' and p.category = $2';
    elsif category is not null then
        wanted := ' and p.category = $2';
        needed := ', p.category';
        few := 40 * most;
        walked := 400 * most;
    end if;
    if pattern is not null then
        wanted := wanted || ' and p.searched like lower($3)';
        needed := needed || ', p.searched';
        -- What is common among the samples of the statistics is worth a longer walk, and not worth counting. What is rare is
        -- fetched by its letters, also from a category that seems quick to go through.
        if (select count(*) > 1
              from (select unnest(s.histogram_bounds::text::text[]) as sample from pg_stats s
                     where s.schemaname = current_schema() and s.tablename = 'products' and s.attname = 'searched') kept
             where sample like lower(pattern)) then
            few := 0;
            walked := 1000 * most;
        else
            few := 200 * most;
            walked := 400 * most;
            source := '(select * from products p where p.deleted_at is null and p.searched like lower($3) offset 0)';
        end if;
    end if;
    exact := format('select p.product_id, %s as sorted from %s p where %s%s%s', sorted, source, within, wanted,
                    case when every and owner is null then '' else ' and ' || scopes[1] end);
    if low then
        select count(*) into lows
          from (select from sku_stock s where s.owner_id = owner and s.low limit 20001) counted;
        few := case when lows <= case wanted when '' then 12 else 80 end * most then lows else 0 end;
        walked := 400 * most;
        exact := exact || ' and p.product_id = any(array(select s.product_id from sku_stock s where s.owner_id = $1 and s.low))';
        -- Of very many, the next one is never far.
        is_low := case when lows <= 20000
            then ' and (p.product_id in (select s.product_id from sku_stock s where s.owner_id = $1 and s.low)) is true'
            else ' and (exists (select from sku_stock s where s.product_id = p.product_id and s.low)) is true' end;
    end if;
    if few > 0 then
        execute format('select count(*), (array_agg(product_id order by sorted %1$s, product_id %1$s))[1:$6]'
                       || ' from (%2$s limit $7 + 1) matching', way, exact)
            into met, found using owner, category, pattern, after_key, after_id, most, few;
    end if;
    if met is null or met > few then
        execute (select format('select array_agg(product_id order by sorted %1$s, product_id %1$s) from'
                               || ' (select p.product_id, p.sorted from (select * from (%2$s) p order by sorted %1$s, product_id %1$s limit %3$s) p'
                               || '   where true%4$s order by p.sorted %1$s, p.product_id %1$s limit $6) page',
                               way, string_agg(format('(select p.product_id, %1$s as sorted%2$s from products p'
                                   || ' where %3$s and %4$s order by %1$s %5$s, p.product_id %5$s limit %6$s)',
                                   sorted, needed, within, scope, way, walked), ' union all '), walked, wanted || is_low)
                   from unnest(scopes) scope)
            into found using owner, category, pattern, after_key, after_id, most;
        if walked > most and coalesce(cardinality(found), 0) < most then
            execute format('select array_agg(product_id order by sorted %1$s, product_id %1$s) from'
                           || ' (select * from (%2$s offset 0) p order by sorted %1$s, product_id %1$s limit $6) page',
                           way, exact)
                into found using owner, category, pattern, after_key, after_id, most;
        end if;
    end if;
    return query
        select p.* from unnest(found) with ordinality page(product_id, rank) join shown_products p using (product_id)
         order by page.rank;
end
$$;
