#!lua flags=allow-oom
-- Drops ended reservations that the history now has.
-- KEYS  the six
-- ARGV  rids
-- Reply {0, dropped} {REBUILD}
-- A record that is live again (Redis went back in time) stays.
-- Cost  O(rids log n).
assert(#KEYS == 6 and #ARGV >= 1, 'forget: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
local dropped = 0
for _, rid in ipairs(ARGV) do
  local r = record(rid)
  redis.call('ZREM', G, rid)
  if r and (r[STATE] == SOLD or r[STATE] == END) then
    redis.call('HDEL', H, rid)
    records[rid] = false
    local buyer = load_buyer(r[USER])
    if buyer.last == rid then
      buyer.last = '-'
      save_buyer(r[USER], buyer)
    end
    dropped = dropped + 1
  end
end
commit(stock)
return { 0, dropped }
