-- id, outcomes, lease: remembers what became of the jobs, so that whoever resumes the batch does not send them again.
local key = 'carillon:batch:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HSET', key, 'outcomes', ARGV[2])
redis.call('ZADD', DUE, 'XX', now() + tonumber(ARGV[3]), 'b:' .. ARGV[1])
return 1
