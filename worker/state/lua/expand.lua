-- Takes steps of expansions with what they made: all, or, when another worker was first with any, nothing. A step ends the expansion,
-- but for those in `pages`, whose next page begins at `following`. A second look has one step. `tasks`: groups that the caller has taken,
-- and how many of `steps` are the messages of each, in their order. `single`: steps of no group, with the entry's state as it was taken.
-- A channel's messages wait for an earlier one for `patience` seconds. The batch `at_once` ('' for none) is leased to the caller for
-- `lease` seconds, where it is the next.
-- ARGV: tasks [group, turn, n], steps [entry], single [entry, state], pages [entry, following], patience: number,
--   batches [id, document, app, lane, devices, entries, delay, way, lines, behind, takes_over, ahead], looks [id, delay, state],
--   missed [app, user, conversation, line, called, ends, due], badges [app, device, place, number], silent [app, user, due],
--   answered [name], homeward [home, note], counts [app, counter, amount], accounts [document], at_once, lease: number
-- Returns: the entries with which another was first, how many messages can be taken by now that waited, and of the batch that is leased
--   {badges, waits, overtaking, troubled} as take_batch.lua has it; without that nothing.
-- Twice: does nothing, and returns every entry; where a batch was leased, and still is, no entry, and that batch again.
-- With: at_once, batches, channels, expansion, homeward, missed, new_looks, reminders, second_looks, totals
local stale, of_group, at = {}, {}, steps.first
for _, group, turn, n in each(tasks) do
  -- What a task has taken is as it was while the task has it. Mostly these are all of it, in its order.
  local taken = redis.call('HGET', EXPANDING_GROUPS, group) == turn and redis.call('LRANGE', TAKEN .. group, 0, -1) or {}
  local last, same = at + n - 1, #taken == tonumber(n)
  for i = at, last do same = same and ARGV[i] == taken[i - at + 1] end
  if not same then
    local held = {}
    for _, entry in ipairs(taken) do held[entry] = true end
    taken = {}
    for i = at, last do
      local entry = ARGV[i]
      if held[entry] then taken[#taken + 1] = entry else stale[#stale + 1] = entry end
    end
  end
  at = at + n
  of_group[#of_group + 1] = {group, taken}
end
local entries, k, ended_looks = {}, 0, {}
for _, entry in each(single) do entries[#entries + 1] = entry end
local states = values(EXPANDING, entries)
for _, entry, state in each(single) do
  k = k + 1
  if is_second_look(entry) then
    states[k] = state_of(entry)
    ended_looks[#ended_looks + 1] = entry
  end
  if states[k] ~= state then stale[#stale + 1] = entry end
end
if #stale > 0 then
  local mine = at_once ~= '' and taken_before(at_once)
  if mine then return {{}, 0, mine} end
  return {stale, 0}
end

-- A channel of several pages ends: the next message has it, which is likely to be as long.
local function hand_on(channel)
  local following
  repeat
    following = redis.call('ZPOPMIN', CHANNEL_LINE .. channel)[1]
    if not following then return free_channel(channel) end
    following = in_line(following)
  until redis.call('HEXISTS', EXPANDING, following) == 1
  redis.call('HSET', EXPANDING_CHANNELS, channel, following)
  if redis.call('EXISTS', CHANNEL_LINE .. channel) == 1 then
    redis.call('ZADD', DUE, now() + patience, 'c:' .. channel)
  else
    redis.call('ZREM', DUE, 'c:' .. channel)
  end
  return add_to_group('LPUSH', group_of_line(channel), {following})
end

local open, freed = units(), 0
-- The numbers of the batch that is taken count these.
for i in each(badges) do count_unsent(unpack(ARGV, i, i + 3)) end
local taken
for i, id in each(batches) do
  local turn = ARGV[i + 11] == '1' and 0 or nil
  if id == at_once then taken = add_taken(open, turn, lease, unpack(ARGV, i, i + 7)) end
  if id ~= at_once or not taken then add_batch(open, turn, unpack(ARGV, i, i + 10)) end
end
add_second_looks(open, looks)
for i in each(missed) do count_missed(unpack(ARGV, i, i + 6)) end
for _, app, user, due in each(silent) do redis.call('ZADD', SILENT_BADGES, 'NX', due, app .. '\n' .. user) end
for _, name in each(answered) do end_reminder(name) end
for _, home, note in each(homeward) do send_home(home, note) end
for _, app, counter, amount in each(counts) do count(app, counter, amount) end
add_accounts(accounts)
local going_on, any_channel = {}, redis.call('EXISTS', EXPANDING_CHANNELS) == 1
for _, entry, following in each(pages) do going_on[entry] = following end
-- What a step does to its channel, and to an expansion that goes on.
local function pass(entry, state)
  local following = going_on[entry]
  if not following and not any_channel or is_second_look(entry) then return end
  local app, cursor, place, key = expansion(state)
  local channel = key ~= '' and key .. '@' .. app
  if following then
    redis.call('HSET', EXPANDING, entry, table.concat({app, following, place, key}, '\n'))
    if channel and cursor == '' then redis.call('HSET', EXPANDING_CHANNELS, channel, entry) end
    make_ready('bulk', app, entry)
  elseif channel and redis.call('HGET', EXPANDING_CHANNELS, channel) == entry then
    freed = freed + (cursor ~= '' and hand_on or free_channel)(channel)
  end
end
if any_channel or next(going_on) then
  for i, state in ipairs(values(EXPANDING, ARGV, steps.first, steps.last)) do pass(ARGV[steps.first + i - 1], state) end
end
for _, entry, state in each(single) do pass(entry, state) end

local done, ended, n = {}, {}, 0
for i = steps.first, steps.last do
  local entry = ARGV[i]
  if not going_on[entry] then
    n = n + 1
    done[n] = entry
  end
end
open:add_all(done, -1)
for _, entry in ipairs(entries) do
  if not going_on[entry] then
    ended[#ended + 1] = 'e:' .. entry
    done[#done + 1] = entry
    open:add(entry_of(entry), -1)
  end
end
bulk('HDEL', EXPANDING, done)
bulk('ZREM', DUE, ended)
bulk('HDEL', SECOND_LOOKS, ended_looks)
bulk('ZREM', SECOND_LOOKS_DUE, ended_looks)
freed = freed + done_in_groups(of_group)
open:apply()
return {stale, freed, taken}
