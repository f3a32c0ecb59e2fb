-- (stream, cursor)...: of each stream that there is its name, length, last id, how many entries were ever added ('' where the
-- server does not count them), how many of them were moved to other streams, and the id of the first behind the cursor or ''.
local found = {}
for i = 1, #ARGV, 2 do
  local info = redis.pcall('XINFO', 'STREAM', ARGV[i])
  if not info.err then
    local of = {}
    for k = 1, #info, 2 do of[info[k]] = info[k + 1] end
    local last, first = of['last-generated-id'], nil
    if ARGV[i + 1] ~= LAST_ID and last ~= ARGV[i + 1] then
      first = redis.call('XRANGE', ARGV[i], '(' .. ARGV[i + 1], '+', 'COUNT', 1)[1]
    end
    found[#found + 1] = {ARGV[i], of['length'], last, of['entries-added'] or '',
      tonumber(redis.call('HGET', 'carillon:moved', ARGV[i]) or 0), first and first[1] or ''}
  end
end
return found
