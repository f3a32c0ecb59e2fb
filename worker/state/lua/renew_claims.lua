-- Batches of another partition have their devices here for `lease` seconds more, but those that have accepted (separated by commas). What
-- waits for these can be taken.
-- ARGV: lease: number, batches [id, accepted]
-- Returns: how many batches can be taken by now that waited for them, of the urgent lane and of the bulk lane.
-- Twice: begins the leases anew.
-- With: devices, followers
local freed = none_freed()
for _, id, accepted in each(batches) do
  local claim = BATCH .. id
  if redis.call('EXPIRE', claim, math.ceil(lease)) == 1 and accepted ~= '' then
    local way, devices = unpack(redis.call('HMGET', claim, 'provider', 'devices'))
    local gone, left, ours = {}, {}, {}
    for device in string.gmatch(accepted, '%d+') do gone[device] = true end
    local had = devices_in(devices)
    for k, holder in ipairs(values(SENDING .. way, had)) do
      if not gone[had[k]] then
        left[#left + 1] = had[k]
      elseif holder == id then
        ours[#ours + 1] = had[k]
      end
    end
    redis.call('HSET', claim, 'devices', table.concat(left, ','))
    bulk('HDEL', SENDING .. way, ours)
    for _, follower in ipairs(redis.call('LRANGE', FOLLOWERS .. id, 0, -1)) do
      if redis.call('SISMEMBER', WAITS .. follower, id) == 1 then make_takeable(follower, freed) end
    end
  end
end
return by_lane(freed)
