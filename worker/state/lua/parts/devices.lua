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
