-- A note to the home of a spread app, in another partition: HOMEWARD has it until it was carried there. Notes are numbered by the clock, so
-- that numbers grow also where the last ones are lost with their server.
local function send_home(home, note)
  local number = math.floor(now() * 1000000)
  local before = tonumber(redis.call('GET', HOMEWARD_LAST) or 0)
  if before >= number then number = before + 1 end
  redis.call('SET', HOMEWARD_LAST, string.format('%.0f', number))
  redis.call('RPUSH', HOMEWARD, string.format('%.0f %s ', number, home) .. note)
end
