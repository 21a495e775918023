#!lua flags=no-writes
-- Lists reservations that ended a while ago, to be written to the history and then forgotten.
-- KEYS  the six
-- ARGV  least age ms, most records
-- Reply {0, oldest end left, rid, record, rid, record …} {REBUILD}
-- Cost  O(listed).
assert(#KEYS == 6 and #ARGV == 2, 'ended: arity')
if not load_stock() then return { REBUILD } end
local reply = { 0, first_score(G) }
for _, rid in ipairs(redis.call('ZRANGEBYSCORE', G, '-inf', now_ms() - ARGV[1], 'LIMIT', 0, ARGV[2])) do
  reply[#reply + 1] = rid
  reply[#reply + 1] = shown(rid)
end
return reply
