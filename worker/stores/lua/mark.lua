-- id, outcomes: remembers what became of the jobs, so that whoever resumes the batch does not send them again.
local key = 'carillon:batch:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HSET', key, 'outcomes', ARGV[2])
return 1
