-- Messages that intake has recorded begin their life. One that has left its stream has had it: what is behind the last that was opened
-- of its stream cannot have. With a `lease` (seconds; 0: none) the caller takes them at once, as take_messages.lua would give them: while
-- nothing waits in the urgent lane, those whose group and channel no other task has. `token`: the leader's.
-- ARGV: token, messages [entry, app, place, channel], lease: number
-- Returns: how many messages can be taken by now, the turn of this task, and {entry, group} of each that it takes; nothing for a leader
--   that has been replaced: what it knows may have been lost in a failover, and have come back as another entry.
-- Twice: does nothing. What the first call took comes back when its lease is over.
-- With: inlet, messages, places, streams
if not leads(token) then return {} end
local entries, last, states, opened, groups, single, ready, held = {}, {}, {}, {}, {}, {}, 0, {}
local at_once = lease > 0 and redis.call('EXISTS', READY .. 'urgent') == 0
local others = at_once and redis.call('EXISTS', EXPANDING_CHANNELS) == 1
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
      local group = group_of(channel, app)
      put_under(groups, group, entry)
      held[group] = held[group] or others and redis.call('HEXISTS', EXPANDING_CHANNELS, channel .. '@' .. app) == 1
    else
      single[#single + 1] = {app, entry}
    end
  end
end
bulk('HSET', OPEN, opened)
bulk('HSET', EXPANDING, states)
for stream, id in pairs(last) do redis.call('HSET', OPENED, stream, id) end
local turn, taken, leases, ends = '0', {}, {}, at_once and now() + lease
for _, group in ipairs(groups) do
  local free = at_once and not held[group] and redis.call('EXISTS', READY_IN_GROUP .. group) == 0
  if free and redis.call('HEXISTS', EXPANDING_GROUPS, group) == 0 then
    if turn == '0' then turn = string.format('%.0f', redis.call('INCR', TURN)) end
    bulk('RPUSH', TAKEN .. group, groups[group])
    redis.call('HSET', EXPANDING_GROUPS, group, turn)
    leases[#leases + 1], leases[#leases + 2] = ends, 'g:' .. group
    for _, entry in ipairs(groups[group]) do taken[#taken + 1] = {entry, group} end
  else
    ready = ready + add_to_group('RPUSH', group, groups[group])
  end
end
for _, one in ipairs(single) do
  if at_once then
    leases[#leases + 1], leases[#leases + 2] = ends, 'e:' .. one[2]
    taken[#taken + 1] = {one[2], ''}
  else
    make_ready('urgent', one[1], one[2])
    ready = ready + 1
  end
end
bulk('ZADD', DUE, leases)
return {ready, turn, taken}
