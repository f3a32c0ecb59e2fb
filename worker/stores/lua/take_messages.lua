-- lane, limit, lease: messages to expand, each with app, cursor and document.
local found, till = {}, now() + tonumber(ARGV[3])
for _, item in ipairs(take('e', ARGV[1], tonumber(ARGV[2]))) do
  local entry = item[1]
  local state = redis.call('HGET', EXPANDING, entry)
  if state then
    redis.call('ZADD', DUE, till, 'e:' .. entry)
    local event = redis.call('XRANGE', STREAM, entry, entry)[1]
    local app, cursor = string.match(state, '^([^\n]*)\n(.*)$')
    found[#found + 1] = {entry, app, cursor, event and event[2][2] or ''}
  end
end
return found
