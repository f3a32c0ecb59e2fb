-- provider, devices...: those that cool down, with the ms that are left of it.
local key, t, found = 'carillon:notbefore:device:' .. ARGV[1], now(), {}
if redis.call('EXISTS', key) == 0 then return found end
for at = 2, #ARGV, 1000 do
  local ends = redis.call('ZMSCORE', key, unpack(ARGV, at, math.min(at + 999, #ARGV)))
  for i, till in ipairs(ends) do
    if till and tonumber(till) > t then
      found[#found + 1] = {ARGV[at + i - 1], math.ceil((tonumber(till) - t) * 1000)}
    end
  end
end
return found
