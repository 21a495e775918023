#!lua flags=allow-oom
-- Ends a hold at its buyer's wish.
-- KEYS  the six, timer t, churn c
-- ARGV  rid, user, actor, reason, churn interval ms (0 = not counted)
-- Reply {0 ended, record} {1 confirming} {2 absent} {3 sold} {REBUILD}
-- Keeps INV5: only a HELD record is released; one that has ended answers with its end.
-- Cost  O(log n).
assert(#KEYS == 8 and #ARGV == 5, 'cancel: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
local now, rid = now_ms(), ARGV[1]
local r = record(rid)
if not r or r[USER] ~= ARGV[2] then return { 2 } end
if r[STATE] == SOLD then return { 3 } end
if r[STATE] == PINNED then return { 1 } end
if r[STATE] == HELD then
  if is_due(r, now) then
    release(stock, rid, r, 'expired', 'clock', now)
  else
    release(stock, rid, r, ARGV[4], ARGV[3], now)
    redis.call('DEL', KEYS[7])
    local interval = tonumber(ARGV[5])
    if interval > 0 then
      local at = math.max(now, tonumber(redis.call('GET', KEYS[8]) or 0)) + interval
      redis.call('SET', KEYS[8], at, 'PX', at - now)
      if at > tonumber(redis.call('HGET', S, 'churn') or 0) then redis.call('HSET', S, 'churn', at) end
    end
  end
  commit(stock)
end
return { 0, table.concat(r, ' ') }
