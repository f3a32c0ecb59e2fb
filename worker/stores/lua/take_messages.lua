-- lane, limit, lease, octets, patience: messages to expand, each with app, cursor, document and place. Once their documents have come
-- to `octets` together, the others go back to the head of their lines. A message whose channel another task has goes into the
-- channel's line, for `patience` seconds at most.
local lane, room, t = ARGV[1], tonumber(ARGV[4]), now()
local found, leases, holders, lines = {}, {}, {}, {}

-- The states of messages, the channels of those that are at their beginning, by index, and who has them.
local function look_up(entries)
  local states, channels, asked, at = redis.call('HMGET', EXPANDING, unpack(entries)), {}, {}, {}
  for k, state in ipairs(states) do
    if state then
      local app, cursor, place, channel = expansion(state)
      states[k] = {app, cursor, place}
      if channel ~= '' and cursor == '' then
        channels[k] = channel .. '@' .. app
        asked[#asked + 1] = channels[k]
        at[#at + 1] = k
      end
    end
  end
  local who = {}
  for n, holder in ipairs(values(HOLDERS, asked)) do who[at[n]] = holder end
  return states, channels, who
end

-- Whether the message has to wait for one before it; else its channel is this task's.
local function held(entry, place, channel, holder)
  local ours = holders[channel]
  if ours and ours[2] == '' then
    ours[1] = entry
    return false
  end
  if ours then holder = ours[1] end
  if ours or lines[channel] or (holder and holder ~= entry and holder ~= entry .. '\n') then
    lines[channel] = lines[channel] or {holder = holder}
    table.insert(lines[channel], {place, entry})
    return true
  end
  holders[channel] = {entry, holder and string.sub(holder, -1) == '\n' and '\n' or ''}
  return false
end

local function take_some()
  local items = take(lane, tonumber(ARGV[2]))
  if #items == 0 then return false end
  local entries, k = {}, 1
  for n, item in ipairs(items) do entries[n] = item[1] end
  local states, channels, who = look_up(entries)
  while k <= #items and room > 0 do
    local entry, state = entries[k], states[k]
    if state and not (channels[k] and held(entry, state[3], channels[k], who[k])) then
      leases[#leases + 1] = t + tonumber(ARGV[3])
      leases[#leases + 1] = 'e:' .. entry
      local document = document_of(entry)
      if not document then
        document = ''
        note_trimmed(on_stream(entry), 1)
      end
      room = room - #document
      found[#found + 1] = {entry, state[1], state[2], document, state[3]}
    end
    k = k + 1
  end
  for back = #items, k, -1 do put_back(lane, items[back][2], items[back][1]) end
  return true
end

-- Messages of other channels behind those that have to wait are found in a few rounds, or by the next task.
for _ = 1, 4 do
  if not take_some() or #found > 0 then break end
end
bulk('ZADD', DUE, leases)
local set = {}
for channel, holder in pairs(holders) do
  set[#set + 1] = channel
  set[#set + 1] = holder[1] .. holder[2]
end
for channel, line in pairs(lines) do
  set[#set + 1] = channel
  set[#set + 1] = hold(channel, line.holder, line, tonumber(ARGV[5]))
end
bulk('HSET', HOLDERS, set)
return found
