#!lua flags=allow-oom
-- Makes one SKU right again from whatever Redis holds, with what Postgres knows (R4 of the rebuild).
-- KEYS  the six, bn staged buyers (user -> bought back), which it consumes
-- ARGV  epoch, stocked, sold, returned, ver, ttl ms, cap, opens at, closes at, sale, terms version,
--       number of staged buyers, number of decided, per decided: rid, outcome; then per payment under way: rid, token, quantity, user, lines
-- Reply {0, held, live records, earliest deadline} {1 another rebuild came later, or what was
--       staged is not all there}
-- Keeps INV12: the records alone say what is held; counters, indexes and buyers are made anew from them.
-- Cost  O(records + buyers), about 5 us each; everything else waits for it.
-- Long, because nobody may see a SKU that is rebuilt by half.
assert(#KEYS == 7 and #ARGV >= 13 and (#ARGV - 13 - 2 * ARGV[13]) % 5 == 0, 'rebuild: arity')
local BN, CHUNK = KEYS[7], 500

local function keep_only(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
for key, kind in pairs({ [S] = 'hash', [H] = 'hash', [B] = 'hash', [BN] = 'hash', [D] = 'zset', [P] = 'zset', [G] = 'zset' }) do
  keep_only(key, kind)
end

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

-- Sends pairs in chunks, because one call takes only so many arguments.
local function write(command, key, pairs_of)
  for i = 1, #pairs_of, CHUNK do redis.call(command, key, unpack(pairs_of, i, math.min(i + CHUNK - 1, #pairs_of))) end
end

-- Mostly everything stands in an index already, and to say so again costs little. What stands there besides is nobody's.
local function remake(index, scores)
  write('ZADD', index, scores)
  if redis.call('ZCARD', index) > #scores / 2 then
    redis.call('DEL', index)
    write('ZADD', index, scores)
  end
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
local ID = '^%x+%-%x+%-%x+%-%x+%-%x+$'
local RECORD = '^([HPSE]) (%S+) (%d+) (%S+) (%d+) (%d+) (%d+) (%d+) %S+ (%S+) %S+(.*)$'

local function read(rid, packed)
  local state, kind, qty, token, deadline, created, ext, cap, user, rest = string.match(packed, RECORD)
  if state and #rid == 36 and string.find(rid, ID) and tonumber(qty) > 0
    and math.max(#qty, #deadline, #created, #ext, #cap) <= 15 then
    return state, kind, tonumber(qty), token, deadline, user, rest
  end
end

local due, pins, tombs, records, unreadable = {}, {}, {}, {}, {}
local held, live, slots, lives = 0, 0, {}, {}

local function count(rid, state, kind, qty, deadline, user)
  held, live = held + qty, live + 1
  if state == HELD then push(due, deadline, rid) else push(pins, now, rid) end
  if kind == 'o' then return end
  lives[user] = (lives[user] or 0) + qty
  if kind == 'n' and (not slots[user] or state == PINNED and not restored[slots[user]]) then slots[user] = rid end
end

local function end_as(rid, packed, state, reason)
  local r = unpack_fields(packed)
  r[STATE], r[EMAIL], r[REASON], r[ENDED], r[ACTOR] = state, '-', reason, now, 'rebuild'
  push(records, rid, table.concat(r, ' '))
  push(tombs, now, rid)
end

each(H, function(rid, packed)
  local state, kind, qty, token, deadline, user, rest = read(rid, packed)
  if not state then
    unreadable[#unreadable + 1] = rid
  elseif state == SOLD or state == END then
    if restored[rid] and restored[rid].token == token then restored[rid] = nil end
    if not restored[rid] then push(tombs, whole(string.match(rest, '^ %S+ (%S+)')) or now, rid) end
  elseif decided[rid] == 'CONFIRMED' then
    end_as(rid, packed, SOLD, 'confirmed')
  elseif decided[rid] then
    end_as(rid, packed, END, 'aborted')
  elseif not restored[rid] then
    count(rid, state, kind, qty, deadline, user)
  end
end)
for _, rid in ipairs(unreadable) do redis.call('HDEL', H, rid) end
for rid, want in pairs(restored) do
  push(records, rid, table.concat({ PINNED, 'n', want.qty, want.token, now, now, 0, 0, want.lines, want.user, '-' }, ' '))
  count(rid, PINNED, 'n', want.qty, now, want.user)
end
write('HSET', H, records)
remake(D, due)
remake(P, pins)
remake(G, tombs)

local bought, back, entries, strangers = {}, {}, {}, {}
each(BN, function(user, packed)
  bought[user], back[user] = string.match(packed, '^(%S+) (%S+)$')
  lives[user] = lives[user] or 0
end)
redis.call('DEL', BN)

local function buyer(user)
  return pack_buyer({ slot = slots[user] or '-', live = lives[user], bought = bought[user] or 0, back = back[user] or 0, last = '-' })
end

each(B, function(user, packed)
  local left = lives[user]
  if left == nil then
    strangers[#strangers + 1] = user
  elseif left then
    if back[user] then back[user] = math.max(back[user], whole(string.match(packed, '^%S+ %S+ %S+ (%S+)')) or 0) end
    local entry = buyer(user)
    if entry ~= packed then push(entries, user, entry) end
    lives[user] = false
  end
end)
for _, user in ipairs(strangers) do redis.call('HDEL', B, user) end
for user, left in pairs(lives) do
  if left then push(entries, user, buyer(user)) end
end
write('HSET', B, entries)

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
