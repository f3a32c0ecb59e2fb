-- For each second look at a fold, which of its `n` users are shown it: those who were shown no fold of a later place of its channel.
-- The looks are given newest first.
-- KEYS: channels [folds]
-- ARGV: seconds: number, looks [place, n], users [user]
-- Returns: 1 or 0 for each user, one list a look.
-- Twice: returns the same.
local answers, at, channel = {}, users.first, 0
for _, place, n in each(looks) do
  channel = channel + 1
  local shown = {}
  for k = 1, tonumber(n) do
    local known = redis.call('HGET', KEYS[channel], ARGV[at])
    shown[k] = (not known or known <= place) and 1 or 0
    if shown[k] == 1 then redis.call('HSET', KEYS[channel], ARGV[at], place) end
    at = at + 1
  end
  redis.call('EXPIRE', KEYS[channel], seconds)
  answers[#answers + 1] = shown
end
return answers
