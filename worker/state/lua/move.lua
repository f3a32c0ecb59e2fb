-- Moves these entries of the inlet behind the streams of their apps, in this order.
-- ARGV: token, entries [id, app]
-- Returns: {how many}, or nothing for a leader that has been replaced.
-- Twice: moves nothing, for they are not on the inlet any more.
-- With: inlet, moving
if not leads(token) then return {} end
local moved = 0
for _, id, app in each(entries) do
  local entry = redis.call('XRANGE', EVENTS, id, id)[1]
  if entry and move(id, entry[2], app) then moved = moved + 1 end
end
return {moved}
