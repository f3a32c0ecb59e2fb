-- kind, lane: how many items wait to be taken.
local turns, waiting = 'carillon:ready:' .. ARGV[1] .. ':' .. ARGV[2], 0
for _, app in ipairs(redis.call('LRANGE', turns, 0, -1)) do waiting = waiting + redis.call('LLEN', turns .. ':' .. app) end
return waiting
