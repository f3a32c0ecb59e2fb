-- Nothing goes over the way for a time that grows with its refusals in a row (growth.lua), from `least` seconds on. Refusals are in a row
-- while each comes within `memory` seconds of the end of the time before.
-- KEYS: quota
-- ARGV: least: number, growth: number, longest: number, jitter: number, memory: number, reason
-- Returns: the ms that are left.
-- Twice: the time may grow by what is left of it; it counts one refusal, for the way is over its quota by then.
-- With: growth
local t = now()
local till = tonumber(redis.call('HGET', quota, 'until') or '0')
-- Refused meanwhile: what was on its way by then says nothing new.
local n = redis.call('HINCRBY', quota, 'row', till > t and 0 or 1)
till = math.max(till, t + grown(n, least, least, growth, longest, jitter))
redis.call('HSETNX', quota, 'since', string.format('%.3f', t))
redis.call('HSET', quota, 'until', string.format('%.3f', till), 'reason', reason, 'taken', 0)
redis.call('PEXPIRE', quota, math.ceil((till - t + memory) * 1000))
return math.ceil((till - t) * 1000)
