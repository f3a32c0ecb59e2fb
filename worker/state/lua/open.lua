-- Messages that intake has recorded begin their life. One that has left its stream has had it: what is behind the last that was opened
-- of its stream cannot have.
-- ARGV: messages [entry, app, place, channel]
-- Returns: how many messages can be taken by now.
-- Twice: does nothing.
-- With: messages, places, streams
local entries, last, states, opened, groups, single, ready = {}, {}, {}, {}, {}, {}, 0
for _, entry in each(messages) do entries[#entries + 1] = entry end
local units, k = values(OPEN, entries), 0
for _, entry, app, place, channel in each(messages) do
  k = k + 1
  local stream, id = on_stream(entry)
  if last[stream] == nil then last[stream] = redis.call('HGET', OPENED, stream) or '0-0' end
  local fresh = newer(id, last[stream])
  if fresh then last[stream] = id end
  if not units[k] and not opened[entry] and (fresh or on_its_stream(entry)) then
    opened[entry] = true
    opened[#opened + 1], opened[#opened + 2] = entry, 1
    states[#states + 1] = entry
    states[#states + 1] = app .. '\n\n' .. place .. '\n' .. channel
    if channel ~= '' then
      put_under(groups, group_of(channel, app), entry)
    else
      single[#single + 1] = {app, entry}
    end
  end
end
bulk('HSET', OPEN, opened)
bulk('HSET', EXPANDING, states)
for stream, id in pairs(last) do redis.call('HSET', OPENED, stream, id) end
for _, group in ipairs(groups) do ready = ready + add_to_group('RPUSH', group, groups[group]) end
for _, one in ipairs(single) do make_ready('urgent', one[1], one[2]) end
return ready + #single
