-- Adds to the recent answers of a way. Of more than `recent` the shares are kept and half of that number, so that what was long ago weighs
-- ever less, and a flood can not hide what begins now. Returns the totals before that: answered, refused, gone, failed.
local ANSWER_FIELDS = {'answered', 'refused', 'gone', 'failed'}
local function add_answers(key, recent, added)
  local seen, kept = redis.call('HMGET', key, unpack(ANSWER_FIELDS)), {}
  for i = 1, 4 do seen[i] = tonumber(seen[i] or 0) + added[i] end
  local all = seen[1] + seen[4]
  for i, field in ipairs(ANSWER_FIELDS) do
    kept[2 * i - 1], kept[2 * i] = field, all > recent and math.floor(seen[i] * recent / 2 / all + 0.5) or seen[i]
  end
  redis.call('HSET', key, unpack(kept))
  redis.call('EXPIRE', key, 86400)
  return seen
end
-- Something was answered: faults of before are no row any more.
local function end_row(key) redis.call('HDEL', key, 'row', 'since', 'last') end
-- A device accepted what was sent `ago` seconds ago, with this credential.
local function note_proof(key, ago, credential)
  local proved = math.max(now() - ago, tonumber(redis.call('HGET', key, 'proved') or '0'))
  redis.call('HSET', key, 'proved', string.format('%.3f', proved), 'credential', credential)
end
