-- Prepended to the scripts that move entries of the inlet to streams of their apps.
-- Whether this leader still leads: a newer one has written a higher token.
local function leads(token)
  local known = redis.call('GET', 'carillon:intake:token') or ''
  if newer(known, token) then return false end
  if known ~= token then redis.call('SET', 'carillon:intake:token', token) end
  return true
end
local MOST_FIELDS = 256
-- Moves an entry behind its app's stream, under the id that it has where that is possible: it tells when it was published. One that
-- is open, and one that the stream does not take, stays.
local function move(id, fields, app)
  if #fields > MOST_FIELDS or redis.call('HEXISTS', OPEN, id) == 1 then return false end
  local added = redis.pcall('XADD', STREAM .. ':' .. app, id, unpack(fields))
  if type(added) ~= 'string' then added = redis.pcall('XADD', STREAM .. ':' .. app, '*', unpack(fields)) end
  if type(added) ~= 'string' then return false end
  redis.call('XDEL', STREAM, id)
  redis.call('HINCRBY', 'carillon:moved', STREAM, 1)
  return true
end
