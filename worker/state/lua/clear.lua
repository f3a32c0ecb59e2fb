-- (entry, app, place, devices)...: resets badge counters as of this place. `id!`: reset, but send that device no update. Entries
-- with devices to tell are opened, with these as their cursor, and returned; a second time they are found open, and returned as
-- well. An empty entry is nobody's own. All others leave their stream: an entry that is still there has reset nothing yet.
local opened, ended = {}, {}
for i = 1, #ARGV, 4 do
  local entry, app, place, tell = ARGV[i], ARGV[i + 1], ARGV[i + 2], {}
  local badges, cleared = 'carillon:badge:' .. app, 'carillon:cleared:' .. app
  for device, quiet in string.gmatch(ARGV[i + 3], '(%d+)(!?)') do
    local before = redis.call('HGET', cleared, device)
    if not before or newer(place, before) then
      redis.call('HSET', cleared, device, place)
      local had = tonumber(redis.call('HGET', badges, device) or 0)
      redis.call('HDEL', badges, device)
      if had > 0 and quiet == '' then tell[#tell + 1] = device end
    end
  end
  local latest = redis.call('HGET', cleared, '')
  if not latest or newer(place, latest) then redis.call('HSET', cleared, '', place) end
  -- By then no message from before is still on its way.
  redis.call('EXPIRE', cleared, 2592000)
  if #tell > 0 and redis.call('HSETNX', OPEN, entry, 1) == 1 then
    redis.call('HSET', EXPANDING, entry, app .. '\n[' .. table.concat(tell, ',') .. ']\n' .. place)
    make_ready('urgent', app, entry)
    opened[#opened + 1] = entry
  elseif redis.call('HEXISTS', OPEN, entry) == 1 then
    opened[#opened + 1] = entry
  elseif entry ~= '' then
    ended[#ended + 1] = entry
  end
end
delete(ended)
return opened
