-- Adds a batch's answers to the recent ones of its way. `state`: 1 something was answered, -1 nothing was and there were faults,
-- 0 neither. `lasted`: seconds that the batch took. `ago` and `credential` as of first_refusals.lua.
-- KEYS: answers, refused_devices, first_refusals
-- ARGV: recent: number, answered: number, refused: number, gone: number, failed: number, state, lasted: number, ago: number, credential,
--   devices [device]
-- Returns: the totals {answered, refused, gone, failed}, the batches in a row that got no answer, over how many ms they failed,
--   how many devices refused in a row, and 1 where any device was refused and has accepted nothing since.
-- Twice: counts twice.
-- With: answers
local seen = add_answers(answers, recent, {answered, refused, gone, failed})
local row, over = 0, 0
if state == '1' then
  end_row(answers)
elseif state == '-1' then
  local t, last = now(), tonumber(redis.call('HGET', answers, 'last') or '0')
  -- Faults that are minutes apart are no row.
  if t - last > 60 then redis.call('HDEL', answers, 'row', 'since') end
  row = redis.call('HINCRBY', answers, 'row', 1)
  redis.call('HSETNX', answers, 'since', string.format('%.3f', t - lasted))
  redis.call('HSET', answers, 'last', string.format('%.3f', t))
  over = math.floor((t - tonumber(redis.call('HGET', answers, 'since'))) * 1000)
end
local in_a_row = 0
if refused > 0 and answered == refused then
  for _, device in each(devices) do redis.call('SADD', refused_devices, device) end
  redis.call('EXPIRE', refused_devices, 86400)
  in_a_row = redis.call('SCARD', refused_devices)
elseif answered > 0 then
  redis.call('DEL', refused_devices)
end
if ago >= 0 then note_proof(answers, ago, credential) end
return {seen[1], seen[2], seen[3], seen[4], row, over, in_a_row, redis.call('EXISTS', first_refusals)}
