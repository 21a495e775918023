#!lua flags=no-writes
-- Units sold and what is pinned, as of one moment.
-- KEYS  the six
-- ARGV  most pins
-- Reply {0, sold, rid, quantity …} {1 there are more pins than that} {REBUILD}
-- Lets the caller tell a sale that is on its way, which is pinned and CONFIRMED, from one that was forgotten.
-- Cost  O(pins), about 2 us each.
assert(#KEYS == 6 and #ARGV == 1, 'pinned: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
if redis.call('ZCARD', P) > tonumber(ARGV[1]) then return { 1 } end
local reply = { 0, stock.sold }
for _, rid in ipairs(redis.call('ZRANGE', P, 0, -1)) do
  local r = record(rid)
  if r then push(reply, rid, tonumber(r[QTY])) end
end
return reply
