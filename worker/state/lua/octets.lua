-- How large the documents on streams are, by up to `most` entries behind an id each.
-- ARGV: most: number, streams [stream, after]
-- Returns: of each stream {entries, octets of their documents}.
-- Twice: changes nothing.
-- With: places
local found = {}
for _, stream, after in each(streams) do
  local entries, octets = after ~= LAST_ID and redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', most) or {}, 0
  for _, entry in ipairs(entries) do
    for k = 2, #entry[2], 2 do octets = octets + #entry[2][k] end
  end
  found[#found + 1] = {#entries, octets}
end
return found
