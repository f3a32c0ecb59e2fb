-- lease, (id, jobs)...: these jobs of the batch were accepted, so that whoever takes it after us does not send them again. Its
-- lease begins anew.
local till = now() + tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  local key = 'carillon:batch:' .. ARGV[i]
  if redis.call('EXISTS', key) == 1 then
    if ARGV[i + 1] ~= '' then
      redis.call('HSET', key, 'accepted', (redis.call('HGET', key, 'accepted') or '') .. ARGV[i + 1] .. ',')
    end
    redis.call('ZADD', DUE, 'XX', till, 'b:' .. ARGV[i])
  end
end
return 1
