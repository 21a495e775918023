#!lua
-- Moves the deadline of a hold forward, once for each number of extension.
-- KEYS  the six, timer t; then news n, if anybody wants to hear of it
-- ARGV  rid, user, extensions so far, new deadline ms
-- Reply {0 extended, deadline} {1 gone, reason} {2 absent} {3 sold} {4 confirming} {5 extended meanwhile} {REBUILD}
-- The count makes it safe to repeat: the same call again finds count + 1 and answers what stands.
-- Cost  O(log n).
assert((#KEYS == 7 or #KEYS == 8) and #ARGV == 4, 'extend: arity')
NEWS = KEYS[8]
local stock = load_stock()
if not stock then return { REBUILD } end
local now, rid = now_ms(), ARGV[1]
local r = record(rid)
if not r or r[USER] ~= ARGV[2] then return { 2 } end
if r[STATE] == SOLD then return { 3 } end
if r[STATE] == PINNED then return { 4 } end
if r[STATE] == END then return { 1, r[REASON] } end
if is_due(r, now) then
  release(stock, rid, r, 'expired', 'clock', now)
  commit(stock)
  return { 1, 'expired' }
end
local count = tonumber(ARGV[3])
if tonumber(r[EXT]) == count + 1 then return { 0, r[DEADLINE] } end
if tonumber(r[EXT]) ~= count then return { 5 } end
local deadline = math.max(tonumber(r[DEADLINE]), tonumber(ARGV[4]))
r[EXT], r[DEADLINE] = count + 1, deadline
save_record(rid, r)
if r[LINES] ~= '@' then tell('extended', rid, r) end
push(opened, deadline, rid)
commit(stock)
redis.call('SET', KEYS[7], r[TOKEN], 'PX', deadline - now)
return { 0, deadline }
