-- The badge numbers of a batch of another partition, which are counted once; `again`: they were before (1 or 0). It has its devices here
-- for `lease` seconds, but those that others have: these are `blocked`. What it was answered is kept for `keep` seconds.
-- ARGV: id, app, way, orders, again, lease: number, keep: number
-- Returns: {badges, blocked}.
-- Twice: counts nothing, and returns the numbers as they are by then.
-- With: devices, numbers
local answer, claim, sending = NUMBERED .. id, BATCH .. id, SENDING .. way
local all, heads = parsed(orders)
local known = again == '1' or redis.call('EXISTS', answer) == 1
local counted, before, devices = numbers(app, orders, all, heads, known)
local badges = table.concat(counted, ',')
redis.call('HSET', answer, 'app', app, 'provider', way, 'devices', orders, 'badges', badges)
if #before > 0 then redis.call('HSET', answer, 'before', table.concat(before, ',')) end
if known then redis.call('HSET', answer, 'again', 1) end
redis.call('EXPIRE', answer, keep)

-- The devices that a holder still has, by name; nothing where it is no more.
local holders = {}
local function has(holder, device)
  if holders[holder] == nil then
    local batch, left = redis.call('HMGET', BATCH .. holder, 'app', 'devices', 'accepted'), {}
    if batch[1] then
      for _, one in ipairs(devices_left(batch[2] or '', batch[3])) do left[one] = true end
    end
    holders[holder] = left
  end
  return holders[holder][device]
end
local mine, free, blocked, seen = pairs_of(), {}, {}, {}
for k, holder in ipairs(values(sending, devices)) do
  local device = devices[k]
  if not seen[device] then
    seen[device] = true
    if holder and holder ~= id and has(holder, device) then
      blocked[#blocked + 1] = device
    else
      free[#free + 1] = device
      mine[#mine + 1], mine[#mine + 2] = device, id
    end
  end
end
if #free > 0 then
  bulk('HSET', sending, mine)
  redis.call('EXPIRE', sending, 86400)
  local turn = redis.call('HGET', claim, 'turn') or redis.call('INCR', TURN)
  -- Without a lane, so that nobody takes it here.
  redis.call('HSET', claim, 'app', app, 'provider', way, 'turn', turn, 'leased', 1, 'claimed', 1, 'taken',
    string.format('%.3f', now()), 'devices', table.concat(free, ','))
  redis.call('EXPIRE', claim, math.ceil(lease))
end
return {badges, blocked}
