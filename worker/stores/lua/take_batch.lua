-- lane, lease: the next batch for `lease` seconds, with its badge numbers. They count once; taken again it shows them as they are.

-- Carries out `orders` (see `badge_orders` in core/batch.py): '' one more, '?' as it is, '=n' from now on n. What an entry would
-- do to a badge that was cleared at a later place is seen already, and leaves it as it is.
local function numbers(app, orders, again)
  local badges, cleared, found = 'carillon:badge:' .. app, 'carillon:cleared:' .. app, {}
  local latest = redis.call('HGET', cleared, '')
  local place, mode, late = '', '', false
  for part in string.gmatch(orders, '[^,]+') do
    if string.byte(part) == 64 then
      place, mode = string.match(part, '^@([^?=]*)(.*)$')
      if again then mode = '?' end
      late = latest and mode ~= '?' and newer(latest, place)
    else
      local how = mode
      if late then
        local seen = redis.call('HGET', cleared, part)
        if seen and newer(seen, place) then how = '?' end
      end
      if how == '' then
        found[#found + 1] = redis.call('HINCRBY', badges, part, 1)
      elseif how == '?' then
        found[#found + 1] = redis.call('HGET', badges, part) or 0
      else
        found[#found + 1] = string.sub(how, 2)
        redis.call('HSET', badges, part, string.sub(how, 2))
      end
    end
  end
  return found
end

while true do
  local item = take('b', ARGV[1], 1)[1]
  if not item then return {} end
  local id = item[1]
  local key = 'carillon:batch:' .. id
  local batch = redis.call('HMGET', key, 'doc', 'badges', 'devices', 'app', 'outcomes', 'accepted')
  if batch[1] then
    redis.call('ZADD', DUE, now() + tonumber(ARGV[2]), 'b:' .. id)
    local badges = table.concat(numbers(batch[4], batch[3], batch[2]), ',')
    redis.call('HSET', key, 'badges', badges, 'leased', 1)
    return {id, batch[1], badges, batch[5] or '', batch[6] or ''}
  end
end
