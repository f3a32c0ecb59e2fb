-- Resets badge counters as of a place. Of `devices` (ids, separated by commas) `id!` is reset, and is sent no update. Entries with
-- devices to update are opened, with these as their cursor. An empty entry is nobody's own. All others leave their stream: an entry
-- that is still there has reset nothing yet.
-- ARGV: clearings [entry, app, place, devices]
-- Returns: the entries that are open now.
-- Twice: resets nothing, and returns the same.
-- With: messages, places, streams
local opened, ended = {}, {}
for _, entry, app, place, devices in each(clearings) do
  local badges, cleared, update = BADGE .. app, CLEARED .. app, {}
  for device, quiet in string.gmatch(devices, '(%d+)(!?)') do
    local before = redis.call('HGET', cleared, device)
    if not before or newer(place, before) then
      redis.call('HSET', cleared, device, place)
      local had = tonumber(redis.call('HGET', badges, device) or 0)
      redis.call('HDEL', badges, device)
      if had > 0 and quiet == '' then update[#update + 1] = device end
    end
  end
  local latest = redis.call('HGET', cleared, '')
  if not latest or newer(place, latest) then redis.call('HSET', cleared, '', place) end
  -- By then no message from before is still on its way.
  redis.call('EXPIRE', cleared, 2592000)
  if #update > 0 and redis.call('HSETNX', OPEN, entry, 1) == 1 then
    redis.call('HSET', EXPANDING, entry, app .. '\n[' .. table.concat(update, ',') .. ']\n' .. place)
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
