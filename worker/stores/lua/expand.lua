-- steps (entry, app, cursor, next or '-'), batches, counts, accounts: all of it, or, when another worker was first, nothing.
local stale, places = {}, {}
each(1, 4, function(i)
  local app, cursor, place = expansion(redis.call('HGET', EXPANDING, ARGV[i]) or '')
  if app ~= ARGV[i + 1] or cursor ~= ARGV[i + 2] then stale[#stale + 1] = ARGV[i] end
  places[ARGV[i]] = place
end)
if #stale > 0 then return stale end
local open, done, taken = units(), {}, {}
local at = 2 + tonumber(ARGV[1]) * 4
at = each(at, 10, adds_batch(open))
at = each(at, 3, count)
accounts(at)
each(1, 4, function(i)
  local entry, app, following = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  if following == '-' then
    done[#done + 1] = entry
    taken[#taken + 1] = 'e:' .. entry
    open:add(entry, -1)
  else
    redis.call('HSET', EXPANDING, entry, app .. '\n' .. following .. '\n' .. places[entry])
    make_ready('e', 'bulk', app, entry)
  end
end)
bulk('HDEL', EXPANDING, done)
bulk('ZREM', DUE, taken)
open:settle()
return stale
