-- limit: what is due becomes ready: retries whose time has come, and what a dead worker had taken. Returns how many.
local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', now(), 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do
  local kind, id = string.sub(member, 1, 1), string.sub(member, 3)
  redis.call('ZREM', DUE, member)
  if kind == 'b' then
    local batch = redis.call('HMGET', 'carillon:batch:' .. id, 'lane', 'app')
    if batch[1] then make_ready('b', batch[1], batch[2], id) end
  else
    local state = redis.call('HGET', EXPANDING, id)
    if state then
      local app, cursor = string.match(state, '^([^\n]*)\n(.*)$')
      make_ready('e', cursor == '' and 'urgent' or 'bulk', app, id)
    end
  end
end
return #due
