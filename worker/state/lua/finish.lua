-- id, batches to try later, counts, accounts: the batch is done. Returns how many batches can be taken that waited for it, of
-- the urgent lane and of the bulk lane. A second time does nothing.

-- Gives the batch's devices back, but those that a later one has by now, or with `heirs` one of those that take over. Who waited for
-- them counts in `freed`.
local function leave(id, provider, orders, heirs, freed)
  local key, devices = 'carillon:sending:' .. provider, devices_in(orders)
  redis.call('DEL', waits_of(id))
  local followers = redis.call('LRANGE', followers_of(id), 0, -1)
  if #followers == 0 and not heirs then
    bulk('HDEL', key, devices)
    return
  end
  local ours = {}
  for k, holder in ipairs(values(key, devices)) do
    if holder == id then ours[#ours + 1] = devices[k] end
  end
  bulk('HDEL', key, ours)
  for _, follower in ipairs(followers) do
    if redis.call('SISMEMBER', waits_of(follower), id) == 1 then
      redis.call('LREM', followers_of(id), 1, follower)
      let_go(follower, id, freed)
    end
  end
end

-- The batch among those to try later that has all the jobs of this one.
local function in_its_place(n, orders)
  local jobs = string.gsub(orders, '@[^,]*', '')
  for k = 0, n - 1 do
    local i = 3 + k * 11
    if ARGV[i + 10] == '0' and string.gsub(ARGV[i + 4], '@[^,]*', '') == jobs then return ARGV[i] end
  end
end

-- The batch has the devices from now on, and waits for those before `id`; whoever waited for `id` with one of these devices waits on.
local function take_over(id, provider, i)
  local heir, key = ARGV[i], 'carillon:sending:' .. provider
  local devices, theirs, mine = devices_in(ARGV[i + 4]), {}, {}
  for k, holder in ipairs(values(key, devices)) do
    theirs[devices[k]] = true
    if holder == id then
      mine[#mine + 1] = devices[k]
      mine[#mine + 1] = heir
    end
  end
  bulk('HSET', key, mine)
  redis.call('HSET', 'carillon:batch:' .. heir, 'claimed', 1)
  for _, before in ipairs(redis.call('SMEMBERS', waits_of(id))) do
    if redis.call('EXISTS', 'carillon:batch:' .. before) == 1 then follow(heir, before) end
  end
  for _, follower in ipairs(redis.call('LRANGE', followers_of(id), 0, -1)) do
    if redis.call('SISMEMBER', waits_of(follower), id) == 1 then
      for _, device in ipairs(devices_in(redis.call('HGET', 'carillon:batch:' .. follower, 'devices') or '')) do
        if theirs[device] then
          follow(follower, heir)
          break
        end
      end
    end
  end
end

local id = ARGV[1]
local key = 'carillon:batch:' .. id
local batch = redis.call('HMGET', key, 'entries', 'provider', 'devices', 'claimed', 'lines', 'turn')
if not batch[1] then return told(none_freed()) end
local open = units()
local adds, heirs = adds_batch(open, batch[6] or 0), false
local at = each(2, 11, function(i)
  adds(i)
  if batch[4] and ARGV[i + 10] == '1' then
    take_over(id, batch[2], i)
    heirs = true
  end
end)
at = each(at, 3, count)
accounts(at)
redis.call('DEL', key)
redis.call('ZREM', DUE, 'b:' .. id)
local freed = none_freed()
if batch[4] then leave(id, batch[2], batch[3], heirs, freed) end
if batch[5] then
  local lines = {}
  for line in string.gmatch(batch[5], '[^,]+') do lines[#lines + 1] = line end
  bulk('ZREM', 'carillon:later:' .. batch[2], lines)
end
-- What waits for all of its jobs goes on to wait where all of them do.
local followers = redis.call('LRANGE', followers_of(id), 0, -1)
local instead = #followers > 0 and in_its_place(tonumber(ARGV[2]), batch[3])
if instead then
  redis.call('RENAME', followers_of(id), followers_of(instead))
else
  for _, follower in ipairs(followers) do let_go(follower, id, freed) end
  redis.call('DEL', followers_of(id))
end
for entry in entries_in(batch[1]) do open:add(entry, -1) end
open:apply()
return told(freed)
