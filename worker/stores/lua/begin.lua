-- id, lease: takes the batch for `lease` seconds, and its badge numbers once and for all.
local key = 'carillon:batch:' .. ARGV[1]
local batch = redis.call('HMGET', key, 'doc', 'leased', 'badges', 'devices', 'app', 'outcomes')
if not batch[1] then return {'gone'} end
local t = now()
if batch[2] and tonumber(batch[2]) > t then return {'leased'} end
local till = t + tonumber(ARGV[2])
redis.call('HSET', key, 'leased', till)
redis.call('ZADD', DUE, till, 'b:' .. ARGV[1])
local badges = batch[3]
if not badges then
  local numbers = {}
  for device in string.gmatch(batch[4], '[^,]+') do
    numbers[#numbers + 1] = redis.call('HINCRBY', 'carillon:badge:' .. batch[5], device, 1)
  end
  badges = table.concat(numbers, ',')
  redis.call('HSET', key, 'badges', badges)
end
return {'taken', batch[1], badges, batch[6] or ''}
