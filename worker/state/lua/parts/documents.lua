-- With: streams
-- The field `event` of an entry's fields, by its name; nothing where it is missing or there twice.
local function event_of(fields)
  local found
  for i = 1, #fields, 2 do
    if fields[i] == 'event' then
      if found then return nil end
      found = fields[i + 1]
    end
  end
  return found
end
-- An entry's document; nothing when it has left its stream.
local function document_of(entry)
  local stream, id = on_stream(entry)
  local found = redis.call('XRANGE', stream, id, id)[1]
  return found and event_of(found[2])
end
