-- id, delay: hands the batch back untouched, to be rung again after `delay` seconds.
local key = 'carillon:batch:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HDEL', key, 'leased')
redis.call('ZADD', DUE, now() + tonumber(ARGV[2]), 'b:' .. ARGV[1])
return 1
