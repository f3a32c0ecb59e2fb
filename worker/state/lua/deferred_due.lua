-- delay, limit: for each provider, up to `limit` refusals that it is time to decide about. After a time in which nobody asked (we, or
-- Redis, were away) everything waits for `delay` seconds more: what tells that a provider is to blame was held up as well.
local t, found = now(), {}
local asked = tonumber(redis.call('GET', 'carillon:suspects:asked') or t)
redis.call('SET', 'carillon:suspects:asked', string.format('%.3f', t))
local gap = t - asked > tonumber(ARGV[1]) / 2
for _, provider in ipairs(redis.call('SMEMBERS', 'carillon:suspects')) do
  local key = 'carillon:suspects:' .. provider
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', t, 'LIMIT', 0, ARGV[2])
  if gap then
    for _, member in ipairs(due) do redis.call('ZADD', key, t + tonumber(ARGV[1]), member) end
  elseif #due > 0 then
    found[#found + 1] = {provider, due}
  end
  if redis.call('EXISTS', key) == 0 then redis.call('SREM', 'carillon:suspects', provider) end
end
return found
