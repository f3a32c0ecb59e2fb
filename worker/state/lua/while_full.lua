#!lua flags=allow-oom
-- Runs one small command also while Redis is full: what is written of a fault must not fail by it.
-- KEYS: key
-- ARGV: command, arguments [argument]
-- Returns: what the command returns.
-- Twice: does what the command does.
-- With: nothing
return redis.call(command, key, unpack(ARGV, arguments.first, arguments.last))
