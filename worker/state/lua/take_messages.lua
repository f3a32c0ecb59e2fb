-- Messages to expand, an equal share of each app that waits; `limit` of them, where so many wait. Once their documents have come to
-- `octets` together, the others go back to the head of their lines. A message whose channel another one has goes into the channel's
-- line, for `patience` seconds at most.
-- ARGV: lane, limit: number, lease: number, octets: number, patience: number
-- Returns: {entry, state, document, group, turn} of each. Without a group ('') it is leased by itself; `turn` is this task's.
-- Twice: takes others; the first ones come back when their lease is over.
-- With: channels, documents, expansion, trimmed
local t = now()
if lane == 'urgent' then redis.call('DEL', WOKEN) end
local ends, found, leases, turn = t + lease, {}, {}, nil

local function add(entry, state, group)
  local document = document_of(entry)
  if not document then
    document = ''
    note_trimmed(on_stream(entry), 1)
  end
  octets = octets - #document
  found[#found + 1] = {entry, state, document, group, turn or '0'}
end

-- Of the app's own list. Returns how many.
local function take_single(app, most)
  local line, before = READY_OF_APP .. lane .. ':' .. app, #found
  local entries = redis.call('LPOP', line, most) or {}
  for k, state in ipairs(values(EXPANDING, entries)) do
    if octets <= 0 then
      bulk('LPUSH', line, reversed(entries, k))
      break
    end
    if state then
      leases[#leases + 1] = ends
      leases[#leases + 1] = 'e:' .. entries[k]
      add(entries[k], state, '')
    end
  end
  return #found - before
end

-- The entries whose channel another one has, by index: its place and channel.
local function held_of(entries, states)
  local held = {}
  if redis.call('EXISTS', EXPANDING_CHANNELS) == 0 then return held end
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

-- Those of a group that wait for no other. Returns how many.
local function take_group(group, most)
  local line, taken, waiting, before = READY_IN_GROUP .. group, {}, {}, #found
  local entries = redis.call('LPOP', line, most) or {}
  local states = values(EXPANDING, entries)
  local held = held_of(entries, states)
  for k, entry in ipairs(entries) do
    if octets <= 0 then
      bulk('LPUSH', line, reversed(entries, k))
      break
    end
    if held[k] then
      local place, channel = unpack(held[k])
      put_under(waiting, channel, {place, entry})
    elseif states[k] then
      turn = turn or string.format('%.0f', redis.call('INCR', TURN))
      taken[#taken + 1] = entry
      add(entry, states[k], group)
    end
  end
  for _, channel in ipairs(waiting) do hold(channel, waiting[channel], patience) end
  if #taken > 0 then
    bulk('RPUSH', TAKEN .. group, taken)
    redis.call('HSET', EXPANDING_GROUPS, group, turn)
    leases[#leases + 1] = ends
    leases[#leases + 1] = 'g:' .. group
  elseif redis.call('EXISTS', line) == 1 then
    redis.call('RPUSH', GROUPS_IN_TURN .. app_in(group), group)
  end
  return #found - before
end

-- What is held costs a look.
local apps, looks = READY .. lane, 256
while #found < limit and octets > 0 and looks > 0 do
  local app = redis.call('LPOP', apps)
  if not app then break end
  looks = looks - 1
  local left = limit - #found
  local share = math.ceil(left / (redis.call('LLEN', apps) + 1))
  local taken = take_single(app, share)
  while lane == 'urgent' and taken < share and octets > 0 and looks > 0 do
    local group = redis.call('LPOP', GROUPS_IN_TURN .. app)
    if not group then break end
    looks = looks - 1
    taken = taken + take_group(group, share - taken)
  end
  if can_be_taken(lane, app) then redis.call('RPUSH', apps, app) end
end
bulk('ZADD', DUE, leases)
return found
