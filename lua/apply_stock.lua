#!lua flags=allow-oom
-- Brings the stock as Postgres has it, after goods came in, were taken out, or came back with a refund.
-- KEYS  the six
-- ARGV  stocked, returned, version, number of ids, ids of what was taken out; then per buyer: user, units given back in all
-- Reply {0 it has this stock or later} {REBUILD}
-- Keeps INV2: units that are taken out leave `stocked` in the call that releases them, so nobody can hold them in
--       between. All of it is states, not differences: coming again, late or out of order changes nothing.
-- Cost  O(log n) an id, O(1) a buyer.
local IDS = 4
local first_buyer = IDS + 1 + (tonumber(ARGV[IDS]) or 0)
assert(#KEYS == 6 and #ARGV >= first_buyer - 1 and (#ARGV - first_buyer) % 2 == 1, 'apply_stock: arity')
local stock, known = load_stock(), redis.call('HMGET', S, 'stocked', 'ver')
local stocked, ver = tonumber(known[1]), tonumber(known[2])
if not (stock and stocked and ver) then return { REBUILD } end
local now, newer = now_ms(), tonumber(ARGV[3]) > ver
if newer then stock.avail = stock.avail + tonumber(ARGV[1]) - stocked end
for i = IDS + 1, first_buyer - 1 do
  local r = record(ARGV[i])
  if r and (r[STATE] == HELD or r[STATE] == PINNED) then release(stock, ARGV[i], r, 'out', 'service', now) end
end
for i = first_buyer, #ARGV, 2 do
  local buyer, back = load_buyer(ARGV[i]), tonumber(ARGV[i + 1])
  if back > tonumber(buyer.back) then
    buyer.back = back
    save_buyer(ARGV[i], buyer)
  end
end
if newer then
  redis.call('HSET', S, 'stocked', ARGV[1], 'returned', ARGV[2], 'ver', ARGV[3], 'avail', stock.avail)
end
commit(stock)
return { 0 }
