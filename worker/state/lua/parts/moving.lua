local MOST_FIELDS = 256
-- Moves an entry behind its app's stream, under the id that it has where that is possible: it tells when it was published. One that
-- is open, and one that the stream does not take, stays.
local function move(id, fields, app)
  if #fields > MOST_FIELDS or redis.call('HEXISTS', OPEN, id .. MARK) == 1 then return false end
  local added = redis.pcall('XADD', APP_EVENTS .. app, id, unpack(fields))
  if type(added) ~= 'string' then added = redis.pcall('XADD', APP_EVENTS .. app, '*', unpack(fields)) end
  if type(added) ~= 'string' then return false end
  redis.call('XDEL', EVENTS, id)
  redis.call('HINCRBY', MOVED, EVENTS, 1)
  return true
end
