-- provider, limit: up to `limit` batches that wait for their provider are due at once; returns how many were looked at.
local halted, t = 'carillon:halted:' .. ARGV[1], math.floor(now())
local waiting = redis.call('ZRANGE', halted, 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
for i = 1, #waiting, 2 do
  -- At another time it is not waiting any more: whoever took it has it leased.
  if redis.call('ZSCORE', DUE, 'b:' .. waiting[i]) == waiting[i + 1] then redis.call('ZADD', DUE, t, 'b:' .. waiting[i]) end
  redis.call('ZREM', halted, waiting[i])
end
return #waiting / 2
