-- replace (1 or 0), (app, entries)...: writes how full Redis is, for publishers to read, and with `replace` also how many entries of
-- each app wait unread. Returns the percentage of `maxmemory`, 0 where there is none.
local key, percent = 'carillon:pressure', 0
local memory = redis.pcall('INFO', 'memory')
if type(memory) == 'string' then
  local used, most = string.match(memory, 'used_memory:(%d+)'), tonumber(string.match(memory, 'maxmemory:(%d+)'))
  if most and most > 0 then percent = math.floor(used / most * 100) end
end
if ARGV[1] == '1' then redis.call('DEL', key) end
for i = 2, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', key, 'redis_percent', percent, 'at', string.format('%d', now()))
-- A publisher whose clock differs from ours can tell by it that nobody writes it any more.
redis.call('EXPIRE', key, 30)
return percent
