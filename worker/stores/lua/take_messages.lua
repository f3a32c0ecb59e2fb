-- lane, limit, lease, octets: messages to expand, each with app, cursor, document and place. Once their documents have come to `octets`
-- together, the others go back to the head of their lines.
local lane, room = ARGV[1], tonumber(ARGV[4])
local items = take('e', lane, tonumber(ARGV[2]))
local entries, found, leases, till = {}, {}, {}, now() + tonumber(ARGV[3])
for k, item in ipairs(items) do entries[k] = item[1] end
local states, k = {}, 1
if #entries > 0 then states = redis.call('HMGET', EXPANDING, unpack(entries)) end
while k <= #items and room > 0 do
  local entry, state = entries[k], states[k]
  if state then
    leases[#leases + 1] = till
    leases[#leases + 1] = 'e:' .. entry
    local app, cursor, place = expansion(state)
    local document = document_of(entry)
    if not document then
      document = ''
      note_trimmed(on_stream(entry), 1)
    end
    room = room - #document
    found[#found + 1] = {entry, app, cursor, document, place}
  end
  k = k + 1
end
bulk('ZADD', DUE, leases)
for back = #items, k, -1 do put_back('e', lane, items[back][2], items[back][1]) end
return found
