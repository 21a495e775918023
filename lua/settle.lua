#!lua flags=allow-oom
-- Applies decisions of Postgres to lines. Repeating one, or coming late with it, does nothing.
-- KEYS  the six
-- ARGV  per line: rid, outcome (CONFIRMED or ABORTED), token and quantity of the decision's line, reason, actor
-- Reply {0, per line: 0 sold|1 released|2 nothing to do} {REBUILD}
-- Keeps INV2: the units of the record leave `held` once, to `sold` or back to `avail`.
-- Cost  O(log n) a line.
local FIELDS = 6
assert(#KEYS == 6 and #ARGV >= FIELDS and #ARGV % FIELDS == 0, 'settle: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
local now = now_ms()

local function settle(rid, outcome, token, quantity, reason, actor)
  local r = record(rid)
  if not r or (r[STATE] ~= HELD and r[STATE] ~= PINNED) then return 2 end
  if outcome ~= 'CONFIRMED' or token ~= r[TOKEN] then
    release(stock, rid, r, reason, actor, now)
    return 1
  end
  local held, sold = tonumber(r[QTY]), tonumber(quantity)
  stock.held, stock.sold, stock.avail = stock.held - held, stock.sold + sold, stock.avail + held - sold
  leave_buyer(rid, r, held, sold)
  close(rid, r, SOLD, 'confirmed', actor, now)
  return 0
end

local reply = { 0 }
for i = 1, #ARGV, FIELDS do
  push(reply, settle(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]))
end
commit(stock)
return reply
