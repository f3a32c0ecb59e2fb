-- Reserves times of each bucket, for its next `n` runs; see core/limits.py. `queue`: 0 the one of the bucket; 1 ahead of all that waits:
-- what is reserved in queue 2 moves back by as much, and `moved` is the sum, in seconds, by which it has since it began; 2 behind both.
-- KEYS: keys [bucket]
-- ARGV: buckets [speed, burst, queue, n], runs [wanted, horizon]
-- Returns: of each bucket its `moved` and, for each of its runs, how many have a time and the us by which the bucket was ahead of now
--   before them.
-- Twice: reserves twice, which only slows down.
local t, answer, at, bucket = now(), {}, runs.first, 0
for _, speed, burst, queue, n in each(buckets) do
  bucket, speed, burst = bucket + 1, tonumber(speed), tonumber(burst)
  local key = KEYS[bucket]
  local known = redis.call('HMGET', key, 'full', 'ahead', 'moved')
  local full, ahead, moved = tonumber(known[1] or '0'), tonumber(known[2] or '0'), tonumber(known[3] or '0')
  local changed, found = false, {''}
  for _ = 1, tonumber(n) do
    local wanted, horizon = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    at = at + 2
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
end
return answer
