-- Remembers the outcomes of the batch's jobs, so that whoever resumes it does not send them again; its lease begins anew.
-- ARGV: id, outcomes, lease: number
-- Returns: 1, or 0 where the batch is no more.
-- Twice: does the same.
if redis.call('EXISTS', BATCH .. id) == 0 then return 0 end
redis.call('HSET', BATCH .. id, 'outcomes', outcomes)
redis.call('ZADD', DUE, 'XX', now() + lease, 'b:' .. id)
return 1
