#!lua
-- Moves the deadlines of all holds of a SKU by the same time, a page a call, from the latest deadline to the earliest:
-- what was moved stands behind the place where the next page begins, so nothing is moved twice.
-- KEYS  the six; then news n, if anybody wants to hear of it
-- ARGV  operation, more ms, longest life ms, most holds
-- Reply {0 more to do|1 done, extended, skipped, passed over (lines of several)} {2 another one is under way, operation,
--       more ms} {REBUILD}
-- The stock remembers how far the operation has come: a call whose answer was lost goes on, and one that is done answers
-- what it did. A hold that was made after it began is left alone, and so is one that could not live longer.
-- Cost  O(log n) a hold.
assert((#KEYS == 6 or #KEYS == 7) and #ARGV == 4, 'extend_all: arity')
NEWS = KEYS[7]
local stock = load_stock()
if not stock then return { REBUILD } end
local now, more, life, most = now_ms(), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local op = unpack_fields(redis.call('HGET', S, 'mass') or '')
if op[1] and op[1] ~= ARGV[1] and op[9] ~= '1' then return { 2, op[1], op[2] } end
if op[1] ~= ARGV[1] then op = { ARGV[1], ARGV[2], now, 0, '-', 0, 0, 0, '0' } end
if op[9] == '1' then return { 1, op[6], op[7], op[8] } end

local below = op[5] == '-' and redis.call('ZCARD', D) or rank(D, op[4], op[5])
local first = math.max(0, below - most)
local page = below > 0 and redis.call('ZRANGE', D, first, below - 1, 'WITHSCORES') or {}
for i = 1, #page, 2 do
  local rid = page[i]
  local r = record(rid)
  if r and r[STATE] == HELD and not is_due(r, now) and tonumber(r[CREATED]) <= tonumber(op[3]) then
    local deadline = math.min(r[DEADLINE] + more, r[CREATED] + life)
    if r[LINES] ~= '-' then
      op[8] = op[8] + 1
    elseif deadline <= tonumber(r[DEADLINE]) then
      op[7] = op[7] + 1
    else
      r[DEADLINE] = string.format('%d', deadline)
      save_record(rid, r)
      tell('extended', rid, r)
      push(opened, r[DEADLINE], rid)
      op[6] = op[6] + 1
    end
  end
end
if first == 0 then op[9] = '1' else op[4], op[5] = page[2], page[1] end
commit(stock)
redis.call('HSET', S, 'mass', table.concat(op, ' '))
return { tonumber(op[9]), op[6], op[7], op[8] }
