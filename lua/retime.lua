#!lua
-- Moves the deadlines of running holds to where a changed hold time puts them, counted from when each was made.
-- KEYS  the six, then per hold: timer t; then news n, if anybody wants to hear of it
-- ARGV  hold time ms, longest life ms, then per hold: rid
-- Reply {0, now, moved, earliest deadline} {1 the product has a hold time of its own} {REBUILD}
-- Only what is held and not due is moved: a pin is the decision's, and a hold of several products ends with all its
-- lines. A second is left at least. The longest life shortens nothing. Repeating it does nothing more.
-- Cost  O(log n) a hold.
local FIRST, LEAST = 2, 1000
assert(#KEYS >= 7 and #ARGV >= FIRST + 1 and #KEYS - 6 >= #ARGV - FIRST and #KEYS - 6 <= #ARGV - FIRST + 1, 'retime: arity')
NEWS = #KEYS - 6 > #ARGV - FIRST and KEYS[#KEYS] or nil
local stock = load_stock()
if not stock then return { REBUILD } end
if tonumber(redis.call('HGET', S, 'ttl_ms')) ~= 0 then return { 1 } end
local now, ttl, life, moved = now_ms(), tonumber(ARGV[1]), tonumber(ARGV[2]), {}

local function retime(timer, rid)
  local r = record(rid)
  if not r or r[STATE] ~= HELD or r[LINES] ~= '-' or is_due(r, now) then return end
  local created, deadline = tonumber(r[CREATED]), tonumber(r[DEADLINE])
  local wanted = math.max(math.min(deadline, now + LEAST), created + math.min(ttl, math.max(life, deadline - created)))
  if wanted == deadline then return end
  r[DEADLINE] = string.format('%d', wanted)
  save_record(rid, r)
  tell('extended', rid, r)
  push(opened, r[DEADLINE], rid)
  push(moved, timer, r)
end

for i = FIRST + 1, #ARGV do retime(KEYS[6 + i - FIRST], ARGV[i]) end
commit(stock)
for i = 1, #moved, 2 do
  local timer, r = moved[i], moved[i + 1]
  redis.call('SET', timer, r[TOKEN], 'PX', r[DEADLINE] - now)
end
return { 0, now, #moved / 2, first_score(D) }
