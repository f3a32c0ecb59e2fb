-- entry: its expansion is given up. Returns how many messages can be taken by now.
local state = redis.call('HGET', EXPANDING, ARGV[1])
if not state then return 0 end
redis.call('HDEL', EXPANDING, ARGV[1])
redis.call('ZREM', DUE, 'e:' .. ARGV[1])
local app, _, _, channel = expansion(state)
local freed = 0
if channel ~= '' then
  local group, name = group_of(channel, app), channel .. '@' .. app
  if redis.call('HGET', HOLDERS, name) == ARGV[1] then freed = free_channel(name) end
  if redis.call('LREM', taken_of(group), 1, ARGV[1]) == 1 then freed = freed + done_in_group(group, {}) end
end
local open = units()
open:add(ARGV[1], -1)
open:apply()
return freed
