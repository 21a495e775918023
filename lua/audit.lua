#!lua flags=no-writes
-- The counters of a SKU and what is due on it.
-- KEYS  the six
-- ARGV  none
-- Reply {0, now, epoch, stocked, avail, held, sold, returned, ver, live records, earliest deadline, oldest pin,
--        oldest end, units of pinned records, 1 if the product is hidden, records that no index has} {REBUILD}
-- Lets the caller check INV2 without walking the records. Cost O(pins), of which there are few.
assert(#KEYS == 6 and #ARGV == 0, 'audit: arity')
if not load_stock() then return { REBUILD } end
local f = redis.call('HMGET', S, 'epoch', 'stocked', 'avail', 'held', 'sold', 'returned', 'ver', 'sale')
-- A reply would end at the first field that is no number.
for i = 1, 7 do
  if not tonumber(f[i]) then return { REBUILD } end
end
local pinned = 0
for _, rid in ipairs(redis.call('ZRANGE', P, 0, 999)) do
  local r = record(rid)
  if r then pinned = pinned + r[QTY] end
end
local live = redis.call('ZCARD', D) + redis.call('ZCARD', P)
local strays = redis.call('HLEN', H) - live - redis.call('ZCARD', G)
return { 0, now_ms(), tonumber(f[1]), tonumber(f[2]), tonumber(f[3]), tonumber(f[4]), tonumber(f[5]), tonumber(f[6]),
  tonumber(f[7]), live, first_score(D), first_score(P), first_score(G), pinned,
  f[8] == 'hidden' and 1 or 0, strays }
