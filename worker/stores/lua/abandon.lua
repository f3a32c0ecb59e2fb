-- entry: its expansion is given up.
if redis.call('HDEL', EXPANDING, ARGV[1]) == 0 then return 0 end
redis.call('ZREM', DUE, 'e:' .. ARGV[1])
local open = units()
open:add(ARGV[1], -1)
open:settle()
return 1
