-- With: second_looks, units
-- Adds second looks, and each as a unit of its entry to `open`.
local function add_second_looks(open, looks)
  local states, times = {}, {}
  for _, id, delay, state in each(looks) do
    states[#states + 1], states[#states + 2] = id, state
    times[#times + 1], times[#times + 2] = now() + delay, id
    open:add(entry_of(id), 1)
  end
  bulk('HSET', SECOND_LOOKS, states)
  bulk('ZADD', SECOND_LOOKS_DUE, times)
end
