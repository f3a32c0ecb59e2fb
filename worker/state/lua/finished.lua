-- All entries of a stream up to one are open or done: the leader had not only committed them.
-- ARGV: stream, last
-- Returns: 1, or 0 where that was known.
-- Twice: does nothing.
-- With: places
local before = redis.call('HGET', OPENED, stream)
if before and not newer(last, before) then return 0 end
redis.call('HSET', OPENED, stream, last)
return 1
