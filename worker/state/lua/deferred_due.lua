-- The refusals of each way that it is time to decide about. After a time in which nobody asked (we, or Redis, were away)
-- everything waits for `delay` seconds more: what tells that a way is to blame was held up as well.
-- ARGV: delay: number, limit
-- Returns: {way, up to `limit` refusals} of each.
-- Twice: returns the same; they stay until they are decided.
local t, found = now(), {}
local asked = tonumber(redis.call('GET', DEFERRED_ASKED) or t)
redis.call('SET', DEFERRED_ASKED, string.format('%.3f', t))
local gap = t - asked > delay / 2
for _, way in ipairs(redis.call('SMEMBERS', DEFERRED_PROVIDERS)) do
  local key = DEFERRED .. way
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', t, 'LIMIT', 0, limit)
  if gap then
    for _, member in ipairs(due) do redis.call('ZADD', key, t + delay, member) end
  elseif #due > 0 then
    found[#found + 1] = {way, due}
  end
  if redis.call('EXISTS', key) == 0 then redis.call('SREM', DEFERRED_PROVIDERS, way) end
end
return found
