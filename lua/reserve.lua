#!lua
-- Holds units of one SKU for each request of a batch; every request gets its own answer.
-- KEYS  the six, then per request: timer t, churn c; then news n, if anybody wants to hear of holds
-- ARGV  default ttl ms, churn tolerance ms (0 = off), 1 if this call may have run before (its answer was lost), then
--       per request: rid, token, user, wish. A wish is mostly like others of its batch, and is taken apart once: quantity,
--       ttl ms (0 = the product's), lines (- or SKUs or @), short ttl ms (0 = none), email (or -), with blanks between
-- Reply {0, now, earliest deadline, answer …} or {REBUILD}; an answer is a ttl in ms | (made as it was asked for, which
--       mostly happens, so it is told with no list) {0 made before | 1 standing, rid, quantity, deadline, created, state,
--       ttl ms} {2 already held, rid}
--       {3 sold out, avail, soonest expiry} {4 buyer limit, cap, live, bought} {5 not open, opens at} {6 closed}
--       {7 paused} {8 ttl too long, most ms} {9 churn, retry ms} {10 unknown product}
-- Keeps INV2, INV10 (refuses only after due holds were reaped) and one live hold per buyer.
-- Cost  O(log n) a request, and at most 32 reaped holds for each that would be refused.
-- Long, because all that may refuse a hold must be asked in the call that makes it.
local FIELDS, FIRST = 4, 3
assert(#KEYS >= 8 and #ARGV == FIRST + FIELDS * math.floor((#KEYS - 6) / 2), 'reserve: arity')
NEWS = #KEYS % 2 == 1 and KEYS[#KEYS]
local stock = load_stock()
if not stock then return { REBUILD } end
local now = now_ms()
local default_ttl, tolerance, again = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local terms = redis.call('HMGET', S, 'ttl_ms', 'cap', 'opens_at', 'closes_at', 'sale', 'churn')
local ttl_most, cap = tonumber(terms[1]), tonumber(terms[2])
if ttl_most == 0 then ttl_most = default_ttl end

local function sale_refusal()
  if terms[5] == 'hidden' then return { 10 } end
  if terms[5] == 'paused' then return { 7 } end
  if now < tonumber(terms[3]) then return { 5, terms[3] } end
  local closes = tonumber(terms[4])
  if terms[5] == 'closed' or terms[5] == 'draining' or (closes > 0 and now >= closes) then return { 6 } end
end

local refused_by_sale = sale_refusal()

-- Whether `delta` more units may be taken by this buyer: the sale, the cap, then the stock.
local function refusal(buyer, delta)
  if refused_by_sale then return refused_by_sale end
  local bought = buyer.bought - buyer.back
  if cap > 0 and buyer.live + bought + delta > cap then return { 4, cap, buyer.live, bought } end
  if stock.avail < delta then reap(stock, now, 32) end
  if stock.avail < delta then return { 3, math.max(0, stock.avail), first_score(D) } end
end

-- Nobody's cancels reach further than `churn` of the stock, so mostly there is nobody to look at.
local churned = {}
if tolerance > 0 and tonumber(terms[6] or 0) - now - tolerance > 0 then
  local churn_keys = {}
  for k = 8, #KEYS, 2 do push(churn_keys, KEYS[k]) end
  churned = redis.call('MGET', unpack(churn_keys))
end

local function churn_refusal(i)
  local ahead = tonumber(churned[i]) - now - tolerance
  if ahead > 0 then return { 9, ahead } end
end

local function take_apart(packed)
  local qty, ttl, lines, short, email = string.match(packed, '^(%d+) (%d+) (%S+) (%d+) (%S+)$')
  local w = { qty = tonumber(qty), ttl = tonumber(ttl), lines = lines }
  if w.ttl == 0 then w.ttl = ttl_most end
  w.lasts = tonumber(short) > 0 and tonumber(short) or w.ttl
  w.until_ms, w.lasts_ms = text(now + w.lasts), text(w.lasts)
  -- Its record, around the token and the user.
  w.head = HELD .. ' n ' .. qty .. ' '
  w.middle = ' ' .. text(now + w.lasts - LAG) .. ' ' .. text(now) .. ' 0 ' .. terms[2] .. ' ' .. lines .. ' '
  w.tail = ' ' .. email
  return w
end

local wishes = {}
local function wish(packed)
  wishes[packed] = wishes[packed] or take_apart(packed)
  return wishes[packed]
end

local function standing(status, rid, r, w)
  return { status, rid, r[QTY], r[DEADLINE], r[CREATED], r[STATE], w.ttl }
end

-- Changes the quantity of a hold that stands; its deadline and token stay.
local function move(rid, r, w)
  local delta, buyer = w.qty - tonumber(r[QTY]), buyers[r[USER]]
  if delta ~= 0 then
    local refused = delta > 0 and refusal(buyer, delta)
    if refused then return refused end
    stock.avail, stock.held, buyer.live = stock.avail - delta, stock.held + delta, buyer.live + delta
    save_buyer(r[USER], buyer)
    r[QTY] = w.qty
    save_record(rid, r)
    tell('held', rid, r)
  end
  return standing(1, rid, r, w)
end

local function create(timer, rid, token, user, buyer, w)
  local refused = refusal(buyer, w.qty)
  if refused then return refused end
  stock.avail, stock.held = stock.avail - w.qty, stock.held + w.qty
  buyer.slot, buyer.live = rid, buyer.live + w.qty
  save_buyer(user, buyer)
  make_record(rid, w.head .. token .. w.middle .. user .. w.tail)
  if NEWS and w.lines == '-' then tell('held', rid, record(rid)) end
  push(opened, w.until_ms, rid)
  redis.call('SET', timer, token, 'PX', w.lasts_ms)
  return w.ttl
end

local function reserve(i, timer, rid, token, user, w)
  local own = again and record(rid)
  if own then return standing(0, rid, own, w) end
  if w.ttl > ttl_most then return { 8, ttl_most } end
  local buyer = buyers[user]
  local slot = buyer.slot
  local r = slot ~= '-' and record(slot)
  if r and is_due(r, now) then release(stock, slot, r, 'expired', 'clock', now); r = nil end
  if r then
    if w.lines ~= '-' or r[LINES] ~= '-' then return { 2, slot } end
    if r[STATE] == HELD then return move(slot, r, w) end
    if tonumber(r[QTY]) == w.qty then return standing(1, slot, r, w) end
    return { 2, slot }
  end
  return churned[i] and churn_refusal(i) or create(timer, rid, token, user, buyer, w)
end

local reply, users, wanted = { 0, now, 0 }, {}, {}
for a = FIRST + 1, #ARGV, FIELDS do
  push(users, ARGV[a + 2])
  push(wanted, wish(ARGV[a + 3]))
end
load_buyers(users)
for i = 1, #users do
  local a = FIRST + (i - 1) * FIELDS
  reply[3 + i] = reserve(i, KEYS[5 + 2 * i], ARGV[a + 1], ARGV[a + 2], users[i], wanted[i])
end
commit(stock)
reply[3] = first_score(D)
return reply
