-- delay, entries...: messages that intake has recorded begin their life.
local opened = 0
for i = 2, #ARGV do
  if redis.call('HSETNX', OPEN, ARGV[i], 1) == 1 then
    redis.call('HSET', EXPANDING, ARGV[i], '')
    redis.call('ZADD', DUE, now() + tonumber(ARGV[1]), 'e:' .. ARGV[i])
    opened = opened + 1
  end
end
return opened
