-- The batch is done, but for what is tried later. `well`: devices that accepted it, where all of them did: they are added to the answers
-- of its way, of which the `recent` ones count. `credential` and `ago` as of first_refusals.lua.
-- ARGV: id, recent: number, well: number, credential, ago: number,
--   later [part, document, app, lane, devices, entries, delay, way, lines, behind, takes_over, ahead],
--   looks [id, delay, state], shown [app, name, at], pushed [name, delay, at, message],
--   counts [app, counter, amount], accounts [document]
-- Returns: how many batches can be taken by now that waited for it, of the urgent lane and of the bulk lane.
-- Twice: does nothing.
-- With: answers, banners, batches, devices, followers, new_looks, reminders, totals

-- The batch waits for each of those that have one of its devices: device -> batch.
local function wait_for_any(follower, holders)
  local before = {}
  for _, device in ipairs(devices_in(redis.call('HGET', BATCH .. follower, 'devices') or '')) do
    local holder = holders[device]
    if holder and not before[holder] then
      before[holder] = true
      follow(follower, holder)
    end
  end
end

-- Of the batch's devices those that a batch before it still has, and that no heir took: device -> the last such batch. It was sent
-- without them.
local function still_held(orders, taken_over)
  local before, held, turns, mine = redis.call('SMEMBERS', WAITS .. id), {}, {}, {}
  if #before == 0 then return held end
  for _, device in ipairs(devices_in(orders)) do mine[device] = not taken_over[device] end
  for _, one in ipairs(before) do
    local devices, turn, accepted = unpack(redis.call('HMGET', BATCH .. one, 'devices', 'turn', 'accepted'))
    turn = tonumber(turn or 0)
    for _, device in ipairs(devices_left(devices or '', accepted)) do
      if mine[device] and turn >= (turns[device] or 0) then held[device], turns[device] = one, turn end
    end
  end
  return held
end

-- Gives the batch's devices back, but those that a later one has by now, or an heir. What a batch before it still has is that one's
-- again. A batch that waited for them counts in `freed`, or waits on.
local function leave(way, orders, taken_over, freed)
  local key, devices, held = SENDING .. way, devices_in(orders), still_held(orders, taken_over)
  redis.call('DEL', WAITS .. id)
  local followers = redis.call('LRANGE', FOLLOWERS .. id, 0, -1)
  if #followers == 0 and not next(taken_over) and not next(held) then
    bulk('HDEL', key, devices)
    return
  end
  local ours, theirs = {}, {}
  for k, holder in ipairs(values(key, devices)) do
    local device = devices[k]
    if holder == id and held[device] then
      theirs[#theirs + 1] = device
      theirs[#theirs + 1] = held[device]
    elseif holder == id then
      ours[#ours + 1] = device
    end
  end
  bulk('HDEL', key, ours)
  bulk('HSET', key, theirs)
  for _, follower in ipairs(followers) do
    if redis.call('SISMEMBER', WAITS .. follower, id) == 1 then
      if next(held) then wait_for_any(follower, held) end
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

-- The heir has the devices from now on, and waits for those before `id`. A batch that waited for `id` with one of them waits on.
-- Adds them to `taken_over`.
local function take_over(heir, way, orders, taken_over)
  local key = SENDING .. way
  local devices, theirs, mine = devices_in(orders), {}, {}
  for k, holder in ipairs(values(key, devices)) do
    theirs[devices[k]], taken_over[devices[k]] = heir, true
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
    if redis.call('SISMEMBER', WAITS .. follower, id) == 1 then wait_for_any(follower, theirs) end
  end
end

local batch = redis.call('HMGET', BATCH .. id, 'entries', 'provider', 'devices', 'claimed', 'lines', 'turn')
if not batch[1] then return by_lane(none_freed()) end
local open, taken_over = units(), {}
for i, part, _, _, _, devices, _, _, _, _, _, takes_over in each(later) do
  add_batch(open, batch[6] or 0, unpack(ARGV, i, i + 10))
  if batch[4] and takes_over == '1' then take_over(part, batch[2], devices, taken_over) end
end
add_second_looks(open, looks)
note_shown(shown)
for _, name, delay, at, message in each(pushed) do remind_after(name, delay, at, message) end
for _, app, counter, amount in each(counts) do count(app, counter, amount) end
add_accounts(accounts)
if well > 0 then
  add_answers(ANSWERS .. batch[2], recent, {well, 0, 0, 0})
  end_row(ANSWERS .. batch[2])
  note_proof(ANSWERS .. batch[2], ago, credential)
  redis.call('DEL', REFUSED .. batch[2])
end
redis.call('DEL', BATCH .. id)
redis.call('ZREM', DUE, 'b:' .. id)
local freed = none_freed()
if batch[4] then leave(batch[2], batch[3], taken_over, freed) end
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
open:add_all(entries_in(batch[1]), -1)
open:apply()
return by_lane(freed)
