#!lua
-- Holds units of one SKU for each request of a batch; every request gets its own answer.
-- KEYS  the six, then per request: timer t, churn c; then news n, if anybody wants to hear of holds
-- ARGV  default ttl ms, churn tolerance ms (0 = off), 1 if this call may have run before (its answer was lost), then
--       per request:
--       rid, token, user, quantity, ttl ms (0 = the product's), lines (- or SKUs or @), short ttl ms (0 = none), email (or -)
-- Reply {0, now, earliest deadline, answer …} or {REBUILD}; an answer is a ttl in ms | (made as it was asked for, which
--       mostly happens, so it is told with no list) {0 made before | 1 standing, rid, quantity, deadline, created, state,
--       ttl ms} {2 already held, rid}
--       {3 sold out, avail, soonest expiry} {4 buyer limit, cap, live, bought} {5 not open, opens at} {6 closed}
--       {7 paused} {8 ttl too long, most ms} {9 churn, retry ms} {10 unknown product}
-- Keeps INV2, INV10 (refuses only after due holds were reaped) and one live hold per buyer.
-- Cost  O(log n) a request, and at most 32 reaped holds for each that would be refused.
-- Long, because all that may refuse a hold must be asked in the call that makes it.
local FIELDS, FIRST = 8, 3
assert(#KEYS >= 8 and #ARGV == FIRST + FIELDS * math.floor((#KEYS - 6) / 2), 'reserve: arity')
NEWS = #KEYS % 2 == 1 and KEYS[#KEYS]
local stock = load_stock()
if not stock then return { REBUILD } end
local now = now_ms()
local default_ttl, tolerance, again = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local terms = redis.call('HMGET', S, 'ttl_ms', 'cap', 'opens_at', 'closes_at', 'sale')
local ttl_most, cap = tonumber(terms[1]), tonumber(terms[2])
if ttl_most == 0 then ttl_most = default_ttl end

local function sale_refusal()
  if terms[5] == 'hidden' then return { 10 } end
  if terms[5] == 'paused' then return { 7 } end
  if now < tonumber(terms[3]) then return { 5, terms[3] } end
  local closes = tonumber(terms[4])
  if terms[5] == 'closed' or terms[5] == 'draining' or (closes > 0 and now >= closes) then return { 6 } end
end

-- Whether `delta` more units may be taken by this buyer: the sale, the cap, then the stock.
local function refusal(buyer, delta)
  local refused = sale_refusal()
  if refused then return refused end
  local bought = buyer.bought - buyer.back
  if cap > 0 and buyer.live + bought + delta > cap then return { 4, cap, buyer.live, bought } end
  if stock.avail < delta then reap(stock, now, 32) end
  if stock.avail < delta then return { 3, math.max(0, stock.avail), first_score(D) } end
end

local churn_keys, churned = {}, {}
for k = 8, #KEYS, 2 do push(churn_keys, KEYS[k]) end
if tolerance > 0 then churned = redis.call('MGET', unpack(churn_keys)) end

local function churn_refusal(i)
  local ahead = tonumber(churned[i] or 0) - now - tolerance
  if ahead > 0 then return { 9, ahead } end
end

-- Formatting a number costs as much as writing it, and those of a batch are mostly the same.
local texts = {}
local function text(number)
  texts[number] = texts[number] or string.format('%d', number)
  return texts[number]
end

local ttl_granted = 0

local function standing(status, rid, r)
  return { status, rid, r[QTY], r[DEADLINE], r[CREATED], r[STATE], ttl_granted }
end

-- Changes the quantity of a hold that stands; its deadline and token stay.
local function move(rid, r, qty)
  local delta, buyer = qty - tonumber(r[QTY]), buyers[r[USER]]
  if delta ~= 0 then
    local refused = delta > 0 and refusal(buyer, delta)
    if refused then return refused end
    stock.avail, stock.held, buyer.live = stock.avail - delta, stock.held + delta, buyer.live + delta
    save_buyer(r[USER], buyer)
    r[QTY] = qty
    save_record(rid, r)
    tell('held', rid, r)
  end
  return standing(1, rid, r)
end

local function create(timer, rid, token, user, buyer, qty, ttl, lines, email)
  local refused = refusal(buyer, qty)
  if refused then return refused end
  local deadline = text(now + ttl)
  local r = { HELD, 'n', text(qty), token, deadline, text(now), '0', terms[2], lines, user, email }
  stock.avail, stock.held = stock.avail - qty, stock.held + qty
  buyer.slot, buyer.live = rid, buyer.live + qty
  save_buyer(user, buyer)
  save_record(rid, r)
  if lines == '-' then tell('held', rid, r) end
  push(opened, deadline, rid)
  redis.call('SET', timer, token, 'PX', text(ttl))
  return ttl_granted
end

local function reserve(i, timer, rid, token, user, qty, ttl, lines, short, email)
  if ttl == 0 then ttl = ttl_most end
  ttl_granted = ttl
  local own = again and record(rid)
  if own then return standing(0, rid, own) end
  if ttl > ttl_most then return { 8, ttl_most } end
  local buyer = buyers[user]
  local slot = buyer.slot
  local r = slot ~= '-' and record(slot)
  if r and is_due(r, now) then release(stock, slot, r, 'expired', 'clock', now); r = nil end
  if r then
    if lines ~= '-' or r[LINES] ~= '-' then return { 2, slot } end
    if r[STATE] == HELD then return move(slot, r, qty) end
    if tonumber(r[QTY]) == qty then return standing(1, slot, r) end
    return { 2, slot }
  end
  if short > 0 then ttl = short end
  return churn_refusal(i) or create(timer, rid, token, user, buyer, qty, ttl, lines, email)
end

local reply, users = { 0, now, 0 }, {}
for i = 1, #churn_keys do push(users, ARGV[FIRST + (i - 1) * FIELDS + 3]) end
load_buyers(users)
for i = 1, #churn_keys do
  local a = FIRST + (i - 1) * FIELDS
  reply[3 + i] = reserve(i, KEYS[5 + 2 * i], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4]),
    tonumber(ARGV[a + 5]), ARGV[a + 6], tonumber(ARGV[a + 7]), ARGV[a + 8])
end
commit(stock)
reply[3] = first_score(D)
return reply
