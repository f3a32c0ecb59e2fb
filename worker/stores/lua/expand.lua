-- delay, steps (entry, cursor, next or '-'), batches, counts, accounts: all of it, or, when another worker was first, nothing.
local stale = {}
each(2, 3, function(i)
  if redis.call('HGET', EXPANDING, ARGV[i]) ~= ARGV[i + 1] then stale[#stale + 1] = ARGV[i] end
end)
if #stale > 0 then return stale end
local at = 3 + tonumber(ARGV[2]) * 3
at = each(at, 7, add_batch)
at = each(at, 3, count)
each(at, 1, account)
each(2, 3, function(i)
  local entry, following = ARGV[i], ARGV[i + 2]
  if following == '-' then
    redis.call('HDEL', EXPANDING, entry)
    redis.call('ZREM', DUE, 'e:' .. entry)
    settle(entry, -1)
  else
    redis.call('HSET', EXPANDING, entry, following)
    redis.call('ZADD', DUE, now() + tonumber(ARGV[1]), 'e:' .. entry)
  end
end)
return stale
