-- provider, delay, refusals...: it is time to decide about each after `delay` seconds, of those that are not deferred already.
local key, at = 'carillon:suspects:' .. ARGV[1], string.format('%.3f', now() + tonumber(ARGV[2]))
for i = 3, #ARGV do redis.call('ZADD', key, 'NX', at, ARGV[i]) end
redis.call('SADD', 'carillon:suspects', ARGV[1])
return #ARGV - 2
