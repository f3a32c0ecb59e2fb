-- Counts one more push on the day of each of a page's `n` users, up to `most`, unless the last one was of the same message.
-- KEYS: days [day]
-- ARGV: seconds: number, pages [most, message, n], users [user]
-- Returns: 1 for each user who has had fewer, else 0, one list a page.
-- Twice: returns the same.
local answers, at = {}, 0
for _, most, message, n in each(pages) do
  local within = {}
  for k = 1, tonumber(n) do
    at = at + 1
    local day, user = KEYS[at], ARGV[users.first + at - 1]
    local count, last = string.match(redis.call('HGET', day, user) or '0 ', '^(%d+) (.*)$')
    within[k] = (last == message or tonumber(count) < tonumber(most)) and 1 or 0
    if within[k] == 1 and last ~= message then
      redis.call('HSET', day, user, string.format('%d %s', count + 1, message))
      redis.call('EXPIRE', day, seconds)
    end
  end
  answers[#answers + 1] = within
end
return answers
