#!lua flags=allow-oom
-- Runs one small command also while Redis is full: what is told of a fault must not fail by it.
return redis.call(unpack(ARGV))
