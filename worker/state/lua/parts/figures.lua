-- With: places
-- Streams as they are: see `figures.lua`.
local function figures_of(streams)
  local found = {}
  for _, stream, cursor in each(streams) do
    local info = redis.pcall('XINFO', 'STREAM', stream)
    if not info.err then
      local of = {}
      for k = 1, #info, 2 do of[info[k]] = info[k + 1] end
      local last, first = of['last-generated-id'], nil
      if cursor ~= LAST_ID and last ~= cursor then first = redis.call('XRANGE', stream, '(' .. cursor, '+', 'COUNT', 1)[1] end
      found[#found + 1] = {stream, of['length'], last, of['entries-added'] or '',
        tonumber(redis.call('HGET', MOVED, stream) or 0), first and first[1] or ''}
    end
  end
  return found
end
