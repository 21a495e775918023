#!lua flags=allow-oom
-- Hands out pins that are older than the grace, for recovery, and stamps them so that replicas do not all come.
-- KEYS  the six
-- ARGV  grace ms, most pins
-- Reply {0, now, oldest pin left (0 = none), {rid, user} …} {REBUILD}
-- Moves no unit: what becomes of a pin is the decision's to say.
-- Cost  O(claimed log n).
assert(#KEYS == 6 and #ARGV == 2, 'claim_pins: arity')
if not load_stock() then return { REBUILD } end
local now = now_ms()
local reply = { 0, now, 0 }
for _, rid in ipairs(redis.call('ZRANGEBYSCORE', P, '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local r = record(rid)
  if r and r[STATE] == PINNED then
    redis.call('ZADD', P, now, rid)
    reply[#reply + 1] = { rid, r[USER] }
  else
    redis.call('ZREM', P, rid)
  end
end
reply[3] = first_score(P)
return reply
