-- The batch is done, but for what is tried later.
-- ARGV: id, later [part, document, app, lane, devices, entries, delay, provider, lines, behind, takes_over],
--   counts [app, counter, amount], accounts [document]
-- Returns: how many batches can be taken by now that waited for it, of the urgent lane and of the bulk lane.
-- Twice: does nothing.
-- With: batches, devices, followers, totals

-- Gives the batch's devices back, but those that a later one has by now, or with `heirs` one of those that take over. Who waited for
-- them counts in `freed`.
local function leave(provider, orders, heirs, freed)
  local key, devices = SENDING .. provider, devices_in(orders)
  redis.call('DEL', WAITS .. id)
  local followers = redis.call('LRANGE', FOLLOWERS .. id, 0, -1)
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
    if redis.call('SISMEMBER', WAITS .. follower, id) == 1 then
      redis.call('LREM', FOLLOWERS .. id, 1, follower)
      let_go(follower, id, freed)
    end
  end
end

-- The batch among those to try later that has all the jobs of this one.
local function in_its_place(orders)
  local jobs = string.gsub(orders, '@[^,]*', '')
  for _, part, _, _, _, devices, _, _, _, _, _, takes_over in each(later) do
    if takes_over == '0' and string.gsub(devices, '@[^,]*', '') == jobs then return part end
  end
end

-- The heir has the devices from now on, and waits for those before `id`; whoever waited for `id` with one of these devices waits on.
local function take_over(heir, provider, orders)
  local key = SENDING .. provider
  local devices, theirs, mine = devices_in(orders), {}, {}
  for k, holder in ipairs(values(key, devices)) do
    theirs[devices[k]] = true
    if holder == id then
      mine[#mine + 1] = devices[k]
      mine[#mine + 1] = heir
    end
  end
  bulk('HSET', key, mine)
  redis.call('HSET', BATCH .. heir, 'claimed', 1)
  for _, before in ipairs(redis.call('SMEMBERS', WAITS .. id)) do
    if redis.call('EXISTS', BATCH .. before) == 1 then follow(heir, before) end
  end
  for _, follower in ipairs(redis.call('LRANGE', FOLLOWERS .. id, 0, -1)) do
    if redis.call('SISMEMBER', WAITS .. follower, id) == 1 then
      for _, device in ipairs(devices_in(redis.call('HGET', BATCH .. follower, 'devices') or '')) do
        if theirs[device] then
          follow(follower, heir)
          break
        end
      end
    end
  end
end

local batch = redis.call('HMGET', BATCH .. id, 'entries', 'provider', 'devices', 'claimed', 'lines', 'turn')
if not batch[1] then return by_lane(none_freed()) end
local open, heirs = units(), false
for i, part, _, _, _, devices, _, _, _, _, _, takes_over in each(later) do
  add_batch(open, batch[6] or 0, unpack(ARGV, i, i + 10))
  if batch[4] and takes_over == '1' then
    take_over(part, batch[2], devices)
    heirs = true
  end
end
for _, app, counter, amount in each(counts) do count(app, counter, amount) end
add_accounts(accounts)
redis.call('DEL', BATCH .. id)
redis.call('ZREM', DUE, 'b:' .. id)
local freed = none_freed()
if batch[4] then leave(batch[2], batch[3], heirs, freed) end
if batch[5] then
  local lines = {}
  for line in string.gmatch(batch[5], '[^,]+') do lines[#lines + 1] = line end
  bulk('ZREM', LATER .. batch[2], lines)
end
-- What waits for all of its jobs goes on to wait where all of them do.
local followers = redis.call('LRANGE', FOLLOWERS .. id, 0, -1)
local instead = #followers > 0 and in_its_place(batch[3])
if instead then
  redis.call('RENAME', FOLLOWERS .. id, FOLLOWERS .. instead)
else
  for _, follower in ipairs(followers) do let_go(follower, id, freed) end
  redis.call('DEL', FOLLOWERS .. id)
end
for entry in entries_in(batch[1]) do open:add(entry, -1) end
open:apply()
return by_lane(freed)
