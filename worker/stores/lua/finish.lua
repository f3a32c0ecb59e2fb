-- id, batches to try later, counts, accounts: the batch is done, and what waited for it is ready. A second time does nothing.

-- Gives the batch's devices back. Whoever stands behind it for one of them moves up.
local function leave(id, provider, orders)
  local sending, behind, blocked = 'carillon:sending:' .. provider, 'carillon:behind:' .. id, 'carillon:blocked:' .. id
  local devices, told = devices_in(orders), {}
  if redis.call('EXISTS', behind, blocked) == 0 then return bulk('HDEL', sending, devices) end
  local followers, leaders, ours = values(behind, devices), values(blocked, devices), {}
  for k, device in ipairs(devices) do
    local follower, leader = followers[k], leaders[k]
    if leader and follower then
      redis.call('HSET', 'carillon:behind:' .. leader, device, follower)
      redis.call('HSET', 'carillon:blocked:' .. follower, device, leader)
    elseif leader then
      redis.call('HDEL', 'carillon:behind:' .. leader, device)
      redis.call('HSET', sending, device, leader)
    elseif follower then
      told[follower] = told[follower] or {}
      table.insert(told[follower], device)
    else
      ours[#ours + 1] = device
    end
  end
  bulk('HDEL', sending, ours)
  redis.call('DEL', behind, blocked, 'carillon:freed:' .. id)
  for follower, some in pairs(told) do
    bulk('HDEL', 'carillon:blocked:' .. follower, some)
    if redis.call('HLEN', 'carillon:blocked:' .. follower) <= 1 then
      redis.call('RPUSH', 'carillon:freed:' .. follower, 1)
      redis.call('EXPIRE', 'carillon:freed:' .. follower, 60)
    end
  end
end

-- The batch among those to try later that has all the jobs of this one.
local function in_its_place(n, orders)
  local jobs = string.gsub(orders, '@[^,]*', '')
  for k = 0, n - 1 do
    local i = 3 + k * 10
    if ARGV[i + 8] ~= '' and string.gsub(ARGV[i + 4], '@[^,]*', '') == jobs then return ARGV[i] end
  end
end

local id = ARGV[1]
local key = 'carillon:batch:' .. id
local batch = redis.call('HMGET', key, 'entries', 'provider', 'devices', 'badges', 'lines')
if not batch[1] then return -1 end
local open = units()
local at = each(2, 10, adds_batch(open))
at = each(at, 3, count)
accounts(at)
redis.call('DEL', key)
redis.call('ZREM', DUE, 'b:' .. id)
if batch[2] and batch[4] then leave(id, batch[2], batch[3]) end
if batch[5] then
  local lines = {}
  for line in string.gmatch(batch[5], '[^,]+') do lines[#lines + 1] = line end
  bulk('ZREM', 'carillon:later:' .. batch[2], lines)
end
-- What waits for all of its jobs goes on to wait where all of them do.
local line = 'carillon:followers:' .. id
local followers = redis.call('LRANGE', line, 0, -1)
local instead = #followers > 0 and in_its_place(tonumber(ARGV[2]), batch[3])
if instead then
  redis.call('RENAME', line, 'carillon:followers:' .. instead)
  followers = {}
end
for k = #followers, 1, -1 do
  local follower = redis.call('HMGET', 'carillon:batch:' .. followers[k], 'lane', 'app')
  if follower[1] and redis.call('ZREM', DUE, 'b:' .. followers[k]) == 1 then
    put_back('b', follower[1], follower[2], followers[k])
  end
end
redis.call('DEL', line)
for entry in entries_in(batch[1]) do open:add(entry, -1) end
return open:settle()
