-- id, delay: hands the batch back as if it had not been taken: into its line (0), or to be taken after `delay` seconds. So are those that
-- wait for it, and for these: what is taken next is the first of the line. Returns how many of them there are.
local returned, before, sending = 0, {}, nil

local function give_back(id, delay)
  local key = 'carillon:batch:' .. id
  local batch = redis.call('HMGET', key, 'lane', 'app', 'provider', 'devices', 'turn')
  if not batch[1] then return end
  redis.call('HDEL', key, 'leased', 'claimed')
  for _, one in ipairs(redis.call('SMEMBERS', waits_of(id))) do before[one] = true end
  redis.call('DEL', waits_of(id))
  if delay > 0 then
    redis.call('ZADD', DUE, now() + delay, 'b:' .. id)
  else
    put_in_line(batch[1], batch[2], batch[3], id, batch[5])
  end
  sending = 'carillon:sending:' .. batch[3]
  local devices, ours = devices_in(batch[4]), {}
  for k, holder in ipairs(values(sending, devices)) do
    if holder == id then ours[#ours + 1] = devices[k] end
  end
  bulk('HDEL', sending, ours)
  for _, follower in ipairs(redis.call('LRANGE', followers_of(id), 0, -1)) do
    if redis.call('SREM', waits_of(follower), id) == 1 then
      redis.call('LREM', followers_of(id), 1, follower)
      if redis.call('HEXISTS', 'carillon:batch:' .. follower, 'leased') == 0 then
        returned = returned + 1
        give_back(follower, 0)
      end
    end
  end
end

give_back(ARGV[1], tonumber(ARGV[2]))
-- The devices are again those of whoever still has them, the last one first.
local still = {}
for one in pairs(before) do
  if redis.call('HEXISTS', 'carillon:batch:' .. one, 'claimed') == 1 then still[#still + 1] = one end
end
table.sort(still, function(a, b) return a > b end)
for _, one in ipairs(still) do
  local devices, theirs = devices_in(redis.call('HGET', 'carillon:batch:' .. one, 'devices')), {}
  for k, holder in pairs(values(sending, devices)) do
    if not holder then
      theirs[#theirs + 1] = devices[k]
      theirs[#theirs + 1] = one
    end
  end
  bulk('HSET', sending, theirs)
end
return returned
