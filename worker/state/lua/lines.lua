-- Lines of batches as they are.
-- ARGV: most: number, lines [lane, way]
-- Returns: of each {batches, whether its way or its provider is stopped, paused or over a quota (1 or 0), its first ids, `most` of them}.
-- Twice: changes nothing.
-- With: lines, ways
local t, found = now(), {}
local function is_held(way)
  for _, one in ipairs({way, whole_of(way)}) do
    local ends = redis.call('HGET', QUOTA .. one, 'until')
    if redis.call('EXISTS', BREAKER .. one) == 1 or ends and tonumber(ends) > t then return 1 end
  end
  return 0
end
for _, lane, way in each(lines) do
  local line = line_of(lane, way)
  found[#found + 1] = {redis.call('ZCARD', line), is_held(way), redis.call('ZRANGE', line, 0, most - 1)}
end
return found
