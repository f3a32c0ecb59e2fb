-- (provider, recent, answered, refused, gone): adds these; returns the totals with them. Of more than `recent` answers the shares
-- are kept and half of that number, so that what was long ago weighs ever less, and a flood can not hide what begins now.
local key, recent, fields = 'carillon:answers:' .. ARGV[1], tonumber(ARGV[2]), {'answered', 'refused', 'gone'}
local seen = {}
for i, field in ipairs(fields) do seen[i] = redis.call('HINCRBY', key, field, ARGV[i + 2]) end
if seen[1] > recent then
  for i, field in ipairs(fields) do
    redis.call('HSET', key, field, math.floor(seen[i] * recent / 2 / seen[1] + 0.5))
  end
end
redis.call('EXPIRE', key, 86400)
return seen
