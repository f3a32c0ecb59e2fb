-- How much waits to be taken, by lane. The urgent lane takes second looks as well.
-- Returns: messages and batches of the urgent lane, messages and batches of the bulk lane.
-- Twice: changes nothing.
-- With: waiting
local function ready(kind, lane)
  local found = 0
  for _, app in ipairs(waiting_apps(kind, lane)) do found = found + waiting_of(kind, lane, app) end
  return found
end
return {ready('e', 'urgent') + ready('e', 'looks'), ready('b', 'urgent'), ready('e', 'bulk'), ready('b', 'bulk')}
