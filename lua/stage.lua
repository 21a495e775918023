#!lua flags=allow-oom
-- Loads who bought how much into a rebuild's own key, from where `rebuild` takes it. Runs on a full Redis too: a SKU
-- that could not be rebuilt would stay closed, and then nothing could be sold or given back.
-- KEYS  the six, bn staged buyers
-- ARGV  lifetime s, per buyer: user, 'bought returned'
-- Reply {0 staged}
-- Changes nothing but `bn`, which lapses if its rebuild ends early; each call renews its lifetime.
-- Cost  O(buyers), about 1 us each; the caller sends them in chunks.
assert(#KEYS == 7 and #ARGV >= 3 and #ARGV % 2 == 1, 'stage: arity')
local BN = KEYS[7]
for i = 2, #ARGV, 2 do redis.call('HSET', BN, ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', BN, ARGV[1])
return { 0 }
