-- With: streams
-- A list of entries, separated by line breaks; one of a release before by commas, and has no other stream's entries.
local function entries_in(list)
  local separator, found, n, at = string.find(list, '^[%d,-]*$') and ',' or '\n', {}, 0, 1
  while at <= #list do
    local stop = string.find(list, separator, at, true) or #list + 1
    n = n + 1
    found[n] = string.sub(list, at, stop - 1)
    at = stop + 1
  end
  return found
end
-- Changes entries' counts of open units (an expansion, a batch) together; at none left an entry's place in the journal goes.
local Units = {}
Units.__index = Units
local function units() return setmetatable({order = {}, delta = {}}, Units) end
-- Of a list, or of those from its `first` to its `last`.
function Units:add_all(entries, delta, first, last)
  local order, sums, n = self.order, self.delta, #self.order
  for k = first or 1, last or #entries do
    local entry = entries[k]
    local known = sums[entry]
    if not known then
      n = n + 1
      order[n] = entry
    end
    sums[entry] = (known or 0) + delta
  end
end
function Units:add(entry, delta) self:add_all({entry}, delta) end
function Units:apply()
  local changed, ended, left, delta, n, m = {}, {}, {}, self.delta, 0, 0
  for _, entry in ipairs(self.order) do
    if delta[entry] ~= 0 then
      n = n + 1
      changed[n] = entry
    end
  end
  for k, known in ipairs(values(OPEN, changed)) do
    local entry = changed[k]
    local sum = (known or 0) + delta[entry]
    if sum <= 0 then
      m = m + 1
      ended[m] = entry
    else
      left[#left + 1] = entry
      left[#left + 1] = sum
    end
  end
  bulk('HSET', OPEN, left)
  bulk('HDEL', OPEN, ended)
  if redis.call('EXISTS', TRIES) == 1 then bulk('HDEL', TRIES, ended) end
  delete(ended)
end
