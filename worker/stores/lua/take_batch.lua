-- lane, lease: the next batch for `lease` seconds, with its badge numbers. They count once; taken again it shows them as they are.
-- Of a provider that gets nothing now, nothing is looked up of what is ahead of the batch.

-- What `orders` (see `device_orders` in core/batch.py) do to badges. What an entry would do to a badge that was cleared at a
-- later place is seen already, and leaves it as it is. All numbers are read at once, and written at once.
local function numbers(app, orders, again)
  local badges, cleared, devices, modes, n = 'carillon:badge:' .. app, 'carillon:cleared:' .. app, {}, {}, 0
  local latest = redis.call('HGET', cleared, '')
  local place, mode, late = '', '', false
  for part in string.gmatch(orders, '[^,]+') do
    if string.byte(part) == 64 then
      place, mode = string.match(part, '^@([^/]*)/[^/]*/(.*)$')
      if not place then place, mode = string.match(part, '^@([^?=]*)(.*)$') end
      if again and mode ~= '-' then mode = '?' end
      late = latest and mode ~= '?' and mode ~= '-' and newer(latest, place)
    elseif mode ~= '-' then
      n = n + 1
      devices[n], modes[n] = part, mode
      if late then
        local seen = redis.call('HGET', cleared, part)
        if seen and newer(seen, place) then modes[n] = '?' end
      end
    end
  end
  local stored, current, changed, found = values(badges, devices), {}, {}, {}
  for k, device in ipairs(devices) do
    local number = current[device] or stored[k] or 0
    if modes[k] ~= '?' then
      number = modes[k] == '' and number + 1 or string.sub(modes[k], 2)
      changed[#changed + 1] = device
      changed[#changed + 1] = number
      current[device] = number
    end
    found[k] = number
  end
  bulk('HSET', badges, changed)
  return found
end

-- Fields and values of a hash by device. A long value keeps the engine from storing some hundred fields as a list, in which each
-- look-up is a search.
local function pairs_of() return {'', string.rep('-', 65)} end
local function add(to, field, value)
  local n = #to
  to[n + 1] = field
  to[n + 2] = value
end
-- Takes the batch's devices. One that another batch has in flight is blocked: this batch stands behind that one for it.
local function claim(id, provider, orders)
  local key, devices = 'carillon:sending:' .. provider, devices_in(orders)
  local holders, mine, blocked, behind = values(key, devices), pairs_of(), pairs_of(), {}
  for k, device in ipairs(devices) do
    local holder = holders[k]
    if holder and holder ~= id then
      if behind[holder] == nil then
        behind[holder] = redis.call('EXISTS', 'carillon:batch:' .. holder) == 1 and pairs_of()
      end
      if behind[holder] then
        add(behind[holder], device, id)
        add(blocked, device, holder)
      end
    end
    add(mine, device, id)
  end
  bulk('HSET', key, mine)
  redis.call('EXPIRE', key, 86400)
  if #blocked == 2 then return end
  bulk('HSET', 'carillon:blocked:' .. id, blocked)
  for holder, some in pairs(behind) do
    if some then bulk('HSET', 'carillon:behind:' .. holder, some) end
  end
end

-- Whether a provider is stopped, and not to be probed yet.
local function left_alone(provider)
  local key = 'carillon:breaker:' .. provider
  if redis.call('EXISTS', key) == 0 then return false end
  return redis.call('HGET', key, 'manual') == '1' or redis.call('EXISTS', 'carillon:probe:' .. provider) == 1
end

while true do
  local item = take('b', ARGV[1], 1)[1]
  if not item then return {} end
  local id = item[1]
  local key = 'carillon:batch:' .. id
  local batch = redis.call('HMGET', key, 'doc', 'badges', 'devices', 'app', 'outcomes', 'accepted', 'provider', 'halted')
  if batch[1] then
    redis.call('ZADD', DUE, now() + tonumber(ARGV[2]), 'b:' .. id)
    local badges = table.concat(numbers(batch[4], batch[3], batch[2]), ',')
    redis.call('HSET', key, 'badges', badges, 'leased', 1)
    local provider = batch[7]
    if batch[8] then
      redis.call('HDEL', key, 'halted')
      redis.call('ZREM', 'carillon:halted:' .. batch[8], id)
    end
    if not provider then return {id, batch[1], badges, batch[5] or '', batch[6] or '', {}, {}, {}} end
    if not batch[2] then claim(id, provider, batch[3]) end
    if left_alone(provider) then return {id, batch[1], badges, batch[5] or '', batch[6] or ''} end
    return {id, batch[1], badges, batch[5] or '', batch[6] or '', ahead(id, provider, batch[3])}
  end
end
