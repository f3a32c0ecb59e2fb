-- entry, group, turn, delay: a message that could not be expanded is tried again after so many seconds. Its channel waits for it, its
-- group does not. Returns how many messages can be taken by now.
local entry, group = ARGV[1], ARGV[2]
local app, _, _, channel = expansion(redis.call('HGET', EXPANDING, entry) or '')
if group == '' or not app or redis.call('HGET', EXPANDING_GROUPS, group) ~= ARGV[3] then return 0 end
redis.call('ZADD', DUE, now() + tonumber(ARGV[4]), 'e:' .. entry)
redis.call('HSETNX', HOLDERS, channel .. '@' .. app, entry)
return done_in_group(group, {entry})
