-- provider, devices...: those that are held, with the ms that are left of it.
local key, t, held = 'carillon:held:' .. ARGV[1], now(), {}
if redis.call('EXISTS', key) == 0 then return held end
for i = 2, #ARGV do
  local till = redis.call('ZSCORE', key, ARGV[i])
  if till and tonumber(till) > t then held[#held + 1] = {ARGV[i], math.ceil((tonumber(till) - t) * 1000)} end
end
return held
