-- lane, lease: the next batch for `lease` seconds, with its badge numbers once and for all.
while true do
  local item = take('b', ARGV[1], 1)[1]
  if not item then return {} end
  local id = item[1]
  local key = 'carillon:batch:' .. id
  local batch = redis.call('HMGET', key, 'doc', 'badges', 'devices', 'app', 'outcomes')
  if batch[1] then
    redis.call('ZADD', DUE, now() + tonumber(ARGV[2]), 'b:' .. id)
    local badges = batch[2]
    if not badges then
      local numbers = {}
      for device in string.gmatch(batch[3], '[^,]+') do
        numbers[#numbers + 1] = redis.call('HINCRBY', 'carillon:badge:' .. batch[4], device, 1)
      end
      badges = table.concat(numbers, ',')
      redis.call('HSET', key, 'badges', badges)
    end
    return {id, batch[1], badges, batch[5] or ''}
  end
end
