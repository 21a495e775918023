#!lua flags=allow-oom
-- One Idempotency-Key: claimed before a request runs, kept with its answer, or dropped when it did not succeed.
-- KEYS  idem
-- ARGV  'claim', mark, fingerprint, ms | 'keep', mark, answer, ms | 'drop', mark
-- Reply of claim {0 claimed} {1 the same request runs} {2 other request} {3 kept, answer}; of keep and drop {0}.
--       An answer begins with the fingerprint of its request, as long as the one that is asked for, and a line feed.
-- Only the run that holds the claim (its mark) may end it, so a run that outlived its claim changes nothing.
-- Cost  O(1). Its one key makes the shared part's names for the other five nil, and uses none of its functions.
local verb, mark = ARGV[1], ARGV[2]
local kept = redis.call('GET', KEYS[1])
if verb == 'claim' then
  local fingerprint = ARGV[3]
  if not kept then
    redis.call('SET', KEYS[1], 'P' .. mark .. fingerprint, 'PX', ARGV[4])
    return { 0 }
  end
  if kept:sub(1, 1) == 'P' then
    if kept:sub(-#fingerprint) == fingerprint then return { 1 } end
    return { 2 }
  end
  if kept:sub(2, #fingerprint + 1) ~= fingerprint then return { 2 } end
  return { 3, kept:sub(#fingerprint + 3) }
end
if kept and kept:sub(1, 1 + #mark) == 'P' .. mark then
  if verb == 'keep' then
    redis.call('SET', KEYS[1], 'D' .. ARGV[3], 'PX', ARGV[4])
  else
    redis.call('DEL', KEYS[1])
  end
end
return { 0 }
