#!lua
-- Pins units for a buyer whose money came after their hold had ended. They count in the buyer's cap, but have no slot:
-- another hold of the buyer's stays as it is. Like every pin they wait for a decision.
-- KEYS  the six
-- ARGV  rid, token, user, quantity
-- Reply {0 pinned, token, epoch, quantity, cap} {1 ended} {2 sold out, avail} {3 limit, cap, live, bought} {REBUILD}
-- Keeps INV2, and every hold: takes only what is neither held nor sold. A pin that stands is joined.
-- Cost  O(log n), and at most 500 reaped holds before it is refused.
assert(#KEYS == 6 and #ARGV == 4, 'late: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
local rid, token, user, quantity, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), now_ms()
local r = record(rid)
if r and r[STATE] == PINNED then return { 0, r[TOKEN], stock.epoch, r[QTY], r[CAP] } end
if r then return { 1 } end
if stock.avail < quantity then reap(stock, now, 500) end
local cap, buyer = tonumber(redis.call('HGET', S, 'cap') or 0), load_buyer(user)
local bought = buyer.bought - buyer.back
if cap > 0 and buyer.live + bought + quantity > cap then return { 3, cap, buyer.live, bought } end
if stock.avail < quantity then return { 2, math.max(0, stock.avail) } end
stock.avail, stock.held, buyer.live = stock.avail - quantity, stock.held + quantity, buyer.live + quantity
save_buyer(user, buyer)
save_record(rid, { PINNED, 'l', ARGV[4], token, now, now, 0, cap, '-', user, '-' })
commit(stock)
redis.call('ZADD', P, now, rid)
return { 0, token, stock.epoch, ARGV[4], cap }
