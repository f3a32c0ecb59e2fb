-- (provider, recent, answered, refused, gone, failed, state, lasted, devices that refused...): adds these; returns the totals with them, the batches in a
-- row that got no answer, over how many ms they failed, and the devices that refused in a row. `state`: 1 something was answered, -1 nothing was and there were
-- faults, 0 neither; `lasted`: seconds that the batch took. Of more than `recent` answers the shares are kept and half of that
-- number, so that what was long ago weighs ever less, and a flood can not hide what begins now.
local key, recent, fields = 'carillon:answers:' .. ARGV[1], tonumber(ARGV[2]), {'answered', 'refused', 'gone', 'failed'}
local seen = {}
for i, field in ipairs(fields) do
  local rare = i == 4 and ARGV[i + 2] == '0'
  seen[i] = rare and tonumber(redis.call('HGET', key, field) or '0') or redis.call('HINCRBY', key, field, ARGV[i + 2])
end
if seen[1] + seen[4] > recent then
  for i, field in ipairs(fields) do
    redis.call('HSET', key, field, math.floor(seen[i] * recent / 2 / (seen[1] + seen[4]) + 0.5))
  end
end
local row, over = 0, 0
if ARGV[7] == '1' then
  redis.call('HDEL', key, 'row', 'since', 'last')
elseif ARGV[7] == '-1' then
  local t, last = now(), tonumber(redis.call('HGET', key, 'last') or '0')
  -- Faults that are minutes apart are no row.
  if t - last > 60 then redis.call('HDEL', key, 'row', 'since') end
  row = redis.call('HINCRBY', key, 'row', 1)
  redis.call('HSETNX', key, 'since', string.format('%.3f', t - tonumber(ARGV[8])))
  redis.call('HSET', key, 'last', string.format('%.3f', t))
  over = math.floor((t - tonumber(redis.call('HGET', key, 'since'))) * 1000)
end
local in_a_row, row_of = 0, 'carillon:refused:' .. ARGV[1]
if ARGV[4] ~= '0' and ARGV[3] == ARGV[4] then
  for i = 9, #ARGV do redis.call('SADD', row_of, ARGV[i]) end
  redis.call('EXPIRE', row_of, 86400)
  in_a_row = redis.call('SCARD', row_of)
elseif ARGV[3] ~= '0' then
  redis.call('DEL', row_of)
end
redis.call('EXPIRE', key, 86400)
return {seen[1], seen[2], seen[3], seen[4], row, over, in_a_row}
