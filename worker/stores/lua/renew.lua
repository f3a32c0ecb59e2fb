-- id, lease: the batch is still in work.
return redis.call('ZADD', DUE, 'XX', 'CH', now() + tonumber(ARGV[2]), 'b:' .. ARGV[1])
