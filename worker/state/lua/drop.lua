-- entries...: takes those off their streams that nobody has opened.
local ended = {}
for at = 1, #ARGV, 1000 do
  local last = math.min(at + 999, #ARGV)
  for k, units in ipairs(redis.call('HMGET', OPEN, unpack(ARGV, at, last))) do
    if not units then ended[#ended + 1] = ARGV[at + k - 1] end
  end
end
delete(ended)
return #ended
