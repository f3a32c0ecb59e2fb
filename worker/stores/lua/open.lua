-- (entry, app, place, channel key)...: messages that intake has recorded begin their life. One that has left its stream has had it.
local opened, states = 0, {}
for i = 1, #ARGV, 4 do
  local entry, app = ARGV[i], ARGV[i + 1]
  if redis.call('HSETNX', OPEN, entry, 1) == 1 then
    if on_its_stream(entry) then
      states[#states + 1] = entry
      states[#states + 1] = app .. '\n\n' .. ARGV[i + 2] .. '\n' .. ARGV[i + 3]
      make_ready('urgent', app, entry)
      opened = opened + 1
    else
      redis.call('HDEL', OPEN, entry)
    end
  end
end
bulk('HSET', EXPANDING, states)
return opened
