-- id, provider, delay: the batch waits for its provider, `delay` seconds at most. Equal scores keep the waiting ones in the order
-- of their places.
local key = 'carillon:batch:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 0 end
local halted = 'carillon:halted:' .. ARGV[2]
redis.call('ZADD', DUE, string.format('%.3f', now() + tonumber(ARGV[3])), 'b:' .. ARGV[1])
redis.call('HDEL', key, 'leased')
redis.call('HSET', key, 'halted', ARGV[2])
redis.call('ZADD', halted, 0, ARGV[1])
redis.call('EXPIRE', halted, math.max(3600, 2 * math.ceil(tonumber(ARGV[3]))))
return 1
