-- (name, wanted, per second, burst)...: for each bucket how many may go now, and the wait in ms when not all. See core/limits.py.
local t, answer = now(), {}
for i = 1, #ARGV, 4 do
  local key = 'carillon:rate:' .. ARGV[i]
  local wanted, speed, burst = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local start = math.max(tonumber(redis.call('GET', key) or '0'), t)
  local room = burst - (start - t) * speed
  local allowed = math.max(0, math.min(wanted, math.floor(room + 0.000001)))
  local wait = 0
  if allowed > 0 then
    local full = start + allowed / speed
    redis.call('SET', key, string.format('%.6f', full), 'PX', math.ceil((full - t) * 1000) + 1)
  end
  if allowed < wanted then wait = math.max(0, (1 - (room - allowed)) / speed) end
  answer[#answer + 1] = {allowed, math.ceil(wait * 1000)}
end
return answer
