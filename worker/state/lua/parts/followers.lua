-- With: lines
-- A batch that was taken has its devices (SENDING: the last batch taken for each) until it is done or handed back. A later one with
-- one of these devices waits for it (WAITS), and stands among its FOLLOWERS.
local function follow(id, before)
  redis.call('SADD', WAITS .. id, before)
  redis.call('RPUSH', FOLLOWERS .. before, id)
end
-- The follower can be taken, and counts in `freed` for its lane.
local function make_takeable(follower, freed)
  local batch = redis.call('HMGET', BATCH .. follower, 'lane', 'app', 'provider', 'leased', 'turn')
  -- Whoever has it takes care of it, and what is ready is ready.
  if not batch[1] or batch[4] or redis.call('ZREM', DUE, 'b:' .. follower) == 0 then return end
  put_in_line(batch[1], batch[2], batch[3], follower, batch[5])
  freed[batch[1]] = freed[batch[1]] + 1
end
-- The follower has one batch less before it. What waits for none can be taken.
local function let_go(follower, before, freed)
  if redis.call('SREM', WAITS .. follower, before) == 1 and redis.call('EXISTS', WAITS .. follower) == 1 then return end
  make_takeable(follower, freed)
end
local function none_freed() return {urgent = 0, bulk = 0} end
local function by_lane(freed) return {freed.urgent, freed.bulk} end
