-- The devices in a batch's orders (see `device_orders` in core/batch.py), one for each job.
local function devices_in(orders)
  local found, n = {}, 0
  for device in string.gmatch(orders, '[^,]+') do
    if string.byte(device) ~= 64 then
      n = n + 1
      found[n] = device
    end
  end
  return found
end
-- The same without those all of whose jobs are in `accepted` (indexes, separated by commas): nothing of the batch is in flight there.
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
