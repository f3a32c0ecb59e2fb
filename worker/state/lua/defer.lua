-- It is time to decide about each refusal after `delay` seconds, but for those that are deferred already.
-- KEYS: ways, deferred
-- ARGV: way, delay: number, refusals [refusal]
-- Returns: 1
-- Twice: adds nothing.
local at = string.format('%.3f', now() + delay)
for _, refusal in each(refusals) do redis.call('ZADD', deferred, 'NX', at, refusal) end
redis.call('SADD', ways, way)
return 1
