-- The expansion of an entry, or a second look, is given up; what was expanded of it is still delivered.
-- ARGV: entry
-- Returns: how many messages can be taken by now that waited for it.
-- Twice: does nothing.
-- With: channels, expansion, second_looks, units
local state = state_of(entry)
if not state then return 0 end
redis.call('HDEL', EXPANDING, entry)
redis.call('HDEL', SECOND_LOOKS, entry)
redis.call('ZREM', DUE, 'e:' .. entry)
redis.call('ZREM', SECOND_LOOKS_DUE, entry)
local app, _, _, key = expansion(state)
local freed = 0
if key ~= '' then
  local group, channel = group_of(key, app), key .. '@' .. app
  if redis.call('HGET', EXPANDING_CHANNELS, channel) == entry then freed = free_channel(channel) end
  if redis.call('LREM', TAKEN .. group, 1, entry) == 1 then freed = freed + done_in_group(group, {}) end
end
local open = units()
open:add(entry_of(entry), -1)
open:apply()
return freed
