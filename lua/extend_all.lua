#!lua
-- Gives all holds of a SKU the same time more, each once, a page a call. It walks the records and not their deadlines,
-- which buyers move while it is on its way.
-- KEYS  the six, seen x; then news n, if anybody wants to hear of it
-- ARGV  operation, more ms, longest life ms, about how many records
-- Reply {0 more to do|1 done, extended, skipped, passed over (lines of several)} {2 another one is under way, operation,
--       more ms} {REBUILD}
-- The stock remembers how far the operation has come, x whom it has met: a call whose answer was lost goes on, one that is
-- done answers what it did, and a record that the walk meets again (HSCAN may) is left alone. Under another epoch Redis
-- may be another process, whose cursors are others: the walk begins anew, and x still knows. A hold that was made after the
-- operation began is left alone, and so is one that could not live longer.
-- Cost  O(log n) a hold.
assert((#KEYS == 7 or #KEYS == 8) and #ARGV == 4, 'extend_all: arity')
local X, KEPT_MS = KEYS[7], 8 * 24 * 3600 * 1000 -- longer than a hold may live
NEWS = KEYS[8]
local stock = load_stock()
if not stock then return { REBUILD } end
local now, more, life = now_ms(), tonumber(ARGV[2]), tonumber(ARGV[3])
local op = unpack_fields(redis.call('HGET', S, 'extension') or '')
if op[1] and op[1] ~= ARGV[1] and op[9] ~= '1' then return { 2, op[1], op[2] } end
if op[1] ~= ARGV[1] then op = { ARGV[1], ARGV[2], now, stock.epoch, '0', 0, 0, 0, '0' } end
if op[9] == '1' then return { 1, op[6], op[7], op[8] } end
if op[4] ~= stock.epoch then op[4], op[5] = stock.epoch, '0' end

local function give_time(rid, r)
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

local cursor, page = unpack(redis.call('HSCAN', H, op[5], 'COUNT', ARGV[4]))
for i = 1, #page, 2 do
  local rid, r = page[i], record(page[i], page[i + 1])
  local meant = r[STATE] == HELD and not is_due(r, now) and tonumber(r[CREATED]) <= tonumber(op[3])
  if meant and redis.call('SADD', X, rid) == 1 then give_time(rid, r) end
end
op[5] = cursor
if cursor == '0' then
  op[9] = '1'
  redis.call('UNLINK', X)
else
  redis.call('PEXPIRE', X, KEPT_MS)
end
commit(stock)
redis.call('HSET', S, 'extension', table.concat(op, ' '))
return { tonumber(op[9]), op[6], op[7], op[8] }
