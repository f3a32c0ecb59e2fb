-- (entry, app)...: messages that intake has recorded begin their life.
local opened, states = 0, {}
for i = 1, #ARGV, 2 do
  local entry, app = ARGV[i], ARGV[i + 1]
  if redis.call('HSETNX', OPEN, entry, 1) == 1 then
    states[#states + 1] = entry
    states[#states + 1] = app .. '\n'
    make_ready('e', 'urgent', app, entry)
    opened = opened + 1
  end
end
bulk('HSET', EXPANDING, states)
return opened
