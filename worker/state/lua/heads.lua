-- Lists as they are.
-- ARGV: lists [key]
-- Returns: of each {length, first value or ''}.
-- Twice: changes nothing.
local found = {}
for _, key in each(lists) do found[#found + 1] = {redis.call('LLEN', key), redis.call('LINDEX', key, 0) or ''} end
return found
