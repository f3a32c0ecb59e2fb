-- steps (entry, its state as it was taken, next cursor or '-', group or '', turn), patience, batches, counts, accounts: all of it, or, when
-- another worker was first, nothing. Returns the entries with which another was first, and how many messages can be taken by now.
local entries, stale, groups, asked = {}, {}, {}, {}
local after = each(1, 5, function(i)
  local group = ARGV[i + 3]
  entries[#entries + 1] = ARGV[i]
  if group ~= '' and not groups[group] then
    groups[group] = true
    asked[#asked + 1] = group
  end
end)
for k, turn in ipairs(values(EXPANDING_GROUPS, asked)) do groups[asked[k]] = turn end
local states, n = values(EXPANDING, entries), 0
each(1, 5, function(i)
  n = n + 1
  local group = ARGV[i + 3]
  if states[n] ~= ARGV[i + 1] or group ~= '' and groups[group] ~= ARGV[i + 4] then stale[#stale + 1] = ARGV[i] end
end)
if #stale > 0 then return {stale, 0} end

-- A channel of several pages ends: the next message has it, which is likely to be as long.
local function hand_on(channel)
  local following
  repeat
    following = redis.call('ZPOPMIN', channel_line(channel))[1]
    if not following then return free_channel(channel) end
    following = in_line(following)
  until redis.call('HEXISTS', EXPANDING, following) == 1
  redis.call('HSET', HOLDERS, channel, following)
  if redis.call('EXISTS', channel_line(channel)) == 1 then
    redis.call('ZADD', DUE, now() + tonumber(ARGV[after]), 'c:' .. channel)
  else
    redis.call('ZREM', DUE, 'c:' .. channel)
  end
  return add_to_group('LPUSH', group_of_line(channel), {following})
end

local open, done, ended, finished, freed = units(), {}, {}, {}, 0
local at = each(after + 1, 11, adds_batch(open))
at = each(at, 3, count)
accounts(at)
local any_held = redis.call('EXISTS', HOLDERS) == 1
each(1, 5, function(i)
  local entry, following, group = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  if group ~= '' then
    put_under(finished, group, entry)
  elseif following == '-' then
    ended[#ended + 1] = 'e:' .. entry
  end
  if following == '-' then
    done[#done + 1] = entry
    open:add(entry, -1)
  end
  if following ~= '-' or any_held then
    local app, cursor, place, key = expansion(ARGV[i + 1])
    local channel = key ~= '' and key .. '@' .. app
    if following ~= '-' then
      redis.call('HSET', EXPANDING, entry, table.concat({app, following, place, key}, '\n'))
      if channel and cursor == '' then redis.call('HSET', HOLDERS, channel, entry) end
      make_ready('bulk', app, entry)
    elseif channel and redis.call('HGET', HOLDERS, channel) == entry then
      freed = freed + (cursor ~= '' and hand_on or free_channel)(channel)
    end
  end
end)
bulk('HDEL', EXPANDING, done)
bulk('ZREM', DUE, ended)
for _, group in ipairs(finished) do freed = freed + done_in_group(group, finished[group]) end
open:apply()
return {stale, freed}
