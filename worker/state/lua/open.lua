-- Messages that intake has recorded begin their life. One that has left its stream has had it: what is behind the last that was opened
-- of its stream cannot have. With a `lease` (seconds; 0: none) the caller takes them at once, as take_messages.lua would give them: while
-- nothing waits in the urgent lane, those whose group and channel no other task has: `turn` is its own, which no other call has.
-- `token`: the leader's. `groups`: how many of the messages are of each, in their order; `@<app>` for those of no channel. `states` are
-- what EXPANDING keeps of them.
-- ARGV: token, groups [group, n], entries [entry], states [state], turn, lease: number
-- Returns: how many messages can be taken by now, and {entry, group} of each that the task takes; nothing for a leader that has been
--   replaced: what it knows may have been lost in a failover, and have come back as another entry.
-- Twice: does nothing, and returns the same: of what can be taken still, and what the task still has.
-- With: expansion, inlet, messages, places, streams
if not leads(token) then return {} end
local at_once = lease > 0 and redis.call('EXISTS', READY .. 'urgent') == 0
local others = at_once and redis.call('EXISTS', EXPANDING_CHANNELS) == 1
local before, last = {}, {}
-- Whether it is behind the last that was opened before, and whether that one is known: then it is not open.
local function is_fresh(entry)
  local stream, id = on_stream(entry)
  if not last[stream] then
    before[stream] = redis.call('HGET', OPENED, stream)
    last[stream] = before[stream] or '0-0'
  end
  if newer(id, last[stream]) then last[stream] = id end
  return newer(id, before[stream] or '0-0'), before[stream]
end
local opened, kept, is_opened, count, of_groups, at = {}, {}, {}, 0, {}, 0
for _, group, n in each(groups) do
  local mine, before_mine, previous, own, fresh, known = {held = false}, count, nil, nil, nil, nil
  for k = at + 1, at + n do
    local entry, state = ARGV[entries.first + k - 1], ARGV[states.first + k - 1]
    -- Mostly a group's messages stand in their order: what is behind a fresh one, on the same stream, is fresh as well.
    local is_own = string.find(entry, '@', 1, true) ~= nil
    if not (fresh and is_own == own and newer(entry, previous)) then
      if previous then is_fresh(previous) end
      fresh, known = is_fresh(entry)
      own = is_own
    end
    previous = entry
    if not (fresh and known) and redis.call('HEXISTS', OPEN, entry) == 1 then
      mine.open = mine.open or {}
      if redis.call('HGET', EXPANDING, entry) == state then mine.open[#mine.open + 1] = entry end
    elseif not is_opened[entry] and (fresh or on_its_stream(entry)) then
      is_opened[entry], count = true, count + 1
      opened[2 * count - 1], opened[2 * count] = entry, '1'
      kept[2 * count - 1], kept[2 * count] = entry, state
      mine[count - before_mine] = entry
      if others then
        local app, _, _, channel = expansion(state)
        mine.held = mine.held or redis.call('HEXISTS', EXPANDING_CHANNELS, channel .. '@' .. app) == 1
      end
    end
  end
  if tonumber(n) > 1 then is_fresh(previous) end
  at = at + n
  of_groups[#of_groups + 1] = {group, mine}
end
bulk('HSET', OPEN, opened)
bulk('HSET', EXPANDING, kept)
for stream, id in pairs(last) do redis.call('HSET', OPENED, stream, id) end
local taken, leases, ends, ready = {}, {}, at_once and now() + lease, 0
local function is_free(group, held)
  if not at_once or held or redis.call('EXISTS', READY_IN_GROUP .. group) == 1 then return false end
  return redis.call('HEXISTS', EXPANDING_GROUPS, group) == 0
end
-- Of a group, what was open before and is at its beginning.
local function answer_again(group, messages)
  local alone = string.byte(group) == 64
  local holder = alone and redis.call('GET', TAKEN_AT_ONCE) or redis.call('HGET', EXPANDING_GROUPS, group)
  for _, entry in ipairs(messages) do
    if holder == turn then
      taken[#taken + 1] = {entry, alone and '' or group}
    elseif not (alone and redis.call('ZSCORE', DUE, 'e:' .. entry) or not alone and holder) then
      ready = ready + 1
    end
  end
end
for _, of in ipairs(of_groups) do
  local group, mine = of[1], of[2]
  if mine.open then answer_again(group, mine.open) end
  if string.byte(group) == 64 then
    if at_once and #mine > 0 then redis.call('SET', TAKEN_AT_ONCE, turn, 'PX', math.ceil(lease * 1000)) end
    for _, entry in ipairs(mine) do
      if at_once then
        leases[#leases + 1], leases[#leases + 2] = ends, 'e:' .. entry
        taken[#taken + 1] = {entry, ''}
      else
        make_ready('urgent', app_in(group), entry)
        ready = ready + 1
      end
    end
  elseif #mine > 0 and is_free(group, mine.held) then
    bulk('RPUSH', TAKEN .. group, mine)
    redis.call('HSET', EXPANDING_GROUPS, group, turn)
    leases[#leases + 1], leases[#leases + 2] = ends, 'g:' .. group
    for _, entry in ipairs(mine) do taken[#taken + 1] = {entry, group} end
  elseif #mine > 0 then
    ready = ready + add_to_group('RPUSH', group, mine)
  end
end
bulk('ZADD', DUE, leases)
return {ready, taken}
