-- steps (entry, app, cursor, next or '-'), patience, batches, counts, accounts: all of it, or, when another worker was first, nothing.
-- Returns the entries with which another was first, and how many messages are ready because their channel is free.
local stale, places, channels, keys, asked, holders = {}, {}, {}, {}, {}, {}
local known, n = {}, 0
local after = each(1, 4, function(i) known[#known + 1] = ARGV[i] end)
known = values(EXPANDING, known)
each(1, 4, function(i)
  local entry = ARGV[i]
  n = n + 1
  local app, cursor, place, channel = expansion(known[n] or '')
  if app ~= ARGV[i + 1] or cursor ~= ARGV[i + 2] then
    stale[#stale + 1] = entry
  else
    places[entry] = place
    if channel ~= '' then
      keys[entry], channels[entry] = channel, channel .. '@' .. app
      asked[#asked + 1] = channels[entry]
    end
  end
end)
for k, holder in ipairs(values(HOLDERS, asked)) do holders[asked[k]] = holder end
-- A lease ended, and another worker has an earlier message of the channel by now: this one waits for it.
local behind = {}
each(1, 4, function(i)
  local entry = ARGV[i]
  local holder = channels[entry] and ARGV[i + 2] == '' and holders[channels[entry]]
  if holder and holder ~= entry then
    holder = string.match(holder, '^[^\n]*')
    if not places[holder] then
      local _, _, place = expansion(redis.call('HGET', EXPANDING, holder) or '')
      places[holder] = place or places[entry]
    end
    if newer(places[entry], places[holder]) then
      stale[#stale + 1] = entry
      behind[#behind + 1] = entry
    end
  end
end)
for _, entry in ipairs(behind) do
  local channel = channels[entry]
  if redis.call('ZREM', DUE, 'e:' .. entry) == 1 then
    local holder = hold(channel, holders[channel], {{places[entry], entry}}, tonumber(ARGV[after]))
    redis.call('HSET', HOLDERS, channel, holder)
  end
end
if #stale > 0 then return {stale, 0} end

-- A channel of several pages ends: the next message has it, which is likely to be as long. Returns whether there is one.
local function hand_on(entry, channel)
  if holders[channel] ~= entry .. '\n' then return false end
  local following
  repeat
    following = redis.call('ZPOPMIN', channel_line(channel))[1]
    if not following then return false end
    following = in_line(following)
    local _, cursor = expansion(redis.call('HGET', EXPANDING, following) or '')
  until cursor == ''
  local more = redis.call('EXISTS', channel_line(channel)) == 1
  redis.call('HSET', HOLDERS, channel, following .. (more and '\n' or ''))
  if more then
    redis.call('ZADD', DUE, now() + tonumber(ARGV[after]), 'c:' .. channel)
  else
    redis.call('ZREM', DUE, 'c:' .. channel)
  end
  put_back('urgent', string.match(channel, '@(.*)$'), following)
  return true
end

local open, done, taken, ended, freed = units(), {}, {}, {}, 0
local at = each(after + 1, 11, adds_batch(open))
at = each(at, 3, count)
accounts(at)
each(1, 4, function(i)
  local entry, app, following = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  local channel = channels[entry]
  if following == '-' then
    done[#done + 1] = entry
    taken[#taken + 1] = 'e:' .. entry
    open:add(entry, -1)
    if channel and ARGV[i + 2] ~= '' and hand_on(entry, channel) then
      freed = freed + 1
    elseif channel then
      ended[#ended + 1] = {entry, channel}
    end
  else
    redis.call('HSET', EXPANDING, entry, table.concat({app, following, places[entry], keys[entry]}, '\n'))
    if channel and ARGV[i + 2] == '' then
      holders[channel] = entry .. (string.match(holders[channel] or '', '\n') or '')
      redis.call('HSET', HOLDERS, channel, holders[channel])
    end
    make_ready('bulk', app, entry)
  end
end)
bulk('HDEL', EXPANDING, done)
bulk('ZREM', DUE, taken)
open:settle()
return {stale, freed + free_channels(ended, holders)}
