-- stream, after, till, entries, octets, longest, kept, name ('@<app>' or ''), unopened (1 or 0): looks at entries behind `after` and
-- up to `till`, until they are so many or come to so many octets. Returns the id of the last, whether it stopped before the end,
-- and of each (with `unopened`: of each that is not open) the id, the document, and what is wrong with it: nothing; 'none' or
-- 'twice' of the field `event`; or the length of a document longer than `longest`, of which the first `kept` octets are returned.
local stream, after, till, room = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local longest, kept, name, unopened = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9] == '1'
local limit, found, more, n, piece = tonumber(ARGV[4]), {}, 0, 0, 1
while true do
  -- Few at a time, and one where they are large: nobody knows how large the next is.
  local entries = after ~= LAST_ID and redis.call('XRANGE', stream, '(' .. after, till, 'COUNT', piece) or {}
  local small = true
  for _, entry in ipairs(entries) do
    if n >= limit or room <= 0 then
      more = 1
      break
    end
    n, after = n + 1, entry[1]
    local document, count, size = '', 0, 0
    for i = 1, #entry[2], 2 do
      size = size + #entry[2][i] + #entry[2][i + 1]
      if entry[2][i] == 'event' then document, count = entry[2][i + 1], count + 1 end
    end
    room, small = room - size, small and size < 16384
    if not unopened or redis.call('HEXISTS', OPEN, after .. name) == 0 then
      local fault = ''
      if count ~= 1 then
        fault = count == 0 and 'none' or 'twice'
      elseif #document > longest then
        fault = tostring(#document)
      end
      if #document > longest then document = string.sub(document, 1, kept) end
      found[#found + 1] = after
      found[#found + 1] = document
      found[#found + 1] = fault
    end
  end
  if more == 1 or #entries < piece then break end
  piece = small and math.min(8, piece * 2) or 1
end
return {after, more, found}
