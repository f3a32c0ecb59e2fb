-- All devices of the batch are busy at home: it is taken again after `delay` seconds. It keeps them here, so that what came after it waits
-- as well.
-- ARGV: id, delay: number
-- Returns: 1, or 0 where the batch is no more.
-- Twice: does the same, but that the delay begins anew.
local batch = BATCH .. id
if redis.call('EXISTS', batch) == 0 then return 0 end
redis.call('HDEL', batch, 'leased')
redis.call('ZADD', DUE, now() + delay, 'b:' .. id)
return 1
