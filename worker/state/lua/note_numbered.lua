-- The batch has its numbers of another partition: it counts nothing any more.
-- ARGV: id
-- Returns: 1, or 0 where the batch is no more.
-- Twice: does the same.
if redis.call('EXISTS', BATCH .. id) == 0 then return 0 end
redis.call('HSETNX', BATCH .. id, 'numbered', 1)
return 1
