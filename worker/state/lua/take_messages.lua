-- Messages to expand, an equal share of each app that waits; `limit` of them, where so many wait. The urgent lane takes second looks as
-- well: half of the limit at first, so that neither holds up the other. Once their documents have come to
-- `octets` together, the others go back to the head of their lines. A message whose channel another one has goes into the channel's
-- line, for `patience` seconds at most.
-- ARGV: lane, limit: number, lease: number, octets: number, patience: number
-- Returns: the turn of this task, and of each in a row: entry, state, document, and its group. Without a group ('') it is leased by itself.
-- Twice: takes others; the first ones come back when their lease is over.
-- With: channels, documents, expansion, second_looks, trimmed
local t = now()
if lane == 'urgent' then redis.call('DEL', WOKEN) end
local ends, found, count, leases, look_leases, turn, turns = t + lease, {}, 0, {}, {}, nil, {}
local any_channel = redis.call('EXISTS', EXPANDING_CHANNELS) == 1

-- `id` is that of a second look at the entry, or the entry.
local function add(id, entry, state, group)
  local document = document_of(entry)
  if not document then
    document = ''
    note_trimmed(on_stream(entry), 1)
  end
  octets = octets - #document
  local at = 4 * count
  count = count + 1
  found[at + 1], found[at + 2], found[at + 3], found[at + 4] = id, state, document, group
end

-- Of the app's own list: those of the lane, or second looks. Returns how many.
local function take_single(list, app, most)
  local line, before = READY_OF_APP .. list .. ':' .. app, count
  local entries = redis.call('LPOP', line, most) or {}
  for k, state in ipairs(values(list == 'looks' and SECOND_LOOKS or EXPANDING, entries)) do
    if octets <= 0 then
      bulk('LPUSH', line, reversed(entries, k))
      break
    end
    if state and list == 'looks' then
      look_leases[#look_leases + 1], look_leases[#look_leases + 2] = ends, entries[k]
      octets = octets - #state
      add(entries[k], entry_of(entries[k]), state, '')
    elseif state then
      leases[#leases + 1], leases[#leases + 2] = ends, 'e:' .. entries[k]
      add(entries[k], entries[k], state, '')
    end
  end
  return count - before
end

-- The entries whose channel another one has, by index: its place and channel.
local function held_of(entries, states)
  local held = {}
  if not any_channel then return held end
  local channels, places, at = {}, {}, {}
  for k, state in ipairs(states) do
    if state then
      local app, _, place, channel = expansion(state)
      channels[#channels + 1], places[#places + 1], at[#at + 1] = channel .. '@' .. app, place, k
    end
  end
  for n, holder in ipairs(values(EXPANDING_CHANNELS, channels)) do
    if holder and holder ~= entries[at[n]] then held[at[n]] = {places[n], channels[n]} end
  end
  return held
end

-- The first `n` of the line are the task's, or wait elsewhere; `taken` are the task's. A line that is its own as a whole gets its name.
local function give_to_task(group, line, n, taken)
  local own = TAKEN .. group
  if n > 0 and #taken == n and redis.call('LLEN', line) == n and redis.call('EXISTS', own) == 0 then
    redis.call('RENAME', line, own)
  else
    redis.call('LTRIM', line, n, -1)
    bulk('RPUSH', own, taken)
  end
end

-- Those of a group that wait for no other. Returns how many.
local function take_group(group, most)
  local line, taken, waiting, before, n = READY_IN_GROUP .. group, {}, {}, count, 0
  local entries = redis.call('LRANGE', line, 0, most - 1)
  local states = values(EXPANDING, entries)
  local held = held_of(entries, states)
  for k, entry in ipairs(entries) do
    if octets <= 0 then break end
    n = k
    if held[k] then
      local place, channel = unpack(held[k])
      put_under(waiting, channel, {place, entry})
    elseif states[k] then
      turn = turn or string.format('%.0f', redis.call('INCR', TURN))
      taken[#taken + 1] = entry
      add(entry, entry, states[k], group)
    end
  end
  for _, channel in ipairs(waiting) do hold(channel, waiting[channel], patience) end
  give_to_task(group, line, n, taken)
  if #taken > 0 then
    turns[#turns + 1], turns[#turns + 2] = group, turn
    leases[#leases + 1], leases[#leases + 2] = ends, 'g:' .. group
  elseif redis.call('EXISTS', line) == 1 then
    redis.call('RPUSH', GROUPS_IN_TURN .. app_in(group), group)
  end
  return count - before
end

-- What is held costs one of so many.
local tries = 256
local function take(list, most)
  local apps = READY .. list
  while count < most and octets > 0 and tries > 0 do
    local app = redis.call('LPOP', apps)
    if not app then break end
    tries = tries - 1
    local share = math.ceil((most - count) / (redis.call('LLEN', apps) + 1))
    local taken = take_single(list, app, share)
    while list == 'urgent' and taken < share and octets > 0 and tries > 0 do
      local group = redis.call('LPOP', GROUPS_IN_TURN .. app)
      if not group then break end
      tries = tries - 1
      taken = taken + take_group(group, share - taken)
    end
    if can_be_taken(list, app) then redis.call('RPUSH', apps, app) end
  end
end
if lane == 'urgent' then take('looks', math.ceil(limit / 2)) end
take(lane, limit)
if lane == 'urgent' then take('looks', limit) end
bulk('HSET', EXPANDING_GROUPS, turns)
bulk('ZADD', DUE, leases)
bulk('ZADD', SECOND_LOOKS_DUE, look_leases)
return {turn or '0', found}
