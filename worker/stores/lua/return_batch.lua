-- id, delay: hands the batch back as if it had not been taken: into its line (0), or to be taken after `delay` seconds. Returns how many
-- batches can be taken that waited for it.
local key = 'carillon:batch:' .. ARGV[1]
local batch = redis.call('HMGET', key, 'lane', 'app', 'provider', 'devices')
if not batch[1] then return 0 end
redis.call('HDEL', key, 'leased', 'claimed')
if tonumber(ARGV[2]) > 0 then
  redis.call('ZADD', DUE, now() + tonumber(ARGV[2]), 'b:' .. ARGV[1])
else
  put_in_line(batch[1], batch[2], batch[3], ARGV[1])
end
return leave(ARGV[1], batch[3], batch[4])
