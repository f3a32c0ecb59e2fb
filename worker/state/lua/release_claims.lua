-- A batch of another partition is not sent any more: others have its devices, and what waits for it can be taken. `done`: seconds for which
-- it is known that it was counted, where it is done; else 0. Its partition may forget that it was done, if its server is replaced.
-- ARGV: id, done: number
-- Returns: how many batches can be taken by now that waited for it, of the urgent lane and of the bulk lane.
-- Twice: does nothing.
-- With: devices, followers
local answer, freed = NUMBERED .. id, none_freed()
local way, orders = unpack(redis.call('HMGET', answer, 'provider', 'devices'))
if way then
  local devices, ours = devices_in(orders), {}
  for k, holder in ipairs(values(SENDING .. way, devices)) do
    if holder == id then ours[#ours + 1] = devices[k] end
  end
  bulk('HDEL', SENDING .. way, ours)
end
redis.call('DEL', BATCH .. id)
for _, follower in ipairs(redis.call('LRANGE', FOLLOWERS .. id, 0, -1)) do let_go(follower, id, freed) end
redis.call('DEL', FOLLOWERS .. id)
if done > 0 and redis.call('DEL', answer) == 1 then
  redis.call('HSET', answer, 'done', 1)
  redis.call('EXPIRE', answer, math.ceil(done))
end
return by_lane(freed)
