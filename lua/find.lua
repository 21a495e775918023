#!lua flags=no-writes
-- The one live hold of a buyer on this SKU, or the one that ended last while its tombstone stands.
-- KEYS  the six
-- ARGV  user
-- Reply {0, now, rid, record} {1 none} {REBUILD}
-- Cost  O(1).
assert(#KEYS == 6 and #ARGV == 1, 'find: arity')
if not load_stock() then return { REBUILD } end
local buyer = load_buyer(ARGV[1])
local rid = buyer.slot ~= '-' and buyer.slot or buyer.last
local packed = rid ~= '-' and shown(rid) or ''
if packed == '' then return { 1 } end
return { 0, now_ms(), rid, packed }
