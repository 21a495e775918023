#!lua flags=no-writes
-- Adds up the records of a SKU, and compares them with its counters, its indexes and its buyers.
-- KEYS  the six
-- ARGV  most records, and most buyers, to walk
-- Reply {0, units that `held` has and no live record, records that are not where their index should have them, live
--       units of buyers that no live record has} {1 there are more records than that} {REBUILD}
-- Finds what keeps the sums of `audit` right: a record that is gone with its index, or has another quantity.
-- Cost  O(records + buyers), about 4 us each; everything else waits for it.
assert(#KEYS == 6 and #ARGV == 2, 'weigh: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
if redis.call('HLEN', H) > tonumber(ARGV[1]) then return { 1 } end
local held, taken_out, astray, seen = 0, 0, 0, { [D] = 0, [P] = 0, [G] = 0 }
local index_of = { [HELD] = D, [PINNED] = P, [SOLD] = G, [END] = G }

local entries = redis.call('HGETALL', H)
for i = 1, #entries, 2 do
  local state, kind, qty = string.match(entries[i + 1], '^(%S+) (%S+) (%d+) ')
  local index = index_of[state]
  if not index or not redis.call('ZSCORE', index, entries[i]) then
    astray = astray + 1
  else
    seen[index] = seen[index] + 1
  end
  if index == D or index == P then
    held = held + qty
    if kind == 'o' then taken_out = taken_out + qty end
  end
end
for index, count in pairs(seen) do astray = astray + redis.call('ZCARD', index) - count end

local lives = held - taken_out
if redis.call('HLEN', B) <= tonumber(ARGV[2]) then
  for _, packed in ipairs(redis.call('HVALS', B)) do lives = lives - string.match(packed, '^%S+ (%S+)') end
else
  lives = 0
end
return { 0, stock.held - held, astray, -lives }
