#!lua flags=no-writes
-- A page of the live records of a SKU, the earliest deadline or the oldest pin first.
-- KEYS  the six
-- ARGV  HELD or PINNED by its letter, place of the page before: its score and id (- = from the beginning), most records
-- Reply {0, now, score, rid, record …} {REBUILD}
-- Cost  O(log² n) for the place, O(1) a record.
assert(#KEYS == 6 and #ARGV == 4, 'holds: arity')
if not load_stock() then return { REBUILD } end
local index, from = ARGV[1] == PINNED and P or D, 0
if ARGV[3] ~= '-' then from = rank(index, ARGV[2], ARGV[3]) end
if redis.call('ZRANGE', index, from, from)[1] == ARGV[3] then from = from + 1 end
local reply = { 0, now_ms() }
local page = redis.call('ZRANGE', index, from, from + ARGV[4] - 1, 'WITHSCORES')
for i = 1, #page, 2 do
  reply[#reply + 1] = page[i + 1]
  reply[#reply + 1] = page[i]
  reply[#reply + 1] = shown(page[i])
end
return reply
