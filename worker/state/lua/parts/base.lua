-- Redis lets a script that began with a write which needs no memory write on, also at `maxmemory`: what takes, finishes and
-- deletes must run then, or nothing would ever become free again.
redis.call('DEL', NONE)
-- UNIX seconds on the server's clock, so that the fleet has one.
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end
-- A command whose arguments may be many: Lua passes on only so many at once. Pairs stay together. `args` are a list, or those from its
-- `first` to its `last`.
local function bulk(command, key, args, first, last)
  last = last or #args
  for at = first or 1, last, 1000 do redis.call(command, key, unpack(args, at, math.min(at + 999, last))) end
end
-- Fields of a hash, however many.
local function values(key, fields, first, last)
  local found = {}
  first, last = first or 1, last or #fields
  for at = first, last, 1000 do
    local some = redis.call('HMGET', key, unpack(fields, at, math.min(at + 999, last)))
    if last - first < 1000 then return some end
    for k = 1, #some do found[at - first + k] = some[k] end
  end
  return found
end
