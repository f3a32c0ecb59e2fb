-- With: places
-- Counts a message that a user was not notified of, for their digest: at most 300 conversations, and the latest 20 messages of each one by
-- one. `line` is a kept message (core/digest.py), `called` 1 or 0, `ends` when the silence does, `due` when the digest is. Kept nine days.
local function count_missed(app, user, conversation, line, called, ends, due)
  local key = DIGEST .. app .. ':' .. user
  local known = redis.call('HGET', key, conversation)
  if known or redis.call('HLEN', key) < 302 then
    local messages, mentions, kept = 0, 0, {}
    if known then
      messages, mentions = string.match(known, '^(%d+) (%d+)')
      for one in string.gmatch(known, '\n([^\n]+)') do kept[#kept + 1] = one end
    end
    kept[#kept + 1] = line
    local first = math.max(1, #kept - 19)
    local counted = string.format('%d %d\n', messages + 1, mentions + called)
    redis.call('HSET', key, conversation, counted .. table.concat(kept, '\n', first))
  else
    local messages, mentions = string.match(redis.call('HGET', key, '\nfurther') or '0 0', '^(%d+) (%d+)')
    redis.call('HSET', key, '\nfurther', string.format('%d %d', messages + 1, mentions + called))
  end
  redis.call('HSET', key, '\nend', ends)
  redis.call('HINCRBY', key, '\ncounted', 1)
  redis.call('EXPIRE', key, 777600)
  redis.call('ZADD', DIGESTS, due, app .. '\n' .. user)
end
-- The number of a device's badge with a message of this place that was not sent: one more (''), or this number. A badge that was cleared
-- at a later place has seen it.
local function count_unsent(app, device, place, number)
  local cleared = redis.call('HGET', CLEARED .. app, device)
  if cleared and newer(cleared, place) then return end
  if number == '' then
    redis.call('HINCRBY', BADGE .. app, device, 1)
  else
    redis.call('HSET', BADGE .. app, device, number)
  end
end
