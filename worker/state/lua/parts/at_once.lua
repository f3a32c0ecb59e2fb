-- With: batches, devices, earlier, numbers, ways
-- Whether a new batch can be taken at once: nothing waits in its lane, its way flows, and nobody has any of its devices.
local function is_next(lane, way, devices)
  local whole = whole_of(way) or way
  local hindered = redis.call('EXISTS', TURNS .. lane, line_of(lane, way), QUOTA .. way, BREAKER .. way, QUOTA .. whole, BREAKER .. whole)
  if hindered > 0 then return false end
  if nobody_sends(way) then return true end
  for _, holder in ipairs(values(SENDING .. way, devices)) do
    if holder then return false end
  end
  return true
end
local function as_taken(id, way, orders, badges)
  local waits, overtaking = behind_earlier(id, way, orders)
  return {badges, waits, overtaking, math.min(1, redis.call('EXISTS', COOLDOWNS .. way, FIRST_REFUSALS .. way))}
end
-- Adds a batch that whoever adds it has for `lease` seconds, as take_batch.lua would hand it out, without its way into the line and back.
-- Returns {badges, waits, overtaking, troubled} as that does; nothing where it cannot be taken at once, and then it is not added.
local function add_taken(open, turn, lease, id, document, app, lane, orders, entries, _, way)
  local devices, heads = parsed(orders)
  if not is_next(lane, way, devices) then return nil end
  local mine, t = pairs_of(), now()
  for k, device in ipairs(devices) do mine[2 * k + 1], mine[2 * k + 2] = device, id end
  bulk('HSET', SENDING .. way, mine)
  redis.call('EXPIRE', SENDING .. way, 86400)
  redis.call('ZADD', DUE, t + lease, 'b:' .. id)
  local counted, before = numbers(app, orders, devices, heads)
  local badges = table.concat(counted, ',')
  local taken = {'claimed', 1, 'badges', badges, 'leased', 1, 'taken', string.format('%.3f', t), 'here', 1}
  store_batch(open, turn, id, document, app, lane, orders, entries, way, unpack(taken))
  if #before > 0 then redis.call('HSET', BATCH .. id, 'before', table.concat(before, ',')) end
  return as_taken(id, way, orders, badges)
end
-- The same of a batch that an earlier call of the same caller took, whose answer was lost: nobody else knows its id. Nothing where it was
-- not taken so, or not since its lease was over.
local function taken_before(id)
  local fields = {'provider', 'devices', 'badges', 'here', 'leased', 'again'}
  local way, orders, badges, here, leased, again = unpack(redis.call('HMGET', BATCH .. id, unpack(fields)))
  return here and leased and not again and as_taken(id, way, orders, badges) or nil
end
