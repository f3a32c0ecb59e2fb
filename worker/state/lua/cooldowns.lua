-- Those of the devices that cool down.
-- KEYS: cooldowns
-- ARGV: devices [device]
-- Returns: {device, ms that are left} of each.
-- Twice: changes nothing.
local t, found = now(), {}
if redis.call('EXISTS', cooldowns) == 0 then return found end
for at = devices.first, devices.last, 1000 do
  local ends = redis.call('ZMSCORE', cooldowns, unpack(ARGV, at, math.min(at + 999, devices.last)))
  for i, till in ipairs(ends) do
    if till and tonumber(till) > t then
      found[#found + 1] = {ARGV[at + i - 1], math.ceil((tonumber(till) - t) * 1000)}
    end
  end
end
return found
