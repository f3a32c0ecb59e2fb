-- id, delay: hands the batch back untouched, to be taken again after `delay` seconds.
if redis.call('EXISTS', 'carillon:batch:' .. ARGV[1]) == 0 then return 0 end
redis.call('HDEL', 'carillon:batch:' .. ARGV[1], 'leased')
redis.call('ZADD', DUE, now() + tonumber(ARGV[2]), 'b:' .. ARGV[1])
return 1
