-- With: devices, places
-- Of a head of orders the place, and what becomes of the numbers, which mostly its last character tells.
local MODES = {[45] = '-', [47] = '', [63] = '?'}
local function head_of(orders, first, last)
  local slash = string.find(orders, '/', first, true)
  if not slash or slash > last then return string.match(string.sub(orders, first, last), '^@([^?=]*)(.*)$') end
  local mode = MODES[string.byte(orders, last)] or string.match(string.sub(orders, slash + 1, last), '/(.*)$')
  return string.sub(orders, first + 1, slash - 1), mode
end
-- Text of a number -> that of the next one. Most devices of a batch have one of a few numbers, and to write one takes time.
local function next_numbers()
  local function add(known, number)
    known[number] = string.format('%.0f', number + 1)
    return known[number]
  end
  return setmetatable({}, {__index = add})
end
-- What orders do to badges; `all` and `heads` as of `parsed`. What an entry would do to a badge that was cleared at a later place is seen
-- already, and leaves it as it is. All numbers are read at once, and written at once. Returns the numbers, of jobs that set one
-- `job:<the number before>`, and the devices.
local function numbers(app, orders, all, heads, again)
  local badges, cleared, following = BADGE .. app, CLEARED .. app, next_numbers()
  local stored, seen, devices, found, before, n = nil, nil, {}, {}, {}, 0
  -- Of a device the last number alone is written, which stands at `written[device]`.
  local changed, written, last = {}, {}, 0
  local latest = redis.call('HGET', cleared, '')
  for h = 1, #heads, 3 do
    local place, mode = nil, MODES[string.byte(orders, heads[h + 2])]
    if latest or not mode then place, mode = head_of(orders, heads[h + 1], heads[h + 2]) end
    if mode ~= '-' then
      if again then mode = '?' end
      local late = latest and mode ~= '?' and newer(latest, place)
      stored = stored or values(badges, all)
      if late then seen = seen or values(cleared, all) end
      for k = heads[h], (heads[h + 3] or #all + 1) - 1 do
        local device = all[k]
        local at = written[device]
        local number = at and changed[at] or stored[k] or '0'
        if mode ~= '?' and not (late and seen[k] and newer(seen[k], place)) then
          if mode == '' then
            number = following[number]
          else
            before[#before + 1] = k - 1 .. ':' .. number
            number = string.sub(mode, 2)
          end
          if not at then
            at, last = last + 2, last + 2
            changed[at - 1], written[device] = device, at
          end
          changed[at] = number
        end
        n = n + 1
        devices[n], found[n] = device, number
      end
    end
  end
  bulk('HSET', badges, changed)
  return found, before, devices
end
