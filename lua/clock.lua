#!lua flags=allow-oom
-- Brings the expiry clock of a SKU: how far it is behind, and since when it stands, if it does.
-- KEYS  the six
-- ARGV  version, lag ms, frozen since ms (0 = it runs)
-- Reply {0, now, earliest deadline (0 = none, or none while it stands)}
-- A state with a version: coming twice, late or out of order changes nothing. Told to a SKU before its rebuild opens it.
-- Cost  O(1), whatever is held.
assert(#KEYS == 6 and #ARGV == 3, 'clock: arity')
if (tonumber(redis.call('HGET', S, 'clock') or -1) or -1) < tonumber(ARGV[1]) then
  redis.call('HSET', S, 'clock', ARGV[1], 'lag', ARGV[2], 'frozen', ARGV[3])
end
local earliest = load_stock() and first_score(D) or 0
return { 0, now_ms(), earliest }
