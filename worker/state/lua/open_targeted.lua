-- (entry, app, place, cursor, at)...: targeted pushes that intake has recorded begin their life, or wait for it until `at` (UNIX
-- seconds).
local opened = 0
for i = 1, #ARGV, 5 do
  local entry, app, at = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 4])
  if redis.call('HSETNX', OPEN, entry, 1) == 1 then
    if on_its_stream(entry) then
      redis.call('HSET', EXPANDING, entry, app .. '\n' .. ARGV[i + 3] .. '\n' .. ARGV[i + 2])
      if at > now() then
        redis.call('ZADD', DUE, at, 'e:' .. entry)
        redis.call('SADD', 'carillon:parked', entry)
      else
        make_ready('bulk', app, entry)
      end
      opened = opened + 1
    else
      redis.call('HDEL', OPEN, entry)
    end
  end
end
return opened
