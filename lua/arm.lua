#!lua
-- Gives a line of a reservation of several products its real deadline, once all its lines are held.
-- KEYS  the six, timer t; then news n, if anybody wants to hear of holds: the home line, armed last, tells
-- ARGV  rid, deadline ms
-- Reply {0 armed, or already on its way to be sold} {1 gone} {REBUILD}
-- Until then the line stands on a short deadline, so that a crash in between gives it back by itself.
-- Cost  O(log n).
assert((#KEYS == 7 or #KEYS == 8) and #ARGV == 2, 'arm: arity')
NEWS = KEYS[8]
local stock = load_stock()
if not stock then return { REBUILD } end
local now, rid, deadline = now_ms(), ARGV[1], tonumber(ARGV[2])
local r = record(rid)
if r and (r[STATE] == PINNED or r[STATE] == SOLD) then return { 0 } end
if not r or r[STATE] ~= HELD or is_due(r, now) or deadline <= now then return { 1 } end
r[DEADLINE] = deadline
save_record(rid, r)
if r[LINES] ~= '@' then tell('held', rid, r) end
push(opened, deadline, rid)
commit(stock)
redis.call('SET', KEYS[7], r[TOKEN], 'PX', deadline - now)
return { 0 }
