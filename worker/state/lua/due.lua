-- Makes ready what is due: retries whose time has come, and what a dead worker had taken; at most `limit`, and as many second looks.
-- Pass the returned gap to the next call of the same tick, and nothing on the first. After a time in which nobody asked (we, or Redis,
-- were away) a batch whose lease ran out in it is left to its owner for `patience` seconds more, once: the owner could not renew it
-- either, and may be about to finish.
-- ARGV: limit, patience: number, gap
-- Returns: {moved, examined, gap}
-- Twice: what is ready stays ready.
-- With: channels, expansion, places, resumed
-- The provider of a batch of a release before, which stands only in its document.
local function provider_in(key)
  local provider = string.match(redis.call('HGET', key, 'doc') or '', '^%["[^"]*",(%d+)') or '0'
  redis.call('HSET', key, 'provider', provider)
  return provider
end

local t = now()
local asked = tonumber(redis.call('GET', ASKED) or t)
redis.call('SET', ASKED, string.format('%.3f', t))
redis.call('SET', WATCHED, 1, 'PX', 3000)
local away = tonumber(gap) or t - asked
local due, readied = redis.call('ZRANGEBYSCORE', DUE, '-inf', t, 'LIMIT', 0, limit), 0
local again = {}
for _, member in ipairs(due) do
  local kind, id = string.sub(member, 1, 1), string.sub(member, 3)
  if kind == 'b' then
    local key = BATCH .. id
    local batch = redis.call('HMGET', key, 'lane', 'app', 'leased', 'provider', 'turn')
    if away > patience / 2 and batch[3] == '1' then
      redis.call('HSET', key, 'leased', 2)
      redis.call('ZADD', DUE, t + patience, member)
    else
      redis.call('ZREM', DUE, member)
      if batch[1] then
        redis.call('HDEL', key, 'leased')
        put_in_line(batch[1], batch[2], batch[4] or provider_in(key), id, batch[5])
        readied = readied + 1
      end
    end
  elseif kind == 'c' then
    -- Its line has waited for long enough.
    redis.call('ZREM', DUE, member)
    redis.call('HINCRBY', COUNTS .. app_in(id), 'channels_overtaken', 1)
    readied = readied + redis.call('ZCARD', CHANNEL_LINE .. id)
    free_channel(id)
  elseif kind == 'g' then
    -- What a dead worker had taken is before all that came after it.
    local taken, back = redis.call('LRANGE', TAKEN .. id, 0, -1), {}
    for _, entry in ipairs(taken) do
      local _, cursor = expansion(redis.call('HGET', EXPANDING, entry) or '')
      if cursor == '' then back[#back + 1] = entry end
    end
    if #back > 0 then add_to_group('LPUSH', id, back) end
    done_in_group(id, taken)
    readied = readied + #back
  else
    local state = redis.call('HGET', EXPANDING, id)
    redis.call('ZREM', DUE, member)
    redis.call('SREM', SCHEDULED, id)
    if state then
      local app, cursor, place, channel = expansion(state)
      if cursor ~= '' then
        make_ready('bulk', app, id)
      elseif channel ~= '' then
        again[#again + 1] = {id, group_of(channel, app), place}
      else
        make_ready('urgent', app, id)
      end
      readied = readied + 1
    end
  end
end
local looks = redis.call('ZRANGEBYSCORE', SECOND_LOOKS_DUE, '-inf', t, 'LIMIT', 0, limit)
bulk('ZREM', SECOND_LOOKS_DUE, looks)
for k, state in ipairs(values(SECOND_LOOKS, looks)) do
  if state then
    make_ready('looks', expansion(state), looks[k])
    readied = readied + 1
  end
end
-- Ways that may have a turn again.
for _, lane in ipairs({'urgent', 'bulk'}) do
  for _, way in ipairs(redis.call('ZRANGEBYSCORE', OUT_OF_TURN .. lane, '-inf', t, 'LIMIT', 0, 1000)) do back_in_turn(way) end
end
-- What a release before made ready.
for _, lane in ipairs({'urgent', 'bulk'}) do
  local apps = OLD_READY .. lane
  for _, app in ipairs(redis.call('LRANGE', apps, 0, -1)) do
    local batches = OLD_READY_OF_APP .. lane .. ':' .. app
    for _, id in ipairs(redis.call('LPOP', batches, 1000) or {}) do
      local key = BATCH .. id
      if redis.call('EXISTS', key) == 1 then
        put_in_line(lane, app, redis.call('HGET', key, 'provider') or provider_in(key), id)
        readied = readied + 1
      end
    end
    if redis.call('EXISTS', batches) == 0 then redis.call('LREM', apps, 0, app) end
  end
end
-- What is tried again is before all that came after it, in its order.
table.sort(again, function(a, b) return newer(a[3], b[3]) end)
for _, one in ipairs(again) do add_to_group('LPUSH', one[2], {one[1]}) end
return {readied, math.max(#due, #looks), string.format('%.3f', away)}
