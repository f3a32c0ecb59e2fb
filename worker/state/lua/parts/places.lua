-- The last id that a stream can have: nothing comes behind it.
local LAST_ID = '18446744073709551615-18446744073709551615'
-- Whether place `a` is behind place `b`. Places are numbers beyond Lua's: they compare as text. A release before used the ids of
-- entries, which are older than every place.
local function newer(a, b)
  -- Mostly ids whose first numbers are equally long: their order is that of the text, but for the second number of equal ones.
  local dash = string.find(a, '-', 1, true)
  if dash and dash > 1 and dash == string.find(b, '-', 1, true) then
    if #a ~= #b and string.sub(a, 1, dash) == string.sub(b, 1, dash) then return #a > #b end
    return a > b
  end
  local a_ms, a_n = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_n = string.match(b, '^(%d+)-(%d+)$')
  if not a_ms and not b_ms then
    if #a ~= #b then return #a > #b end
    return a > b
  end
  if not a_ms or not b_ms then return not a_ms end
  if a_ms ~= b_ms then return tonumber(a_ms) > tonumber(b_ms) end
  return tonumber(a_n) > tonumber(b_n)
end
