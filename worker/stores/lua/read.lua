-- entries...: cursor and document of each that is still being expanded.
local found = {}
for i = 1, #ARGV do
  local cursor = redis.call('HGET', EXPANDING, ARGV[i])
  if cursor then
    local entry = redis.call('XRANGE', STREAM, ARGV[i], ARGV[i])[1]
    found[#found + 1] = {ARGV[i], cursor, entry and entry[2][2] or ''}
  end
end
return found
