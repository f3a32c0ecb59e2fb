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
  local changed, ended, left = {}, {}, {}
  for _, entry in ipairs(self.order) do
    if self.delta[entry] ~= 0 then changed[#changed + 1] = entry end
  end
  for k, known in ipairs(values(OPEN, changed)) do
    local entry = changed[k]
    local n = (known or 0) + self.delta[entry]
    if n <= 0 then
      ended[#ended + 1] = entry
    else
      left[#left + 1] = entry
      left[#left + 1] = n
    end
  end
  bulk('HSET', OPEN, left)
  bulk('HDEL', OPEN, ended)
  bulk('HDEL', TRIES, ended)
  delete(ended)
end
