-- Counts one more message for each of a burst's `n` users who are in it ('1'), in its window of so many seconds. Beyond `after` of them
-- (-1: never) a message is folded: it has no sound, and with `every` milliseconds it waits for the time at which the fold is shown. Each
-- other message of a user who has a budget of sounds ('plain', 'called') makes one, if in the last `sound` milliseconds no other message
-- of the same budget made one in the channel, and in the last `user_sound` milliseconds none did at all. A mark that was counted
-- already, in this window or the one before, counts nothing: its users have the counts and times that they had then.
-- KEYS: windows [this, before, sounds, sounds_before, user_sounds, user_sounds_before]
-- ARGV: now: number, bursts [seconds, after, every, sound, user_sound, mark, message, n], users [user, counts, budget]
-- Returns: {count, milliseconds or 0, 1 with a sound, else 0} for each user of each burst, one list a burst.
-- Twice: counts nothing.
local answers, at, window = {}, users.first, -5

-- Whether another message made a sound of this budget less than so long ago.
local function heard(key, field, span, message)
  for k = key, key + 1 do
    local time, by = string.match(redis.call('HGET', KEYS[k], field) or '', '^(%d+) (.*)$')
    if time and by ~= message and now < tonumber(time) + span then return true end
  end
  return false
end
local function note(key, field, span, message)
  redis.call('HSET', KEYS[key], field, string.format('%.0f %s', now, message))
  redis.call('PEXPIRE', KEYS[key], 2 * span)
end

for _, seconds, after, every, sound, user_sound, mark, message, n in each(bursts) do
  window = window + 6
  after, every, sound, user_sound = tonumber(after), tonumber(every), tonumber(sound), tonumber(user_sound)
  local key, before = KEYS[window], KEYS[window + 1]
  local known = redis.call('HGET', key, mark)
  if not known then
    known = redis.call('HGET', before, mark)
    if known then key = before end
  end
  local found, most = {}, 0
  for k = 1, tonumber(n) do
    local user, counts, budget = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    at = at + 3
    local count, time, loud = 0, 0, 1
    if counts == '1' then
      if known then
        count = math.min(tonumber(known), tonumber(redis.call('HGET', key, user) or known))
      else
        count = redis.call('HINCRBY', key, user, 1)
        most = math.max(most, count)
      end
    end
    if after >= 0 and count > after then
      loud = 0
      if every > 0 then
        time = tonumber(redis.call('HGET', key, '\t' .. user) or 0)
        if time <= now then
          time = now + every
          redis.call('HSET', key, '\t' .. user, string.format('%.0f', time))
        end
      end
    elseif budget ~= '' then
      local field = budget == 'called' and '\t' .. user or user
      local used = sound > 0 and heard(window + 2, field, sound, message)
      if used or user_sound > 0 and heard(window + 4, user, user_sound, message) then
        loud = 0
      else
        if sound > 0 then note(window + 2, field, sound, message) end
        if user_sound > 0 then note(window + 4, user, user_sound, message) end
      end
    end
    found[k] = {count, string.format('%.0f', time), loud}
  end
  if not known and most > 0 then
    redis.call('HSET', key, mark, most)
    redis.call('EXPIRE', key, 2 * seconds)
  end
  answers[#answers + 1] = found
end
return answers
