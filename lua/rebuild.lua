#!lua flags=allow-oom
-- Makes one SKU right again from whatever Redis holds, with what Postgres knows (R4 of the rebuild).
-- KEYS  the six, bn staged buyers (user -> bought back), which it consumes
-- ARGV  epoch, stocked, sold, returned, ver, ttl ms, cap, opens at, closes at, sale, terms version,
--       number of staged buyers, number of decided, per decided: rid, outcome; then per payment under way: rid, token, quantity, user, lines
-- Reply {0, held, live records, earliest deadline} {1 another rebuild came later, or what was
--       staged is not all there}
-- Keeps INV12: the records alone say what is held; counters, indexes and buyers are made anew from them.
-- Cost  O(records + buyers), about 4 us each; everything else waits for it.
-- Long, because nobody may see a SKU that is rebuilt by half.
assert(#KEYS == 7 and #ARGV >= 13 and (#ARGV - 13 - 2 * ARGV[13]) % 5 == 0, 'rebuild: arity')
local BN, CHUNK = KEYS[7], 500

local function keep_only(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
for key, kind in pairs({ [S] = 'hash', [H] = 'hash', [B] = 'hash', [BN] = 'hash' }) do keep_only(key, kind) end

local epoch, now = tonumber(ARGV[1]), now_ms()
local stored = redis.call('HMGET', S, 'epoch', 'ver', 'stocked', 'returned', 'terms', 'claim')
if (tonumber(stored[1] or -1) or -1) >= epoch then return { 1 } end
-- Whoever claimed last applies: a rebuild that Redis forgot (FLUSHALL) while it was under way begins anew.
if tonumber(stored[6] or -1) ~= epoch then return { 1 } end
-- Staged buyers that lapsed or were flushed would be buyers who never bought.
if redis.call('HLEN', BN) ~= tonumber(ARGV[12]) then return { 1 } end

local function each(key, visit)
  local cursor = '0'
  repeat
    local page = redis.call('HSCAN', key, cursor, 'COUNT', 1000)
    cursor = page[1]
    for i = 1, #page[2], 2 do visit(page[2][i], page[2][i + 1]) end
  until cursor == '0'
end

-- Collects arguments and sends them in chunks, because one call takes only so many.
local function writer(command, key)
  local pending = {}
  local function flush()
    if #pending > 0 then redis.call(command, key, unpack(pending)) end
    pending = {}
  end
  return function(first, second)
    pending[#pending + 1], pending[#pending + 2] = first, second
    if #pending >= CHUNK then flush() end
  end, flush
end

local decided, restored = {}, {}
local at = 13 + 2 * ARGV[13]
for i = 14, at, 2 do decided[ARGV[i]] = ARGV[i + 1] end
for i = at + 1, #ARGV, 5 do
  restored[ARGV[i]] = { token = ARGV[i + 1], qty = ARGV[i + 2], user = ARGV[i + 3], lines = ARGV[i + 4] }
end

-- What may stand in a record: `tonumber` takes -1, 0.5 and nan as well, and they would make up units.
local function whole(text) return text and #text <= 15 and string.find(text, '^%d+$') and tonumber(text) end

-- A record under a name that is no id could never be decided, and would stop the recovery of all others.
local function readable(rid, r)
  return #rid == 36 and string.find(rid, '^%x+%-%x+%-%x+%-%x+%-%x+$') and #r >= 11 and #r[STATE] == 1
    and string.find('HPSE', r[STATE], 1, true) and (whole(r[QTY]) or 0) > 0 and whole(r[DEADLINE])
    and whole(r[CREATED]) and whole(r[EXT]) and whole(r[CAP])
end

local backs = {}
each(B, function(user, packed) backs[user] = whole(unpack_fields(packed)[4]) end)
redis.call('DEL', D, P, G, B)
local to_due, due_done = writer('ZADD', D)
local to_pins, pins_done = writer('ZADD', P)
local to_ended, ended_done = writer('ZADD', G)
local changed, held, live, users = {}, 0, 0, {}

local function count(rid, r)
  held, live = held + r[QTY], live + 1
  if r[STATE] == HELD then to_due(r[DEADLINE], rid) else to_pins(now, rid) end
  if r[KIND] == 'o' then return end
  local buyer = users[r[USER]] or { slot = '-', live = 0, bought = 0, back = 0, last = '-' }
  buyer.live = buyer.live + r[QTY]
  if r[KIND] == 'n' and (buyer.slot == '-' or r[STATE] == PINNED and not restored[buyer.slot]) then buyer.slot = rid end
  users[r[USER]] = buyer
end

local function end_as(rid, r, state, reason)
  r[STATE], r[EMAIL], r[REASON], r[ENDED], r[ACTOR] = state, '-', reason, now, 'rebuild'
  changed[rid] = r
  to_ended(now, rid)
end

each(H, function(rid, packed)
  local r = unpack_fields(packed)
  if not readable(rid, r) then
    changed[rid] = false
  elseif r[STATE] == SOLD or r[STATE] == END then
    to_ended(whole(r[ENDED]) or now, rid)
    if restored[rid] and restored[rid].token == r[TOKEN] then restored[rid] = nil end
  elseif decided[rid] == 'CONFIRMED' then
    end_as(rid, r, SOLD, 'confirmed')
  elseif decided[rid] then
    end_as(rid, r, END, 'aborted')
  elseif not restored[rid] then
    count(rid, r)
  end
end)
ended_done()
for rid, want in pairs(restored) do
  local r = { PINNED, 'n', want.qty, want.token, now, now, 0, 0, want.lines, want.user, '-' }
  changed[rid] = r
  redis.call('ZREM', G, rid)
  count(rid, r)
end
local to_records, records_done = writer('HSET', H)
for rid, r in pairs(changed) do
  if r then to_records(rid, table.concat(r, ' ')) else redis.call('HDEL', H, rid) end
end
records_done()
due_done()
pins_done()

each(BN, function(user, packed)
  local f = unpack_fields(packed)
  local buyer = users[user] or { slot = '-', live = 0, last = '-' }
  buyer.bought, buyer.back = tonumber(f[1]), math.max(tonumber(f[2]), backs[user] or 0)
  users[user] = buyer
end)
redis.call('DEL', BN)
local to_buyers, buyers_done = writer('HSET', B)
for user, buyer in pairs(users) do
  to_buyers(user, pack_buyer(buyer))
end
buyers_done()

local stocked, returned, ver = tonumber(ARGV[2]), ARGV[4], tonumber(ARGV[5])
if (whole(stored[2]) or -1) > ver and whole(stored[3]) and whole(stored[4]) then
  stocked, returned, ver = tonumber(stored[3]), stored[4], stored[2]
end
if (tonumber(stored[5] or -1) or -1) <= tonumber(ARGV[11]) then
  redis.call('HSET', S, 'ttl_ms', ARGV[6], 'cap', ARGV[7], 'opens_at', ARGV[8], 'closes_at', ARGV[9], 'sale', ARGV[10],
    'terms', ARGV[11])
end
redis.call('HSET', S, 'ready', 1, 'epoch', epoch, 'stocked', stocked, 'returned', returned, 'ver', ver, 'sold', ARGV[3],
  'held', held, 'avail', stocked - ARGV[3] - held)
return { 0, held, live, first_score(D) }
