-- With: devices, places
-- Of a head of orders the place, and what becomes of the numbers, which mostly its last character tells.
local MODES = {[45] = '-', [47] = '', [63] = '?'}
local function head_of(orders, first, last)
  local slash = string.find(orders, '/', first, true)
  if not slash or slash > last then return string.match(string.sub(orders, first, last), '^@([^?=]*)(.*)$') end
  local mode = MODES[string.byte(orders, last)] or string.match(string.sub(orders, slash + 1, last), '/(.*)$')
  return string.sub(orders, first + 1, slash - 1), mode
end
-- What orders do to badges; `all` and `heads` as of `parsed`. What an entry would do to a badge that was cleared at a later place is seen
-- already, and leaves it as it is. All numbers are read at once, and written at once. Returns the numbers, of jobs that set one
-- `job:<the number before>`, and the devices.
local function numbers(app, orders, all, heads, again)
  local badges, cleared, devices, modes, jobs, n = BADGE .. app, CLEARED .. app, {}, {}, {}, 0
  local latest = redis.call('HGET', cleared, '')
  for h = 1, #heads, 3 do
    local place, mode = nil, MODES[string.byte(orders, heads[h + 2])]
    if latest or not mode then place, mode = head_of(orders, heads[h + 1], heads[h + 2]) end
    if again and mode ~= '-' then mode = '?' end
    local late = latest and mode ~= '?' and mode ~= '-' and newer(latest, place)
    local last = mode == '-' and 0 or (heads[h + 3] or #all + 1) - 1
    for k = heads[h], last do
      local device = all[k]
      n = n + 1
      devices[n], modes[n], jobs[n] = device, mode, k - 1
      if late then
        local seen = redis.call('HGET', cleared, device)
        if seen and newer(seen, place) then modes[n] = '?' end
      end
    end
  end
  local stored, current, changed, found, before = values(badges, devices), {}, {}, {}, {}
  for k, device in ipairs(devices) do
    local number = current[device] or stored[k] or 0
    if modes[k] ~= '?' then
      if modes[k] ~= '' then before[#before + 1] = jobs[k] .. ':' .. number end
      number = modes[k] == '' and number + 1 or string.sub(modes[k], 2)
      changed[#changed + 1] = device
      changed[#changed + 1] = number
      current[device] = number
    end
    found[k] = number
  end
  bulk('HSET', badges, changed)
  return found, before, devices
end
