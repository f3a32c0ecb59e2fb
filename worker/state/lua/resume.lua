-- Lets a way flow again and forgets its answers. A whole provider's other ways have their turns again as well; by hand (`by_hand`: 1 or 0)
-- they flow too, and so does what is over a quota. What a person stopped, only a person resumes.
-- ARGV: way, by_hand
-- Returns: 1 where anything of it was stopped, else 0.
-- Twice: does nothing.
-- With: resumed, ways
if by_hand == '0' and redis.call('HGET', BREAKER .. way, 'manual') then return 0 end
local function flow(one)
  redis.call('DEL', ANSWERS .. one, PROBE .. one, LOOKED .. one, REFUSED .. one)
  if by_hand == '1' then redis.call('DEL', QUOTA .. one) end
  return redis.call('DEL', BREAKER .. one)
end
local stopped = flow(way)
back_in_turn(way)
if not whole_of(way) then
  for _, origin in ipairs(redis.call('ZRANGE', ORIGINS .. way, 0, -1)) do
    local one = way .. '@' .. origin
    if by_hand == '1' then stopped = math.max(stopped, flow(one)) end
    back_in_turn(one)
  end
end
return stopped
