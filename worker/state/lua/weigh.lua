-- What is in batches.
-- ARGV: batches [id]
-- Returns: of each {id, app, lane, way, whether a worker has it (1 or ''), its first entry, jobs, octets of its document}; nothing of one
--   that is done.
-- Twice: changes nothing.
local found = {}
for _, id in each(batches) do
  local batch = redis.call('HMGET', BATCH .. id, 'app', 'lane', 'provider', 'leased', 'entries', 'devices')
  if batch[1] then
    local orders = ',' .. (batch[6] or '')
    local _, parts = string.gsub(orders, ',[^,]', '')
    local _, sections = string.gsub(orders, ',@', '')
    local first = string.match(batch[5] or '0', '^[^\n]*')
    local octets = redis.call('HSTRLEN', BATCH .. id, 'doc')
    found[#found + 1] = {id, batch[1], batch[2], batch[3] or '0', batch[4] and 1 or '', first, parts - sections, octets}
  end
end
return found
