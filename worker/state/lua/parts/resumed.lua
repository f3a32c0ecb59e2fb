-- With: lines
-- The way's lines have their turns again.
local function back_in_turn(way)
  for _, lane in ipairs({'urgent', 'bulk'}) do
    if redis.call('ZREM', OUT_OF_TURN .. lane, way) == 1 then
      local first = redis.call('ZRANGE', line_of(lane, way), 0, 0)[1]
      local app = first and redis.call('HGET', BATCH .. first, 'app')
      -- Of one that is no more nobody knows the app: whoever takes it lets it go.
      if first then give_turn(lane, app or '', way) end
    end
  end
end
