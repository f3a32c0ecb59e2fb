-- Those of these batches whose time has come can be taken. The tick would find them within a second.
-- ARGV: batches [id]
-- Returns: how many can be taken by now, of the urgent lane and of the bulk lane.
-- Twice: does nothing.
-- With: followers
local t, freed = now(), none_freed()
for _, id in each(batches) do
  local due = redis.call('ZSCORE', DUE, 'b:' .. id)
  if due and tonumber(due) <= t then make_takeable(id, freed) end
end
return by_lane(freed)
