#!lua
-- Pins units for their owner, who takes them out of the stock. They are no buyer's, so no cap counts them, and no clock
-- ends them: like every pin they wait for a decision.
-- KEYS  the six
-- ARGV  rid, token, quantity
-- Reply {0 pinned, token, epoch, quantity} {1 ended} {2 sold out, avail, soonest expiry} {REBUILD}
-- Keeps INV2, and every hold: takes only what is neither held nor sold. A pin that stands is joined.
-- Cost  O(log n), and at most 500 reaped holds before it is refused.
assert(#KEYS == 6 and #ARGV == 3, 'grab: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
local rid, token, quantity, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), now_ms()
local r = record(rid)
if r and r[STATE] == PINNED then return { 0, r[TOKEN], stock.epoch, r[QTY] } end
if r then return { 1 } end
if stock.avail < quantity then reap(stock, now, 500) end
if stock.avail < quantity then return { 2, math.max(0, stock.avail), first_score(D) } end
stock.avail, stock.held = stock.avail - quantity, stock.held + quantity
save_record(rid, { PINNED, 'o', ARGV[3], token, now, now, 0, 0, '-', '-', '-' })
commit(stock)
redis.call('ZADD', P, now, rid)
return { 0, token, stock.epoch, ARGV[3] }
