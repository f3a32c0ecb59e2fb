-- ([key, key of the window before, seconds, mark, n, user...])...: counts one more message for each of the n users. A mark that was
-- counted already counts nothing: its users are told what they were told then. Returns the counts, one list a burst.
redis.call('DEL', 'carillon:none')  -- lets the rest write at `maxmemory`, see common.lua
local at, answers = 1, {}
while at <= #ARGV do
  local key, before, seconds, mark, n = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
  local known = redis.call('HGET', key, mark)
  if not known then
    known = redis.call('HGET', before, mark)
    if known then key = before end
  end
  local counts, most = {}, 0
  for k = 1, n do
    local user = ARGV[at + 4 + k]
    if known then
      counts[k] = math.min(tonumber(known), tonumber(redis.call('HGET', key, user) or known))
    else
      counts[k] = redis.call('HINCRBY', key, user, 1)
      most = math.max(most, counts[k])
    end
  end
  if not known and n > 0 then
    redis.call('HSET', key, mark, most)
    redis.call('EXPIRE', key, 2 * seconds)
  end
  answers[#answers + 1] = counts
  at = at + 5 + n
end
return answers
