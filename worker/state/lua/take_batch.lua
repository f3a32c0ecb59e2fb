-- The next batch of the lane for `lease` seconds, but none of a way in `full` (separated by commas). Its badge numbers count once; taken
-- again it shows them as they are. Of a stopped way one batch is handed out for a probe, and one a minute so that what is too old goes; of
-- one that is over a quota one a minute. When that is over it begins slowly: 2 batches in the first second, then twice as many each second.
-- A batch of which another one has devices waits for that one. As a whole it waits for `patience` seconds, or for `soon` seconds where
-- most of its devices are free by then: these need not wait any more.
-- ARGV: lane, lease: number, patience: number, soon: number, full
-- Returns: {id, document, badges, outcomes, accepted, stop, blocked, waits, overtaking, troubled, numbered, others}; nothing where none
--   waits. `stop` is empty, or {reason, since, manual, how, alone, whose}: `whose` is the way, or its provider. `troubled`: 1 where any
--   device of the way cools down, or was refused and has accepted nothing since. `numbered`: 1 where its numbers were taken in another
--   partition. `others`: how many others stand in line; at least 16 are counted where there are so many.
-- Twice: takes another; the first one comes back when its lease is over.
-- With: earlier, hand_back, numbers, ways
local t = now()
local is_full, handed_back = {}, false
for way in string.gmatch(full, '[^,]+') do is_full[way] = true end

