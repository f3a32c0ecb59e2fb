-- With: streams
-- A list of entries, separated by line breaks; one of a release before by commas, and has no other stream's entries.
local function entries_in(list)
  return string.gmatch(list, string.find(list, '^[%d,-]*$') and '[^,]+' or '[^\n]+')
end
-- Changes entries' counts of open units (an expansion, a batch) together; at none left an entry's place in the journal goes.
local Units = {}
Units.__index = Units
local function units() return setmetatable({order = {}, delta = {}}, Units) end
function Units:add(entry, delta)
  if not self.delta[entry] then self.order[#self.order + 1] = entry end
  self.delta[entry] = (self.delta[entry] or 0) + delta
end
function Units:apply()
  local ended = {}
  for _, entry in ipairs(self.order) do
    local delta = self.delta[entry]
    if delta ~= 0 and redis.call('HINCRBY', OPEN, entry, delta) <= 0 then ended[#ended + 1] = entry end
  end
  bulk('HDEL', OPEN, ended)
  bulk('HDEL', TRIES, ended)
  delete(ended)
end
