-- entry: its expansion is given up.
local state = redis.call('HGET', EXPANDING, ARGV[1])
if not state then return 0 end
redis.call('HDEL', EXPANDING, ARGV[1])
redis.call('ZREM', DUE, 'e:' .. ARGV[1])
local app, _, _, channel = expansion(state)
if channel ~= '' then free_channels({{ARGV[1], channel .. '@' .. app}}) end
local open = units()
open:add(ARGV[1], -1)
open:settle()
return 1
