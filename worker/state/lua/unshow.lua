-- What was shown of messages up to `till` (ms) is not shown any more.
-- ARGV: app, shown, till: number
-- Returns: 1, or 0 where nothing is shown, or a newer one.
-- Twice: does nothing.
local at = redis.call('ZSCORE', SHOWN .. app, shown)
if not at or tonumber(at) > till then return 0 end
return redis.call('ZREM', SHOWN .. app, shown)
