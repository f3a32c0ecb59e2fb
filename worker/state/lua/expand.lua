-- Takes steps of expansions, each with the entry's state as it was taken, and the cursor of its next page or '-'; with what they made.
-- A second look has one step, '-'. Takes all, or, when another worker was first with any, nothing. A channel's messages wait for an
-- earlier one for `patience` seconds. The batch `at_once` ('' for none) is leased to the caller for `lease` seconds, where it is the next.
-- ARGV: steps [entry, state, following, group, turn], patience: number, batches [id, document, app, lane, devices, entries, delay,
--   way, lines, behind, takes_over, ahead], looks [id, delay, state],
--   missed [app, user, conversation, line, called, ends, due], badges [app, device, place, number], silent [app, user, due],
--   answered [name], homeward [home, note], counts [app, counter, amount], accounts [document], at_once, lease: number
-- Returns: the entries with which another was first, how many messages can be taken by now that waited, and of the batch that is leased
--   {badges, waits, overtaking, troubled} as take_batch.lua has it; without that nothing.
-- Twice: does nothing, and returns every entry.
-- With: at_once, batches, channels, expansion, homeward, missed, new_looks, reminders, second_looks, totals
local entries, stale, turns, groups, ended_looks = {}, {}, {}, {}, {}
for _, entry, _, _, group in each(steps) do
  entries[#entries + 1] = entry
  if group ~= '' and not turns[group] then
    turns[group] = true
    groups[#groups + 1] = group
  end
end
for k, turn in ipairs(values(EXPANDING_GROUPS, groups)) do turns[groups[k]] = turn end
local states, n = values(EXPANDING, entries), 0
for k, id in ipairs(entries) do
  if is_second_look(id) then
    states[k] = state_of(id)
    ended_looks[#ended_looks + 1] = id
  end
end
for _, entry, state, _, group, turn in each(steps) do
  n = n + 1
  if states[n] ~= state or group ~= '' and turns[group] ~= turn then stale[#stale + 1] = entry end
end
if #stale > 0 then return {stale, 0} end

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

local open, done, ended, finished, freed = units(), {}, {}, {}, 0
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
local any_channel = redis.call('EXISTS', EXPANDING_CHANNELS) == 1
for _, entry, state, following, group in each(steps) do
  if group ~= '' then
    put_under(finished, group, entry)
  elseif following == '-' then
    ended[#ended + 1] = 'e:' .. entry
  end
  if following == '-' then
    done[#done + 1] = entry
    open:add(entry_of(entry), -1)
  end
  if following ~= '-' or any_channel and not is_second_look(entry) then
    local app, cursor, place, key = expansion(state)
    local channel = key ~= '' and key .. '@' .. app
    if following ~= '-' then
      redis.call('HSET', EXPANDING, entry, table.concat({app, following, place, key}, '\n'))
      if channel and cursor == '' then redis.call('HSET', EXPANDING_CHANNELS, channel, entry) end
      make_ready('bulk', app, entry)
    elseif channel and redis.call('HGET', EXPANDING_CHANNELS, channel) == entry then
      freed = freed + (cursor ~= '' and hand_on or free_channel)(channel)
    end
  end
end
bulk('HDEL', EXPANDING, done)
bulk('ZREM', DUE, ended)
bulk('HDEL', SECOND_LOOKS, ended_looks)
bulk('ZREM', SECOND_LOOKS_DUE, ended_looks)
for _, group in ipairs(finished) do freed = freed + done_in_group(group, finished[group]) end
open:apply()
return {stale, freed, taken}