-- The batches that have any of these devices, and of these one whose turn is after `turn` and that neither is being sent nor awaited.
local function holders_of(id, way, devices, turn)
  local found, there, later = {}, {[id] = true}, nil
  if nobody_sends(way) then return found, later end
  for _, holder in pairs(values(SENDING .. way, devices)) do
    if holder and not there[holder] then
      there[holder] = true
      local batch = redis.call('HMGET', BATCH .. holder, 'app', 'leased', 'turn')
      if batch[1] then
        found[#found + 1] = holder
        if not batch[2] and tonumber(batch[3] or 0) > turn and not is_awaited(holder) then later = holder end
      end
    end
  end
  return found, later
end
-- Takes the batch's devices. Returns the batches that have any of them, each of which it follows. Those whose turn is later, as where
-- this one is tried again, are handed back.
local function claim(id, way, devices, turn)
  local key, mine = SENDING .. way, pairs_of()
  local before, later
  repeat
    before, later = holders_of(id, way, devices, tonumber(turn or 0))
    if later then
      hand_back(later, 0)
      handed_back = true
    end
  until not later
  for _, holder in ipairs(before) do follow(id, holder) end
  for k, device in ipairs(devices) do mine[2 * k + 1], mine[2 * k + 2] = device, id end
  bulk('HSET', key, mine)
  redis.call('EXPIRE', key, 86400)
  redis.call('HSET', BATCH .. id, 'claimed', 1)
  return before
end
-- The batches that it still waits for.
local function still_before(id)
  local before = {}
  for _, one in ipairs(redis.call('SMEMBERS', WAITS .. id)) do
    if redis.call('EXISTS', BATCH .. one) == 1 then
      before[#before + 1] = one
    else
      redis.call('SREM', WAITS .. id, one)
    end
  end
  return before
end
-- Those of its devices that others have, where one of them has had it for long enough and so many are free; else nothing, and the batch
-- waits.
local function blocked(id, devices, before)
  local theirs, longest, sent = {}, -1, false
  for _, one in ipairs(before) do
    local batch = redis.call('HMGET', BATCH .. one, 'leased', 'taken', 'devices', 'accepted')
    if batch[1] then
      sent = true
      longest = math.max(longest, t - tonumber(batch[2] or 0))
    end
    if batch[3] then theirs[#theirs + 1] = {batch[3], batch[4]} end
  end
  if longest >= math.min(soon, patience) then
    local taken, found = {}, {}
    for _, one in ipairs(theirs) do
      for _, device in ipairs(devices_left(unpack(one, 1, 2))) do taken[device] = true end
    end
    for _, device in ipairs(devices) do
      if taken[device] then found[#found + 1] = device end
    end
    local free = #devices - #found
    if free * 2 >= #devices or (free > 0 and longest >= patience) then return found end
  end
  -- Whoever it waits for lets it go; while that one is being sent it looks by itself as well.
  redis.call('ZADD', DUE, t + (sent and patience or lease), 'b:' .. id)
end
-- How a way that does not flow may be looked at now: 'probe' where nobody has that key, 'look', or nothing, and then its line is out of
-- turn for so long.
local function look(way, probe)
  local seen = LOOKED .. way
  if probe and redis.call('SET', probe, 1, 'NX', 'PX', 2000) then return 'probe' end
  if redis.call('SET', seen, 1, 'NX', 'EX', 60) then return 'look' end
  local wait = redis.call('PTTL', seen)
  if probe then wait = math.min(wait, redis.call('PTTL', probe)) end
  return nil, math.max(0, wait) / 1000
end
-- What keeps the way from flowing, its own state or that of its provider: {stop, how, pause} as of `look`.
local function hindrance(way)
  local whole = whole_of(way)
  local ways = {whole or way, whole and way}
  if redis.call('EXISTS', QUOTA .. way, BREAKER .. way) == 0 then
    if not whole or redis.call('EXISTS', QUOTA .. whole, BREAKER .. whole) == 0 then return {{}} end
  end
  local slow = {}
  for _, one in ipairs(ways) do
    local quota = redis.call('HMGET', QUOTA .. one, 'until', 'taken', 'since', 'reason')
    local over = quota[1] and t - tonumber(quota[1])
    if over and over < 0 then
      local how, pause = look(way)
      return {{quota[4], quota[3], '', how or '', '', one}, how, pause and math.min(pause, -over)}
    elseif over then
      if tonumber(quota[2]) >= 2 ^ (math.floor(over) + 1) then return {{}, nil, 1 - over % 1} end
      slow[#slow + 1] = one
    end
  end
  for _, one in ipairs(ways) do
    local breaker = redis.call('HMGET', BREAKER .. one, 'reason', 'since', 'manual')
    if breaker[2] then
      local how, pause = look(way, breaker[3] ~= '1' and PROBE .. one or nil)
      return {{breaker[1] or '', breaker[2], breaker[3] or '', how or '', '', one}, how, pause}
    end
  end
  for _, one in ipairs(slow) do redis.call('HINCRBY', QUOTA .. one, 'taken', 1) end
  return {{}}
end
local function hand_out(id, batch, devices, heads, stop, held)
  local key, way = BATCH .. id, batch[6]
  redis.call('ZADD', DUE, t + lease, 'b:' .. id)
  local counted, before = numbers(batch[4], batch[3], devices, heads, batch[2])
  local badges = table.concat(counted, ',')
  redis.call('HSET', key, 'badges', badges, 'leased', 1, 'taken', string.format('%.3f', t))
  if #before > 0 then redis.call('HSET', key, 'before', table.concat(before, ',')) end
  if batch[2] then redis.call('HSET', key, 'again', 1) end
  for _, follower in ipairs(redis.call('LRANGE', FOLLOWERS .. id, 0, 63)) do
    local waiting = redis.call('SISMEMBER', WAITS .. follower, id) == 1
    if waiting and redis.call('HEXISTS', BATCH .. follower, 'leased') == 0 then
      redis.call('ZADD', DUE, 'XX', 'LT', t + patience, 'b:' .. follower)
    end
  end
  -- Large, and nobody needs it of a batch that waits.
  local document = redis.call('HGET', key, 'doc')
  local waits, overtaking = behind_earlier(id, way, batch[3])
  local troubled = math.min(1, redis.call('EXISTS', COOLDOWNS .. way, FIRST_REFUSALS .. way))
  local numbered = batch[10] and 1 or 0
  return {id, document, badges, batch[5] or '', batch[7] or '', stop, held, waits, overtaking, troubled, numbered}
end
local function fields_of(id)
  local fields = {'lane', 'badges', 'devices', 'app', 'outcomes', 'provider', 'accepted', 'claimed', 'turn', 'numbered'}
  return redis.call('HMGET', BATCH .. id, unpack(fields))
end
-- The first batch of the way's line that waits for no other, of so many at most.
local function first_of(way, stop)
  for _ = 1, 16 do
    local id = redis.call('ZPOPMIN', line_of(lane, way))[1]
    if not id then return end
    local batch = fields_of(id)
    if batch[1] then
      local devices, heads = parsed(batch[3])
      local before, held = batch[8] and still_before(id) or not batch[8] and claim(id, way, devices, batch[9]), {}
      if #before > 0 then held = blocked(id, devices, before) end
      if held then return hand_out(id, batch, devices, heads, stop, held) end
    end
  end
end
-- For a probe: one after another of the first batches of the line, so that one whose devices are all gone holds up no other. It holds
-- what an earlier batch of the line has devices of.
local function probe_of(way, stop)
  local line = line_of(lane, way)
  local probes = redis.call('HINCRBY', BREAKER .. stop[6], 'probes', 1) - 1
  local ids = redis.call('ZRANGE', line, 0, probes % math.min(16, redis.call('ZCARD', line)))
  local id, earlier, held, free = table.remove(ids), {}, {}, false
  if #ids == 0 then return first_of(way, stop) end
  for _, one in ipairs(ids) do
    for _, device in ipairs(devices_in(redis.call('HGET', BATCH .. one, 'devices') or '')) do earlier[device] = true end
  end
  local batch = fields_of(id)
  if not batch[1] or batch[8] then return first_of(way, stop) end
  local devices, heads = parsed(batch[3])
  for _, device in ipairs(devices) do
    if earlier[device] then held[#held + 1] = device else free = true end
  end
  -- Nor may it take any before its turn that another waits for.
  if not free or #holders_of(id, way, devices, 0) > 0 then return first_of(way, stop) end
  redis.call('ZREM', line, id)
  claim(id, way, devices, batch[9])
  stop[5] = 'alone'
  return hand_out(id, batch, devices, heads, stop, held)
end
-- Of the next apps and ways: where there are more of these than that, they are enough.
local function others()
  local found = 0
  for _, app in ipairs(redis.call('LRANGE', TURNS .. lane, 0, 15)) do
    for _, way in ipairs(redis.call('LRANGE', TURNS_OF_APP .. lane .. ':' .. app, 0, 15)) do
      found = found + redis.call('ZCARD', line_of(lane, way))
      if found >= 16 then return found end
    end
  end
  return found
end

for _ = 1, math.min(64, redis.call('LLEN', TURNS .. lane)) do
  local app, taken = redis.call('LPOP', TURNS .. lane), nil
  local turns = TURNS_OF_APP .. lane .. ':' .. app
  for _ = 1, redis.call('LLEN', turns) do
    local way, pause = redis.call('LPOP', turns), nil
    if not is_full[way] then
      local stop, how
      stop, how, pause = unpack(hindrance(way), 1, 3)
      if not pause then taken = (how == 'probe' and probe_of or first_of)(way, stop) end
    end
    if redis.call('EXISTS', line_of(lane, way)) == 1 then
      if pause then
        redis.call('ZADD', OUT_OF_TURN .. lane, t + pause, way)
      else
        if handed_back then redis.call('LREM', turns, 0, way) end
        redis.call('RPUSH', turns, way)
      end
    end
    if taken then break end
  end
  if handed_back then redis.call('LREM', TURNS .. lane, 0, app) end
  if redis.call('EXISTS', turns) == 1 then redis.call('RPUSH', TURNS .. lane, app) end
  if taken then
    taken[12] = others()
    return taken
  end
end
return {}
