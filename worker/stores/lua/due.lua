-- limit, lease: what is overdue, with its lane; each is looked at again only after `lease` seconds.
local t = now()
local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', t, 'LIMIT', 0, ARGV[1])
local found = {}
for _, member in ipairs(due) do
  local id, lane = string.sub(member, 3), ''
  local alive
  if string.sub(member, 1, 1) == 'b' then
    lane = redis.call('HGET', 'carillon:batch:' .. id, 'lane')
    alive = lane
  else
    alive = redis.call('HEXISTS', EXPANDING, id) == 1
  end
  if alive then
    redis.call('ZADD', DUE, t + tonumber(ARGV[2]), member)
    found[#found + 1] = {string.sub(member, 1, 1), id, lane}
  else
    redis.call('ZREM', DUE, member)
  end
end
return found
