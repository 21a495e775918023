#!lua flags=allow-oom
-- Announces a rebuild (R2), so that of several only the latest can be applied, even if Redis forgets them all between.
-- KEYS  the six
-- ARGV  epoch
-- Reply {0 claimed} {1 a later rebuild is under way}
-- Cost  O(1).
assert(#KEYS == 6 and #ARGV == 1, 'claim: arity')
local kind = redis.call('TYPE', S).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', S) end
local claim = tonumber(redis.call('HGET', S, 'claim') or -1) or -1
if claim > tonumber(ARGV[1]) then return { 1 } end
redis.call('HSET', S, 'claim', ARGV[1])
return { 0 }
