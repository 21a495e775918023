#!lua flags=allow-oom
-- Releases the holds of a closed sale, a page a call, from the earliest deadline to the latest. Pins stay: a decision
-- ends them.
-- KEYS  the six
-- ARGV  actor, reason, place of the page before: its score and id (- = from the beginning), most holds
-- Reply {0, now, released, score and id of the next place (- = that was all), {rid, user} …} {1 the sale is not closed}
--       {REBUILD}
-- Lines of reservations of several products are listed, not released: their home line decides, and it may be elsewhere.
-- Keeps INV5: only what is HELD is released. A call whose answer was lost may be repeated.
-- Cost  O(log n) a hold.
assert(#KEYS == 6 and #ARGV == 5, 'close_all: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
if redis.call('HGET', S, 'sale') ~= 'closed' then return { 1 } end
local now, most = now_ms(), tonumber(ARGV[5])
local from = ARGV[4] == '-' and 0 or rank(D, ARGV[3], ARGV[4])
if redis.call('ZRANGE', D, from, from)[1] == ARGV[4] then from = from + 1 end
local page = redis.call('ZRANGE', D, from, from + most - 1, 'WITHSCORES')
local reply = { 0, now, 0, 0, '-' }
for i = 1, #page, 2 do
  local rid = page[i]
  local r = record(rid)
  if r and is_due(r, now) then
    release(stock, rid, r, 'expired', 'clock', now)
  elseif r and r[STATE] == HELD and r[LINES] == '-' then
    release(stock, rid, r, ARGV[2], ARGV[1], now)
    reply[3] = reply[3] + 1
  elseif r and r[STATE] == HELD then
    reply[#reply + 1] = { rid, r[USER] }
  end
end
if #page == 2 * most then reply[4], reply[5] = page[#page], page[#page - 1] end
commit(stock)
return reply
