-- (name, per second, burst, queue, n, (wanted, horizon) x n)...: reserves times of each bucket; see core/limits.py. Returns for each
-- name its `moved` and, for each of its runs, how many have a time and the us by which the bucket was ahead of now before them.
-- queue: 0 the one of the bucket; 1 ahead of all that waits: what is reserved in queue 2 moves back by as much, and `moved` is the
-- sum, in seconds, by which it has since it began; 2 behind both.
local t, answer, i = now(), {}, 1
while i <= #ARGV do
  local key, speed, burst, queue = 'carillon:notbefore:' .. ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  local known = redis.call('HMGET', key, 'full', 'ahead', 'moved')
  local full, ahead, moved = tonumber(known[1] or '0'), tonumber(known[2] or '0'), tonumber(known[3] or '0')
  local runs, changed = tonumber(ARGV[i + 4]), false
  local found = {''}
  for run = 0, runs - 1 do
    local wanted, horizon = tonumber(ARGV[i + 5 + 2 * run]), tonumber(ARGV[i + 6 + 2 * run])
    local start = math.max(queue == '1' and ahead or full, t)
    local room = (horizon - (start - t)) * speed + burst
    local taken = math.max(0, math.min(wanted, math.floor(room + 0.000001)))
    found[#found + 1] = {taken, math.floor((start - t) * 1000000)}
    if taken > 0 then
      changed = true
      if queue == '1' then
        ahead = start + taken / speed
        -- Only what has yet to go can move back.
        if full > t + burst / speed then moved = moved + taken / speed end
        full = math.max(full, t) + taken / speed
      else
        full = start + taken / speed
      end
    end
  end
  if changed then
    redis.call('HSET', key, 'full', string.format('%.6f', full), 'ahead', string.format('%.6f', ahead),
      'moved', string.format('%.6f', moved))
    redis.call('PEXPIRE', key, math.ceil((full - t) * 1000) + 1000)
  end
  found[1] = string.format('%.6f', moved)
  answer[#answer + 1] = found
  i = i + 5 + 2 * runs
end
return answer
