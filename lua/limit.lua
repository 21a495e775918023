#!lua flags=allow-oom
-- Rate limits by the generic cell rate algorithm (ITU-T I.371): a key holds when its subject's requests would be over at
-- the agreed rate, in microseconds.
-- KEYS  one for each request, whose subject it names
-- ARGV  for each key: microseconds between two requests at the agreed rate, how many may come at once
-- Reply for each key: 1 allowed | 0 refused, how many more may come now, microseconds until one may, until all may
-- Cost  O(1) a key. Its keys give the shared part's names another meaning; of its functions it uses the time alone.
assert(#KEYS > 0 and #ARGV == 2 * #KEYS, 'limit: arity')
local now, reply = now_ms() * 1000, {}
for i, key in ipairs(KEYS) do
  local interval, most = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local over = math.max(tonumber(redis.call('GET', key) or 0), now) - now
  local room = (most - 1) * interval - over
  if room >= 0 then
    over = over + interval
    redis.call('SET', key, now + over, 'PX', math.ceil(over / 1000))
    reply[i] = { 1, math.floor(room / interval), math.max(0, interval - room), over }
  else
    reply[i] = { 0, 0, -room, over }
  end
end
return reply
