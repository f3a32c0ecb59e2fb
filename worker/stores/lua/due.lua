-- limit, patience: what is due becomes ready: retries whose time has come, and what a dead worker had taken. Returns how many.
-- After a time in which nobody asked (we, or Redis, were away) leases that ran out in it get `patience` seconds more: their
-- owners could not renew them either, and may be about to finish.
local t = now()
local asked = tonumber(redis.call('GET', 'carillon:asked') or t)
redis.call('SET', 'carillon:asked', string.format('%.3f', t))
if t - asked > tonumber(ARGV[2]) / 2 then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', t)) do
    redis.call('ZADD', DUE, t + tonumber(ARGV[2]), member)
  end
  return 0
end
local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', t, 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do
  local kind, id = string.sub(member, 1, 1), string.sub(member, 3)
  redis.call('ZREM', DUE, member)
  if kind == 'b' then
    local batch = redis.call('HMGET', 'carillon:batch:' .. id, 'lane', 'app')
    if batch[1] then make_ready('b', batch[1], batch[2], id) end
  else
    local state = redis.call('HGET', EXPANDING, id)
    redis.call('SREM', 'carillon:parked', id)
    if state then
      local app, cursor = string.match(state, '^([^\n]*)\n(.*)$')
      make_ready('e', cursor == '' and 'urgent' or 'bulk', app, id)
    end
  end
end
return #due
