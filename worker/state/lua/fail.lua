-- One more try of the batch has failed.
-- KEYS: batch
-- Returns: how many have; 0 where the batch is no more.
-- Twice: counts twice, which ends a batch sooner and loses nothing.
if redis.call('EXISTS', batch) == 0 then return 0 end
return redis.call('HINCRBY', batch, 'failures', 1)
