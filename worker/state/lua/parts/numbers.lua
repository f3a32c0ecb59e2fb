-- With: places
-- `orders` (see `device_orders` in core/batch.py): the devices, one for each job, and what stands before some of them, {index, part}.
local function parsed(orders)
  local devices, heads, n = {}, {}, 0
  for part in string.gmatch(orders, '[^,]+') do
    if string.byte(part) == 64 then
      heads[#heads + 1] = {n + 1, part}
    else
      n = n + 1
      devices[n] = part
    end
  end
  return devices, heads
end
-- What they do to badges. What an entry would do to a badge that was cleared at a later place is seen already, and leaves it as it is.
-- All numbers are read at once, and written at once. Returns the numbers, of jobs that set one `job:<the number before>`, and the devices.
local function numbers(app, all, heads, again)
  local badges, cleared, devices, modes, jobs, n = BADGE .. app, CLEARED .. app, {}, {}, {}, 0
  local latest = redis.call('HGET', cleared, '')
  for h, head in ipairs(heads) do
    local place, mode = string.match(head[2], '^@([^/]*)/[^/]*/(.*)$')
    if not place then place, mode = string.match(head[2], '^@([^?=]*)(.*)$') end
    if again and mode ~= '-' then mode = '?' end
    local late = latest and mode ~= '?' and mode ~= '-' and newer(latest, place)
    local last = mode == '-' and 0 or heads[h + 1] and heads[h + 1][1] - 1 or #all
    for k = head[1], last do
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
