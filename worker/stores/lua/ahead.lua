-- id: what is ahead of the jobs of a batch that was taken.
local batch = redis.call('HMGET', 'carillon:batch:' .. ARGV[1], 'provider', 'devices')
if not batch[1] then return {{}, {}, {}} end
return {ahead(ARGV[1], batch[1], batch[2])}
