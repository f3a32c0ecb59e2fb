-- Looks at entries behind `after` and up to `till`, until they are so many or come to so many octets. `name`: '@<app>' of an app's own
-- stream, else ''. `unopened` (1 or 0): looks only for those that are not open.
-- ARGV: stream, after, till, entries: number, octets: number, longest: number, kept: number, name, unopened
-- Returns: the id of the last, whether it stopped before the end, and of each the id, the document, and what is wrong with it: nothing;
--   'none' or 'twice' of the field `event`; or the length of a document longer than `longest`, of which the first `kept` octets are
--   returned.
-- Twice: changes nothing.
-- With: places
local found, f, more, n, piece = {}, 0, 0, 0, 1
while true do
  -- Few at a time, and one where they are large: nobody knows how large the next is.
  local some = after ~= LAST_ID and redis.call('XRANGE', stream, '(' .. after, till, 'COUNT', piece) or {}
  local small = true
  for _, entry in ipairs(some) do
    if n >= entries or octets <= 0 then
      more = 1
      break
    end
    n, after = n + 1, entry[1]
    local fields, document, count, size = entry[2], '', 0, 0
    for i = 1, #fields, 2 do
      local name, value = fields[i], fields[i + 1]
      size = size + #name + #value
      if name == 'event' then document, count = value, count + 1 end
    end
    octets, small = octets - size, small and size < 16384
    if unopened == '0' or redis.call('HEXISTS', OPEN, after .. name) == 0 then
      local fault = ''
      if count ~= 1 then
        fault = count == 0 and 'none' or 'twice'
      elseif #document > longest then
        fault = tostring(#document)
      end
      if #document > longest then document = string.sub(document, 1, kept) end
      found[f + 1], found[f + 2], found[f + 3] = after, document, fault
      f = f + 3
    end
  end
  if more == 1 or #some < piece then break end
  piece = small and math.min(8, piece * 2) or 1
end
return {after, more, found}
