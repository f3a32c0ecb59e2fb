-- Lets a provider flow again and forgets its answers. What a person stopped, only a person resumes: `by_hand` (1 or 0).
-- ARGV: provider, by_hand
-- Returns: 1 where it was stopped, else 0.
-- Twice: does nothing.
-- With: resumed
local breaker = BREAKER .. provider
if by_hand == '0' and redis.call('HGET', breaker, 'manual') then return 0 end
redis.call('DEL', ANSWERS .. provider, PROBE .. provider, LOOKED .. provider, REFUSED .. provider)
local stopped = redis.call('DEL', breaker)
back_in_turn(provider)
return stopped
