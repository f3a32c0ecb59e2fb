-- Devices that were refused for a reason that a fault of ours gives as well (guarded). What tells is whether the way has accepted anything
-- that was sent after the first refusal of such a device. `ago`: seconds since the sending of this batch began, if anything of it was
-- accepted, else -1; `credential`: what it was sent with.
-- KEYS: answers, first_refusals
-- ARGV: ago: number, credential, memory: number, devices [device]
-- Returns: of each device {ms since its first refusal (0: this is it), 1 where anything that was sent since was accepted, else 0}; and last
--   {1 where the way has accepted anything with this credential, else 0}.
-- Twice: gives the same, but for the time since.
local t, found = now(), {}
local proved = tonumber(redis.call('HGET', answers, 'proved') or '0')
if ago >= 0 then proved = math.max(proved, t - ago) end
redis.call('ZREMRANGEBYSCORE', first_refusals, '-inf', t - memory)
for _, device in each(devices) do
  local first = tonumber(redis.call('ZSCORE', first_refusals, device) or t)
  if first == t then
    redis.call('ZADD', first_refusals, string.format('%.3f', t), device)
    found[#found + 1] = {0, 0}
  else
    found[#found + 1] = {math.max(1, math.floor((t - first) * 1000)), proved > first and 1 or 0}
  end
end
redis.call('EXPIRE', first_refusals, memory)
found[#found + 1] = {(ago >= 0 or redis.call('HGET', answers, 'credential') == credential) and 1 or 0}
return found
