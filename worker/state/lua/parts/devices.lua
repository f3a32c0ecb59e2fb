-- A batch's orders (see `device_orders` in core/batch.py): the devices, one for each job; and of what stands before some of them the index
-- of the next device, and where in `orders` it begins and ends.
local function parsed(orders)
  local devices, heads, n, h, at, length = {}, {}, 0, 0, 1, #orders
  local is_head = string.byte(orders) == 64
  while at <= length do
    local stop = string.find(orders, ',', at, true) or length + 1
    local before_head = string.byte(orders, stop + 1) == 64
    if is_head then
      heads[h + 1], heads[h + 2], heads[h + 3] = n + 1, at, stop - 1
      h = h + 3
    elseif before_head or stop > length then
      -- Of direct messages each has one device: a pattern costs more than the device.
      n = n + 1
      devices[n] = string.sub(orders, at, stop - 1)
    else
      stop = string.find(orders, ',@', stop, true) or length + 1
      before_head = true
      for device in string.gmatch(string.sub(orders, at, stop - 1), '[^,]+') do
        n = n + 1
        devices[n] = device
      end
    end
    at, is_head = stop + 1, before_head
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
