-- These origins of a provider are used. Where `most` have a way of their own, one that was not used for `keep` seconds loses it.
-- KEYS: known
-- ARGV: most: number, keep: number, other, origins [origin]
-- Returns: those of the origins that have no way of their own: they share that of `other`.
-- Twice: returns the same.
local t, without = now(), {}
local at = string.format('%.0f', t)
for _, origin in each(origins) do
  if not redis.call('ZSCORE', known, origin) and redis.call('ZCARD', known) >= most then
    redis.call('ZREMRANGEBYSCORE', known, '-inf', '(' .. t - keep)
  end
  if redis.call('ZSCORE', known, origin) or redis.call('ZCARD', known) < most then
    redis.call('ZADD', known, at, origin)
  else
    without[#without + 1] = origin
  end
end
if #without > 0 then redis.call('ZADD', known, at, other) end
redis.call('EXPIRE', known, keep)
return without
