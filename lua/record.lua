-- Shared by every script below: it stands between a script's first line and its body (ADR-3).
--
-- KEYS[1] s stock   KEYS[2] h records   KEYS[3] d deadlines   KEYS[4] p pins   KEYS[5] g ended   KEYS[6] b buyers
-- The rule that everything rests on: units go back to `avail` only in the call that moves a record out of HELD or
-- PINNED (`release`), so a late, repeated or forged signal finds no such record and does nothing.

local S, H, D, P, G, B = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local REBUILD = 100

-- A record is its fields with blanks between them; the last three are there once it has ended.
local STATE, KIND, QTY, TOKEN, DEADLINE, CREATED, EXT, CAP, LINES, USER, EMAIL, REASON, ENDED, ACTOR =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
local HELD, PINNED, SOLD, END = 'H', 'P', 'S', 'E'

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Deadlines stand in records and in their index on the expiry clock, which is LAG ms behind the server's: it stood still
-- while expiry was frozen, and while FROZEN it does. Scripts reckon with the server's: what is read is put forward by
-- LAG, what is written is put back by it, so that a freeze and its end cost one write a SKU.
local LAG, FROZEN = 0, false

local function unpack_fields(packed)
  local fields = {}
  for field in string.gmatch(packed, '%S+') do fields[#fields + 1] = field end
  return fields
end

-- Making a text of a number costs as much as writing it, and those of a batch are mostly the same.
local texts = {}
local function text(number)
  texts[number] = texts[number] or string.format('%d', number)
  return texts[number]
end

-- What this call has read, by id and by user (false: there is none), and what it has changed. Both are written by
-- `commit`, in as few calls as there are keys: a batch costs little more than one, and a call that fails has done
-- nothing. A record that was made in this call is kept packed, because mostly nobody asks for it again.
local records, buyers, made = {}, {}, {}
local changed_records, changed_buyers, packed_records, opened, closed, ended = {}, {}, {}, {}, {}, {}

local function push(list, first, second)
  local last = #list
  list[last + 1], list[last + 2] = first, second
end

-- News of holds, for whoever wants to hear of it: NEWS is a stream that the caller names while somebody does. Should
-- nobody come for it, only the latest hundred thousand are kept.
local NEWS, news = nil, {}

local function tell(what, rid, r)
  if NEWS then push(news, what, rid .. ' ' .. table.concat(r, ' ')) end
end

-- `read` is how it stands packed in Redis, where the caller has read it with others.
local function record(rid, read)
  if records[rid] == nil then
    local packed = made[rid] or read or redis.call('HGET', H, rid)
    local r = packed and unpack_fields(packed)
    if r and LAG > 0 then r[DEADLINE] = string.format('%d', r[DEADLINE] + LAG) end
    records[rid] = r
  end
  return records[rid]
end

-- A record as it is shown, or an empty string.
local function shown(rid)
  local r = LAG > 0 and record(rid)
  return r and table.concat(r, ' ') or redis.call('HGET', H, rid) or ''
end

local function pack(r)
  local deadline = r[DEADLINE]
  if LAG > 0 then r[DEADLINE] = string.format('%d', deadline - LAG) end
  local packed = table.concat(r, ' ')
  r[DEADLINE] = deadline
  return packed
end

local function save_record(rid, r) records[rid], changed_records[rid] = r, r end

-- A record that did not exist, packed as `pack` would.
local function make_record(rid, packed)
  records[rid], made[rid] = nil, packed
  push(packed_records, rid, packed)
end

-- The counters, or nil when this SKU must be rebuilt first: Redis does not have it, or it was closed because Redis
-- may have gone back in time.
local function load_stock()
  local f = redis.call('HMGET', S, 'epoch', 'avail', 'held', 'sold', 'ready', 'lag', 'frozen')
  local avail, held, sold = tonumber(f[2]), tonumber(f[3]), tonumber(f[4])
  if not (tonumber(f[1]) and avail and held and sold and f[5]) then return nil end
  LAG = tonumber(f[6] or 0) or 0
  local since = tonumber(f[7] or 0) or 0
  if since > 0 then LAG, FROZEN = LAG + math.max(0, now_ms() - since), true end
  return { epoch = f[1], avail = avail, held = held, sold = sold }
end

-- A buyer: slot (the one live hold of kind n, or -), live units, bought (only grows), back (only grows), and last
-- (the hold that ended last, or -, as long as its tombstone stands).
local function unpack_buyer(packed)
  if not packed then return { slot = '-', live = 0, bought = 0, back = 0, last = '-' } end
  local f = unpack_fields(packed)
  return { slot = f[1], live = f[2], bought = f[3], back = f[4], last = f[5] }
end

local function load_buyer(user)
  buyers[user] = buyers[user] or unpack_buyer(redis.call('HGET', B, user))
  return buyers[user]
end

-- Those of a batch, in one call.
local function load_buyers(users)
  for i, packed in ipairs(redis.call('HMGET', B, unpack(users))) do buyers[users[i]] = unpack_buyer(packed) end
end

local function save_buyer(user, b) changed_buyers[user] = b end

local function pack_buyer(b)
  return b.slot .. ' ' .. text(b.live) .. ' ' .. text(b.bought) .. ' ' .. text(b.back) .. ' ' .. b.last
end

local function send(command, key, arguments)
  if #arguments > 0 then redis.call(command, key, unpack(arguments)) end
end

-- Counters change only where records do.
local function commit(stock)
  local packed, kept, dropped = packed_records, {}, {}
  for rid, r in pairs(changed_records) do push(packed, rid, pack(r)) end
  for user, b in pairs(changed_buyers) do
    local entry = pack_buyer(b)
    if entry == '- 0 0 0 -' then push(dropped, user) else push(kept, user, entry) end
  end
  if LAG > 0 then
    for i = 1, #opened, 2 do opened[i] = string.format('%d', opened[i] - LAG) end
  end
  send('HSET', H, packed)
  send('HSET', B, kept)
  send('HDEL', B, dropped)
  send('ZADD', D, opened)
  send('ZREM', D, closed)
  send('ZREM', P, closed)
  send('ZADD', G, ended)
  if #packed > 0 then redis.call('HSET', S, 'avail', stock.avail, 'held', stock.held, 'sold', stock.sold) end
  while #news > 0 do redis.call('XADD', NEWS, 'MAXLEN', '~', 100000, '*', table.remove(news, 1), table.remove(news, 1)) end
  changed_records, changed_buyers, packed_records, opened, closed, ended = {}, {}, {}, {}, {}, {}
end

-- The end of a live record's life, whichever it is: out of both indexes, into the tombstones.
local function close(rid, r, state, reason, actor, now)
  push(closed, rid)
  push(ended, now, rid)
  r[STATE], r[EMAIL], r[REASON], r[ENDED], r[ACTOR] = state, '-', reason, now, actor
  save_record(rid, r)
end

-- Takes the units of an ended record from its buyer's live ones; the slot is cleared only if it is this one's.
local function leave_buyer(rid, r, qty, sold)
  if r[KIND] == 'o' then return end
  local buyer = load_buyer(r[USER])
  buyer.live, buyer.bought = buyer.live - qty, buyer.bought + sold
  if buyer.slot == rid then buyer.slot = '-' end
  if r[KIND] == 'n' then buyer.last = rid end
  save_buyer(r[USER], buyer)
end

-- Gives the units of a live record back.
local function release(stock, rid, r, reason, actor, now)
  local qty = tonumber(r[QTY])
  stock.avail, stock.held = stock.avail + qty, stock.held - qty
  leave_buyer(rid, r, qty, 0)
  close(rid, r, END, reason, actor, now)
end

local function is_due(r, now) return r[STATE] == HELD and tonumber(r[DEADLINE]) <= now end

-- Releases up to `limit` holds that are past their deadline; answers how many and the greatest lateness in ms.
local function reap(stock, now, limit)
  local count, lag = 0, 0
  for _, rid in ipairs(redis.call('ZRANGEBYSCORE', D, '-inf', now - LAG, 'LIMIT', 0, limit)) do
    local r = record(rid)
    if r and is_due(r, now) then
      lag = math.max(lag, now - tonumber(r[DEADLINE]))
      release(stock, rid, r, 'expired', 'clock', now)
      count = count + 1
    else
      redis.call('ZREM', D, rid)
    end
  end
  commit(stock)
  return count, lag
end

local function first_score(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  local score = tonumber(first[2] or 0)
  if key ~= D or score == 0 then return score end
  return FROZEN and 0 or score + LAG
end

-- How many entries of an index stand before this place.
local function rank(index, score, rid)
  local low, high = redis.call('ZCOUNT', index, '-inf', '(' .. score), redis.call('ZCOUNT', index, '-inf', score)
  -- Halves what is left each time, so it ends.
  for _ = 1, 53 do
    if low >= high then return low end
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', index, middle, middle)[1] < rid then low = middle + 1 else high = middle end
  end
end
