-- How much waits to be taken of messages ('e') or batches ('b') in a lane. The urgent lane takes second looks as well.
-- ARGV: kind, lane
-- Returns: how much.
-- Twice: changes nothing.
-- With: waiting
local found = 0
for _, line in ipairs(kind == 'e' and lane == 'urgent' and {'urgent', 'looks'} or {lane}) do
  for _, app in ipairs(waiting_apps(kind, line)) do found = found + waiting_of(kind, line, app) end
end
return found
