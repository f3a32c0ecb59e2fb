-- (entry, app, place, channel key)...: messages that intake has recorded begin their life. One that has left its stream has had it: what
-- is behind the last that was opened of its stream cannot have.
local entries, last, states, opened, lines = {}, {}, {}, {}, {}
for i = 1, #ARGV, 4 do entries[#entries + 1] = ARGV[i] end
local units = values(OPEN, entries)
for k, entry in ipairs(entries) do
  local app, i = ARGV[4 * k - 2], 4 * k - 3
  local stream, id = on_stream(entry)
  if last[stream] == nil then last[stream] = redis.call('HGET', 'carillon:opened', stream) or '0-0' end
  local fresh = newer(id, last[stream])
  if fresh then last[stream] = id end
  if not units[k] and not opened[entry] and (fresh or on_its_stream(entry)) then
    opened[entry] = true
    opened[#opened + 1], opened[#opened + 2] = entry, 1
    states[#states + 1] = entry
    states[#states + 1] = app .. '\n\n' .. ARGV[i + 2] .. '\n' .. ARGV[i + 3]
    lines[app] = lines[app] or {}
    table.insert(lines[app], entry)
  end
end
bulk('HSET', OPEN, opened)
bulk('HSET', EXPANDING, states)
for stream, id in pairs(last) do redis.call('HSET', 'carillon:opened', stream, id) end
for app, some in pairs(lines) do push_ready('RPUSH', 'urgent', app, some) end
return #states / 2
