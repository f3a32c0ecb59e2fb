-- token, (id, app)...: moves these entries of the inlet behind the streams of their apps, in this order. Returns how many, or nothing
-- for a leader that has been replaced.
if not leads(ARGV[1]) then return {} end
local moved = 0
for i = 2, #ARGV, 2 do
  local entry = redis.call('XRANGE', STREAM, ARGV[i], ARGV[i])[1]
  if entry and move(ARGV[i], entry[2], ARGV[i + 1]) then moved = moved + 1 end
end
return {moved}
