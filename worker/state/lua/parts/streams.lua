-- The stream of an entry, and its id there: `<id>`, or `<id>@<app>` on the app's own stream.
local function on_stream(entry)
  local id, app = string.match(entry, '^([^@]*)@(.*)$')
  if id then return APP_EVENTS .. app, id end
  return EVENTS, entry
end
-- Takes entries off their streams.
local function delete(entries)
  local ids = {}
  for _, entry in ipairs(entries) do
    local stream, id = on_stream(entry)
    ids[stream] = ids[stream] or {}
    table.insert(ids[stream], id)
  end
  for stream, of in pairs(ids) do bulk('XDEL', stream, of) end
end
-- Whether an entry is still on its stream.
local function on_its_stream(entry)
  local stream, id = on_stream(entry)
  return redis.call('XRANGE', stream, id, id)[1] ~= nil
end
