-- A message that could not be expanded is tried again after `delay` seconds. Its channel waits for it, its group does not.
-- ARGV: entry, group, turn, delay: number
-- Returns: how many messages can be taken by now.
-- Twice: does nothing.
-- With: expansion, messages
local app, _, _, channel = expansion(redis.call('HGET', EXPANDING, entry) or '')
if group == '' or not app or redis.call('HGET', EXPANDING_GROUPS, group) ~= turn then return 0 end
redis.call('ZADD', DUE, now() + delay, 'e:' .. entry)
redis.call('HSETNX', EXPANDING_CHANNELS, channel .. '@' .. app, entry)
return done_in_group(group, {entry})
