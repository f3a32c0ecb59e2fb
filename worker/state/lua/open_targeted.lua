-- Targeted pushes that intake has recorded begin their life, or wait for it until `at` (UNIX seconds).
-- ARGV: pushes [entry, app, place, cursor, at]
-- Returns: how many were not open yet.
-- Twice: does nothing.
-- With: messages, streams
local opened = 0
for _, entry, app, place, cursor, at in each(pushes) do
  if redis.call('HSETNX', OPEN, entry, 1) == 1 then
    if on_its_stream(entry) then
      redis.call('HSET', EXPANDING, entry, app .. '\n' .. cursor .. '\n' .. place)
      if tonumber(at) > now() then
        redis.call('ZADD', DUE, at, 'e:' .. entry)
        redis.call('SADD', SCHEDULED, entry)
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
