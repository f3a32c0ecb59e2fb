-- A list from its end to its `first` (1): what is put before others one by one stands in its own order then.
local function reversed(list, first)
  local back = {}
  for k = #list, first or 1, -1 do back[#back + 1] = list[k] end
  return back
end
-- Puts a value into the list that `lists` has under this name; the names stand in `lists` too, in the order of their first values.
local function put_under(lists, name, value)
  if not lists[name] then
    lists[name] = {}
    lists[#lists + 1] = name
  end
  local list = lists[name]
  list[#list + 1] = value
end
