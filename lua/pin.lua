#!lua flags=allow-oom
-- Takes holds out of the clock's reach while Postgres decides. A pin ends only by a decision, never by time.
-- KEYS  the six, then per request: timer t
-- ARGV  per request: rid, user, expected quantity (0 = any)
-- Reply {0, answer …} or {REBUILD}; an answer is
--       {0 pinned, token, epoch, quantity, cap, lines, created, deadline, email} {1 gone, reason} {2 absent} {3 sold}
--       {4 other quantity, quantity}
-- Keeps INV4 and INV5: after it only `settle` moves the record. Joining a pin that stands gives the same answer.
-- Cost  O(log n) a request.
assert(#KEYS >= 7 and #ARGV == 3 * (#KEYS - 6), 'pin: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
local now, due, pinned, timers = now_ms(), {}, {}, {}

local function pin(timer, rid, user, expected)
  local r = record(rid)
  if not r or r[USER] ~= user then return { 2 } end
  if r[STATE] == SOLD then return { 3 } end
  if r[STATE] == END then return { 1, r[REASON] } end
  if is_due(r, now) then
    release(stock, rid, r, 'expired', 'clock', now)
    return { 1, 'expired' }
  end
  if expected > 0 and expected ~= tonumber(r[QTY]) then return { 4, r[QTY] } end
  if r[STATE] == HELD then
    r[STATE] = PINNED
    save_record(rid, r)
    push(due, rid)
    push(pinned, now, rid)
    push(timers, timer)
  end
  return { 0, r[TOKEN], stock.epoch, r[QTY], r[CAP], r[LINES], r[CREATED], r[DEADLINE], r[EMAIL] }
end

local reply = { 0 }
for i = 1, #KEYS - 6 do reply[1 + i] = pin(KEYS[6 + i], ARGV[3 * i - 2], ARGV[3 * i - 1], tonumber(ARGV[3 * i])) end
commit(stock)
send('ZREM', D, due)
send('ZADD', P, pinned)
if #timers > 0 then redis.call('DEL', unpack(timers)) end
return reply
