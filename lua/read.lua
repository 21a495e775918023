#!lua flags=no-writes
-- Reads records as they stand.
-- KEYS  the six
-- ARGV  rids
-- Reply {0, now, record or empty string …} {REBUILD}
-- Cost  O(rids).
assert(#KEYS == 6 and #ARGV >= 1, 'read: arity')
if not load_stock() then return { REBUILD } end
local reply = { 0, now_ms() }
for i, rid in ipairs(ARGV) do reply[2 + i] = shown(rid) end
return reply
