-- stream, after, till, entries, octets, longest, kept, name ('@<app>' or ''), unopened (1 or 0): looks at entries behind `after` and
-- up to `till`, until they are so many or come to so many octets. Returns the id of the last, whether it stopped before the end,
-- and of each (with `unopened`: of each that is not open) the id, the document, and what is wrong with it: nothing; 'none' or
-- 'twice' of the field `event`; or the length of a document longer than `longest`, of which the first `kept` octets are returned.
local stream, after, till, room = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local longest, kept, name, unopened = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9] == '1'
local found, more = {}, 0
for n = 1, tonumber(ARGV[4]) + 1 do
  -- One at a time: nobody knows how large the next is.
  local entry = after ~= LAST_ID and redis.call('XRANGE', stream, '(' .. after, till, 'COUNT', 1)[1]
  if not entry then break end
  if n > tonumber(ARGV[4]) or room <= 0 then
    more = 1
    break
  end
  after = entry[1]
  local document, count = '', 0
  for i = 1, #entry[2], 2 do
    room = room - #entry[2][i] - #entry[2][i + 1]
    if entry[2][i] == 'event' then document, count = entry[2][i + 1], count + 1 end
  end
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
return {after, more, found}
