-- A batch's orders (see `device_orders` in core/batch.py): the devices, one for each job; and of what stands before some of them the index
-- of the next device, and where in `orders` it begins and ends.
local function parsed(orders)
  local devices, heads, n, h, at, length = {}, {}, 0, 0, 1, #orders
  while at <= length do
    if string.byte(orders, at) == 64 then
      local comma = string.find(orders, ',', at, true) or length + 1
      heads[h + 1], heads[h + 2], heads[h + 3] = n + 1, at, comma - 1
      h, at = h + 3, comma + 1
    else
      -- Up to the next head. Of direct messages each has one device: a pattern costs more than the device.
      local stop, comma = string.find(orders, ',@', at, true), string.find(orders, ',', at, true)
      stop = stop or length + 1
      local section = string.sub(orders, at, stop - 1)
      if not comma or comma >= stop then
        n = n + 1
        devices[n] = section
      else
        for device in string.gmatch(section, '[^,]+') do
          n = n + 1
          devices[n] = device
        end
      end
      at = stop + 1
    end
  end
  return devices, heads
end
local function devices_in(orders) return (parsed(orders)) end
-- The devices but those all of whose jobs are in `accepted` (indexes, separated by commas): nothing of the batch is in flight there.
local function devices_left(orders, accepted)
  local devices = devices_in(orders)
  if not accepted then return devices end
  local done, left = {}, {}
  for job in string.gmatch(accepted, '%d+') do done[tonumber(job) + 1] = true end
  for k, device in ipairs(devices) do
    if not done[k] then left[#left + 1] = device end
  end
  return left
end
-- Fields and values of a hash by device. A long value keeps the engine from storing some hundred fields as a list, in which each
-- look-up is a search.
local function pairs_of() return {'', string.rep('-', 65)} end
-- Whether nobody has any device of the way: there is at most the long value.
local function nobody_sends(way)
  return redis.call('HLEN', SENDING .. way) == redis.call('HEXISTS', SENDING .. way, '')
end
