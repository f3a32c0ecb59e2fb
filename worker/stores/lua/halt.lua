-- id, provider, delay: the batch waits for its provider, `delay` seconds at most.
if redis.call('EXISTS', 'carillon:batch:' .. ARGV[1]) == 0 then return 0 end
local t, halted = now(), 'carillon:halted:' .. ARGV[2]
local due = string.format('%.3f', t + tonumber(ARGV[3]))
redis.call('ZADD', DUE, due, 'b:' .. ARGV[1])
redis.call('HDEL', 'carillon:batch:' .. ARGV[1], 'leased')
redis.call('ZADD', halted, due, ARGV[1])
-- Those whose time has come have looked since: they are in the set anew, or done.
redis.call('ZREMRANGEBYSCORE', halted, '-inf', string.format('%.3f', t - 60))
redis.call('EXPIRE', halted, math.max(3600, 2 * math.ceil(tonumber(ARGV[3]))))
return 1
