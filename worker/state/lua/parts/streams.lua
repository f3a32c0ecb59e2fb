-- The stream of an entry, and its id there: `<id>`, or `<id>@<app>` on the app's own stream. Behind the id stands the partition's MARK.
local function on_stream(entry)
  local at = string.find(entry, '@', 1, true)
  if not at then return EVENTS, MARK == '' and entry or string.sub(entry, 1, -#MARK - 1) end
  return APP_EVENTS .. string.sub(entry, at + 1), string.sub(entry, 1, at - #MARK - 1)
end
-- Takes entries off their streams.
local function delete(entries)
  local ids = {}
  for _, entry in ipairs(entries) do
    local stream, id = on_stream(entry)
    ids[stream] = ids[stream] or {}
    ids[stream][#ids[stream] + 1] = id
  end
  for stream, of in pairs(ids) do bulk('XDEL', stream, of) end
end
-- Whether an entry is still on its stream.
local function on_its_stream(entry)
  local stream, id = on_stream(entry)
  return redis.call('XRANGE', stream, id, id)[1] ~= nil
end
