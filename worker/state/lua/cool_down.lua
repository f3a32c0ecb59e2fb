-- Each device gets nothing over its way for a time that grows with its refusals in a row (growth.lua), and for `least`
-- seconds at least. Refusals are in a row while each comes within `memory` seconds of the end of the cooldown before, and nothing is
-- accepted in between.
-- KEYS: cooldowns, refusals
-- ARGV: first: number, growth: number, longest: number, jitter: number, memory: number, devices [device, least]
-- Returns: {device, ms that are left} of each.
-- Twice: the cooldown may grow by what is left of it; it counts one refusal, for the device cools down by then.
-- With: growth
local t, found, latest = now(), {}, 0
local old = redis.call('ZRANGEBYSCORE', cooldowns, '-inf', string.format('%.3f', t - memory), 'LIMIT', 0, 1000)
bulk('ZREM', cooldowns, old)
bulk('HDEL', refusals, old)
for _, device, least in each(devices) do
  local till = tonumber(redis.call('ZSCORE', cooldowns, device) or '0')
  -- Refused while it cools down: what was on its way by then says nothing new.
  local n = redis.call('HINCRBY', refusals, device, till > t and 0 or 1)
  till = math.max(till, t + grown(n, tonumber(least), first, growth, longest, jitter))
  redis.call('ZADD', cooldowns, string.format('%.3f', till), device)
  latest = math.max(latest, till - t)
  found[#found + 1] = {device, math.ceil((till - t) * 1000)}
end
local rest = math.ceil(latest + memory) + 1
if redis.call('TTL', cooldowns) < rest then
  redis.call('EXPIRE', cooldowns, rest)
  redis.call('EXPIRE', refusals, rest)
end
return found
