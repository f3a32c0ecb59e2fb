-- How much waits to be taken of messages ('e') or batches ('b') in a lane.
-- ARGV: kind, lane
-- Returns: how much.
-- Twice: changes nothing.
-- With: waiting
local found = 0
for _, app in ipairs(waiting_apps(kind, lane)) do found = found + waiting_of(kind, lane, app) end
return found
