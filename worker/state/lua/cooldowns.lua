-- Those of the devices that cool down, or did a short time ago.
-- KEYS: cooldowns
-- ARGV: devices [device]
-- Returns: {device, ms that are left} of each; 0: the cooldown is over, and another refusal would be the next in a row.
-- Twice: changes nothing.
local t, found = now(), {}
if redis.call('EXISTS', cooldowns) == 0 then return found end
for at = devices.first, devices.last, 1000 do
  local ends = redis.call('ZMSCORE', cooldowns, unpack(ARGV, at, math.min(at + 999, devices.last)))
  for i, till in ipairs(ends) do
    if till then found[#found + 1] = {ARGV[at + i - 1], math.ceil(math.max(0, tonumber(till) - t) * 1000)} end
  end
end
return found
