-- (entry, app, place, channel key)...: messages that intake has recorded begin their life. One that has left its stream has had it: what
-- is behind the last that was opened of its stream cannot have. Returns how many messages can be taken by now.
local entries, last, states, opened, groups, single, ready = {}, {}, {}, {}, {}, {}, 0
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
    local key = ARGV[i + 3]
    local group = key ~= '' and group_of(key, app)
    if group then
      put_under(groups, group, entry)
    else
      single[#single + 1] = {app, entry}
    end
  end
end
bulk('HSET', OPEN, opened)
bulk('HSET', EXPANDING, states)
for stream, id in pairs(last) do redis.call('HSET', 'carillon:opened', stream, id) end
for _, group in ipairs(groups) do ready = ready + add_to_group('RPUSH', group, groups[group]) end
for _, one in ipairs(single) do make_ready('urgent', one[1], one[2]) end
return ready + #single
