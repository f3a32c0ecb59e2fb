-- provider, first, growth, longest, jitter, memory, (device, least seconds)...: each device gets nothing from the provider for a
-- time that grows with its refusals in a row (`backoff` in core/outcome.py), and for `least` at least. Refusals are in a row while
-- each comes within `memory` seconds of the end of the cooldown before. Returns (device, ms that are left).
local key, t, found, longest = 'carillon:notbefore:device:' .. ARGV[1], now(), {}, 0
local refusals = key .. ':refusals'
local old = redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.3f', t - tonumber(ARGV[6])), 'LIMIT', 0, 1000)
bulk('ZREM', key, old)
bulk('HDEL', refusals, old)
for i = 7, #ARGV, 2 do
  local device, till = ARGV[i], tonumber(redis.call('ZSCORE', key, ARGV[i]) or '0')
  -- Refused while it cools down: what was on its way by then says nothing new.
  local n = redis.call('HINCRBY', refusals, device, till > t and 0 or 1)
  local whole = math.min(tonumber(ARGV[4]), tonumber(ARGV[2]) * tonumber(ARGV[3]) ^ math.min(math.max(n, 1) - 1, 20))
  till = math.max(till, t + math.max(tonumber(ARGV[i + 1]), whole * (0.5 + tonumber(ARGV[5]) / 2)))
  redis.call('ZADD', key, string.format('%.3f', till), device)
  longest = math.max(longest, till - t)
  found[#found + 1] = {device, math.ceil((till - t) * 1000)}
end
local rest = math.ceil(longest + tonumber(ARGV[6])) + 1
if redis.call('TTL', key) < rest then
  redis.call('EXPIRE', key, rest)
  redis.call('EXPIRE', refusals, rest)
end
return found
