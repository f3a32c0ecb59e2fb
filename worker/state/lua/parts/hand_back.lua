-- With: devices, followers
-- Whether any that waits for the batch, or for one that does, is being sent: it goes on behind it, with the devices that it waits for.
local function is_awaited(id)
  for _, follower in ipairs(redis.call('LRANGE', FOLLOWERS .. id, 0, -1)) do
    if redis.call('SISMEMBER', WAITS .. follower, id) == 1 then
      if redis.call('HEXISTS', BATCH .. follower, 'leased') == 1 or is_awaited(follower) then return true end
    end
  end
  return false
end
-- Hands a batch back as if it had not been taken: into its line (0), or to be taken after `delay` seconds. So are those that wait for
-- it, and for these: what is taken next is the first of the line. One that is awaited keeps its devices, and its place before those that
-- wait for it. Returns how many of these there are, by lane.
local function hand_back(id, delay)
  local returned, before, sending, keeps = none_freed(), {}, nil, is_awaited(id)
  local function give_back(one, after)
    local key = BATCH .. one
    local batch = redis.call('HMGET', key, 'lane', 'app', 'provider', 'devices', 'turn')
    if not batch[1] then return end
    redis.call('HDEL', key, 'leased')
    if after > 0 then
      redis.call('ZADD', DUE, now() + after, 'b:' .. one)
    else
      put_in_line(batch[1], batch[2], batch[3], one, batch[5])
    end
    if keeps then return end
    redis.call('HDEL', key, 'claimed')
    for _, earlier in ipairs(redis.call('SMEMBERS', WAITS .. one)) do
      before[earlier] = true
      redis.call('LREM', FOLLOWERS .. earlier, 0, one)
    end
    redis.call('DEL', WAITS .. one)
    sending = SENDING .. batch[3]
    local devices, ours = devices_in(batch[4]), {}
    for k, holder in ipairs(values(sending, devices)) do
      if holder == one then ours[#ours + 1] = devices[k] end
    end
    bulk('HDEL', sending, ours)
    for _, follower in ipairs(redis.call('LRANGE', FOLLOWERS .. one, 0, -1)) do
      if redis.call('SREM', WAITS .. follower, one) == 1 then
        redis.call('LREM', FOLLOWERS .. one, 1, follower)
        local lane, leased = unpack(redis.call('HMGET', BATCH .. follower, 'lane', 'leased'))
        if not leased then
          if lane then returned[lane] = returned[lane] + 1 end
          give_back(follower, 0)
        end
      end
    end
  end
  give_back(id, delay)
  -- The devices are again those of whoever still has them, the last one first.
  local still = {}
  for one in pairs(before) do
    local batch = redis.call('HMGET', BATCH .. one, 'claimed', 'turn', 'devices')
    if batch[1] then still[#still + 1] = {one, tonumber(batch[2] or 0), batch[3]} end
  end
  table.sort(still, function(a, b) return a[2] > b[2] end)
  for _, one in ipairs(still) do
    local devices, theirs = devices_in(one[3]), {}
    for k, holder in pairs(values(sending, devices)) do
      if not holder then
        theirs[#theirs + 1] = devices[k]
        theirs[#theirs + 1] = one[1]
      end
    end
    bulk('HSET', sending, theirs)
  end
  return returned
end
