#!lua flags=allow-oom
-- Brings the terms of a product, which rule new holds from then on. Terms that are older than those it has do nothing.
-- KEYS  the six
-- ARGV  ttl ms, cap, opens at, closes at, sale, terms version, 1 = only if nothing is held
-- Reply {0 it has these or later ones} {1 nothing changed, live holds} {REBUILD}
-- Lets a product be deleted only while nobody holds it: no hold can come between the look and the change.
-- Cost  O(log n).
assert(#KEYS == 6 and #ARGV == 7, 'terms: arity')
if not load_stock() then return { REBUILD } end
local live = redis.call('ZCOUNT', D, string.format('(%d', now_ms() - LAG), '+inf') + redis.call('ZCARD', P)
if ARGV[7] == '1' and live > 0 then return { 1, live } end
if (tonumber(redis.call('HGET', S, 'terms') or -1) or -1) <= tonumber(ARGV[6]) then
  redis.call('HSET', S, 'ttl_ms', ARGV[1], 'cap', ARGV[2], 'opens_at', ARGV[3], 'closes_at', ARGV[4], 'sale', ARGV[5],
    'terms', ARGV[6])
end
return { 0 }
