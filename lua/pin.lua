#!lua flags=allow-oom
-- Takes a hold out of the clock's reach while Postgres decides. A pin ends only by a decision, never by time.
-- KEYS  the six, timer t
-- ARGV  rid, user, expected quantity (0 = any)
-- Reply {0 pinned, token, epoch, quantity, cap, lines, created, deadline, email} {1 gone, reason} {2 absent} {3 sold}
--       {4 other quantity, quantity} {REBUILD}
-- Keeps INV4 and INV5: after it only `settle` moves the record. Joining a pin that stands gives the same answer.
-- Cost  O(log n).
assert(#KEYS == 7 and #ARGV == 3, 'pin: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
local now, rid = now_ms(), ARGV[1]
local r = record(rid)
if not r or r[USER] ~= ARGV[2] then return { 2 } end
if r[STATE] == SOLD then return { 3 } end
if r[STATE] == END then return { 1, r[REASON] } end
if is_due(r, now) then
  release(stock, rid, r, 'expired', 'clock', now)
  commit(stock)
  return { 1, 'expired' }
end
local expected = tonumber(ARGV[3])
if expected > 0 and expected ~= tonumber(r[QTY]) then return { 4, r[QTY] } end
if r[STATE] == HELD then
  r[STATE] = PINNED
  save_record(rid, r)
  commit(stock)
  redis.call('ZREM', D, rid)
  redis.call('ZADD', P, now, rid)
  redis.call('DEL', KEYS[7])
end
return { 0, r[TOKEN], stock.epoch, r[QTY], r[CAP], r[LINES], r[CREATED], r[DEADLINE], r[EMAIL] }
