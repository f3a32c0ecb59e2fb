-- (entry, app)...: messages that intake has recorded begin their life.
local opened = 0
for i = 1, #ARGV, 2 do
  if redis.call('HSETNX', OPEN, ARGV[i], 1) == 1 then
    redis.call('HSET', EXPANDING, ARGV[i], ARGV[i + 1] .. '\n')
    make_ready('e', 'urgent', ARGV[i + 1], ARGV[i])
    opened = opened + 1
  end
end
return opened
