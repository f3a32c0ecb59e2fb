-- provider, (device, seconds)...: each gets nothing from it for so long, or longer where that was said before.
local key, t, longest = 'carillon:held:' .. ARGV[1], now(), 0
for i = 2, #ARGV, 2 do
  local seconds = tonumber(ARGV[i + 1])
  longest = math.max(longest, seconds)
  redis.call('ZADD', key, 'GT', string.format('%.3f', t + seconds), ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.3f', t))
if redis.call('TTL', key) < longest + 1 then redis.call('EXPIRE', key, math.ceil(longest) + 1) end
return 1
