#!lua flags=allow-oom
-- Releases holds that are past their deadline. Called by the sweeper, which the expiry events wake.
-- KEYS  the six
-- ARGV  most holds to release
-- Reply {0, released, greatest lateness ms, earliest deadline left (0 = none), now} {REBUILD}
-- Keeps INV9 without any client action and without any event; the records decide, not the signal.
-- Cost  O(released log n).
assert(#KEYS == 6 and #ARGV == 1, 'expire: arity')
local stock = load_stock()
if not stock then return { REBUILD } end
local now = now_ms()
local count, lag = reap(stock, now, tonumber(ARGV[1]))
return { 0, count, lag, first_score(D), now }
