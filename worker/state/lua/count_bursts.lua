-- Counts one more message for each of a burst's `n` users, in its window of so many seconds. A mark that was counted already, in this
-- window or the one before, counts nothing: its users have the counts that they had then.
-- KEYS: windows [this, before]
-- ARGV: bursts [seconds, mark, n], users [user]
-- Returns: the counts, one list a burst.
-- Twice: counts nothing.
local answers, at, window = {}, users.first, -1
for _, seconds, mark, n in each(bursts) do
  window = window + 2
  local key, before = KEYS[window], KEYS[window + 1]
  local known = redis.call('HGET', key, mark)
  if not known then
    known = redis.call('HGET', before, mark)
    if known then key = before end
  end
  local counts, most = {}, 0
  for k = 1, tonumber(n) do
    local user = ARGV[at]
    at = at + 1
    if known then
      counts[k] = math.min(tonumber(known), tonumber(redis.call('HGET', key, user) or known))
    else
      counts[k] = redis.call('HINCRBY', key, user, 1)
      most = math.max(most, counts[k])
    end
  end
  if not known and #counts > 0 then
    redis.call('HSET', key, mark, most)
    redis.call('EXPIRE', key, 2 * seconds)
  end
  answers[#answers + 1] = counts
end
return answers
