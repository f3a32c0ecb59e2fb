-- id: one more try of the batch has failed; returns how many have.
local key = 'carillon:batch:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 0 end
return redis.call('HINCRBY', key, 'failures', 1)
