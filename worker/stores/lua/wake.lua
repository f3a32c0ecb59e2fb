-- provider, limit, batch: up to `limit` batches that wait for their provider are due at once, in the order of their places; returns
-- how many were looked at. None, where the first is `batch`. One of a release before has the time at which it is due for its score.
local halted, t = 'carillon:halted:' .. ARGV[1], math.floor(now())
local waiting = redis.call('ZRANGE', halted, 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
if waiting[1] and waiting[1] == ARGV[3] then return 0 end
for i = 1, #waiting, 2 do
  local id, score, due = waiting[i], waiting[i + 1], redis.call('ZSCORE', DUE, 'b:' .. waiting[i])
  -- Whoever took it has it leased: it is not waiting any more.
  local waits = score == '0' and redis.call('HEXISTS', 'carillon:batch:' .. id, 'halted') == 1 or due == score
  if due and waits then redis.call('ZADD', DUE, t, 'b:' .. id) end
  redis.call('ZREM', halted, id)
end
return #waiting / 2
