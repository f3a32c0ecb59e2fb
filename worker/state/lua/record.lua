-- These jobs of each batch (indexes, separated by commas) were accepted, so that whoever takes it after us does not send them again. Its
-- lease begins anew.
-- ARGV: lease: number, batches [id, jobs]
-- Returns: 1
-- Twice: names the jobs twice, which means the same.
local till = now() + lease
for _, id, jobs in each(batches) do
  local key = BATCH .. id
  if redis.call('EXISTS', key) == 1 then
    if jobs ~= '' then redis.call('HSET', key, 'accepted', (redis.call('HGET', key, 'accepted') or '') .. jobs .. ',') end
    redis.call('ZADD', DUE, 'XX', till, 'b:' .. id)
  end
end
return 1
