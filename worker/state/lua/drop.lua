-- Takes those entries off their streams that nobody has opened.
-- ARGV: entries [entry]
-- Returns: how many nobody had opened.
-- Twice: does nothing.
-- With: streams
local ended = {}
for at = entries.first, entries.last, 1000 do
  local last = math.min(at + 999, entries.last)
  for k, units in ipairs(redis.call('HMGET', OPEN, unpack(ARGV, at, last))) do
    if not units then ended[#ended + 1] = ARGV[at + k - 1] end
  end
end
delete(ended)
return #ended
