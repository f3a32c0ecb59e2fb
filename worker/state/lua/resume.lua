-- provider, by hand (1 or 0): lets it flow again and forgets what it answered. What a person stopped, only a person resumes.
local key = 'carillon:breaker:' .. ARGV[1]
if ARGV[2] == '0' and redis.call('HGET', key, 'manual') then return 0 end
redis.call('DEL', 'carillon:answers:' .. ARGV[1], 'carillon:probe:' .. ARGV[1], 'carillon:looked:' .. ARGV[1],
  'carillon:refused:' .. ARGV[1])
local stopped = redis.call('DEL', key)
back_in_turn(ARGV[1])
return stopped
