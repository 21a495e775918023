#!lua flags=allow-oom
-- Applies a decision of Postgres to one line. Repeating it, or coming late, does nothing.
-- KEYS  the six
-- ARGV  rid, outcome (CONFIRMED or ABORTED), token and quantity of the decision's line, reason, actor
-- Reply {0 sold} {1 released} {2 nothing to do} {REBUILD}
-- Keeps INV2: the units of the record leave `held` once, to `sold` or back to `avail`.
-- Cost  O(log n).
assert(#KEYS == 6 and #ARGV == 6, 'settle: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
local now, rid = now_ms(), ARGV[1]
local r = record(rid)
if not r or (r[STATE] ~= HELD and r[STATE] ~= PINNED) then return { 2 } end
if ARGV[2] ~= 'CONFIRMED' or ARGV[3] ~= r[TOKEN] then
  release(stock, rid, r, ARGV[5], ARGV[6], now)
  commit(stock)
  return { 1 }
end
local held, sold = tonumber(r[QTY]), tonumber(ARGV[4])
stock.held, stock.sold, stock.avail = stock.held - held, stock.sold + sold, stock.avail + held - sold
leave_buyer(rid, r, held, sold)
close(rid, r, SOLD, 'confirmed', ARGV[6], now)
commit(stock)
return { 0 }
