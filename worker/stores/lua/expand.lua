-- steps (entry, app, cursor, next or '-'), batches, counts, accounts: all of it, or, when another worker was first, nothing.
local stale = {}
each(1, 4, function(i)
  if redis.call('HGET', EXPANDING, ARGV[i]) ~= ARGV[i + 1] .. '\n' .. ARGV[i + 2] then stale[#stale + 1] = ARGV[i] end
end)
if #stale > 0 then return stale end
local at = 2 + tonumber(ARGV[1]) * 4
at = each(at, 7, add_batch)
at = each(at, 3, count)
each(at, 1, account)
each(1, 4, function(i)
  local entry, app, following = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  if following == '-' then
    redis.call('HDEL', EXPANDING, entry)
    redis.call('ZREM', DUE, 'e:' .. entry)
    settle(entry, -1)
  else
    redis.call('HSET', EXPANDING, entry, app .. '\n' .. following)
    make_ready('e', 'bulk', app, entry)
  end
end)
return stale
