-- Writes how full Redis is, for publishers to read, and with `replace` (1 or 0) also how many entries of each app wait unread.
-- KEYS: pressure
-- ARGV: replace, unread [app, entries]
-- Returns: the percentage of `maxmemory`, 0 where there is none.
-- Twice: does the same.
local percent = 0
local memory = redis.pcall('INFO', 'memory')
if type(memory) == 'string' then
  local used, most = string.match(memory, 'used_memory:(%d+)'), tonumber(string.match(memory, 'maxmemory:(%d+)'))
  if most and most > 0 then percent = math.floor(used / most * 100) end
end
if replace == '1' then redis.call('DEL', pressure) end
for _, app, entries in each(unread) do redis.call('HSET', pressure, app, entries) end
redis.call('HSET', pressure, 'redis_percent', percent, 'at', string.format('%d', now()))
-- A publisher whose clock differs from ours can tell by it that nobody writes it any more.
redis.call('EXPIRE', pressure, 30)
return percent
