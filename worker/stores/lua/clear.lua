-- (entry, app, devices)...: badges begin anew at this place of the stream. A device with '!' is not told. Entries with devices to
-- tell are opened, with these as their cursor, and returned; a second time they are found open, and returned as well.
local opened = {}
for i = 1, #ARGV, 3 do
  local entry, app, tell = ARGV[i], ARGV[i + 1], {}
  local badges, cleared = 'carillon:badge:' .. app, 'carillon:cleared:' .. app
  for device, quiet in string.gmatch(ARGV[i + 2], '(%d+)(!?)') do
    local before = redis.call('HGET', cleared, device)
    if not before or newer(entry, before) then
      redis.call('HSET', cleared, device, entry)
      local had = tonumber(redis.call('HGET', badges, device) or 0)
      redis.call('HDEL', badges, device)
      if had > 0 and quiet == '' then tell[#tell + 1] = device end
    end
  end
  local latest = redis.call('HGET', cleared, '')
  if not latest or newer(entry, latest) then redis.call('HSET', cleared, '', entry) end
  -- By then no message from before is still on its way.
  redis.call('EXPIRE', cleared, 2592000)
  if #tell > 0 and redis.call('HSETNX', OPEN, entry, 1) == 1 then
    redis.call('HSET', EXPANDING, entry, app .. '\n[' .. table.concat(tell, ',') .. ']')
    make_ready('e', 'urgent', app, entry)
    opened[#opened + 1] = entry
  elseif redis.call('HEXISTS', OPEN, entry) == 1 then
    opened[#opened + 1] = entry
  end
end
return opened
