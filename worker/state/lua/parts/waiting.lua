-- How much can be taken of an app's messages ('e') or batches ('b') in a lane, and the apps of which anything can.
local function waiting_of(kind, lane, app)
  local found = 0
  if kind == 'e' then
    if lane == 'urgent' then
      for _, group in ipairs(redis.call('LRANGE', GROUPS_IN_TURN .. app, 0, -1)) do
        found = found + redis.call('LLEN', READY_IN_GROUP .. group)
      end
    end
    return found + redis.call('LLEN', READY_OF_APP .. lane .. ':' .. app)
  end
  for _, way in ipairs(redis.call('LRANGE', TURNS_OF_APP .. lane .. ':' .. app, 0, -1)) do
    found = found + redis.call('ZCARD', LINE .. lane .. ':' .. way)
  end
  return found
end
local function waiting_apps(kind, lane) return redis.call('LRANGE', (kind == 'e' and READY or TURNS) .. lane, 0, -1) end
