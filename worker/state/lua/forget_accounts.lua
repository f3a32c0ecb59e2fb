-- The first `n` accounts go, if these still begin and end them. The first alone does not identify them: of a clearing of badges that
-- is published twice the list may have the same account twice.
-- KEYS: accounts
-- ARGV: n: number, first, last
-- Returns: 1, or 0 where they are others by now.
-- Twice: does nothing.
if redis.call('LINDEX', accounts, 0) ~= first or redis.call('LINDEX', accounts, n - 1) ~= last then return 0 end
redis.call('LTRIM', accounts, n, -1)
return 1
