-- These jobs of each batch (indexes, separated by commas) were accepted, so that whoever takes it after us does not send them again. Its
-- lease begins anew. Each `soon` seconds that it is in flight, the batches that wait for it can be taken, for devices that are free then.
-- ARGV: lease: number, soon: number, batches [id, jobs]
-- Returns: how many batches can be taken by now that waited for them, of the urgent lane and of the bulk lane.
-- Twice: names the jobs twice, which means the same.
-- With: followers
local t, freed = now(), none_freed()
for _, id, jobs in each(batches) do
  local key = BATCH .. id
  local there, accepted, taken, passed = unpack(redis.call('HMGET', key, 'lane', 'accepted', 'taken', 'passed'))
  if there then
    if jobs ~= '' then redis.call('HSET', key, 'accepted', (accepted or '') .. jobs .. ',') end
    redis.call('ZADD', DUE, 'XX', t + lease, 'b:' .. id)
    if taken and t - math.max(tonumber(taken), tonumber(passed or 0)) >= soon then
      redis.call('HSET', key, 'passed', string.format('%.3f', t))
      for _, follower in ipairs(redis.call('LRANGE', FOLLOWERS .. id, 0, -1)) do
        if redis.call('SISMEMBER', WAITS .. follower, id) == 1 then make_takeable(follower, freed) end
      end
    end
  end
end
return by_lane(freed)
