-- With: messages, waiting
-- How much waits to be taken: see `load.lua`.
local function load_now()
  local found, order = {}, {}
  local function add(app, which, n)
    if not found[app] then
      found[app] = {0, 0}
      order[#order + 1] = app
    end
    found[app][which] = found[app][which] + n
  end
  -- Messages of a group that a task has wait for it.
  for _, group in ipairs(redis.call('HKEYS', EXPANDING_GROUPS)) do
    local n = redis.call('LLEN', READY_IN_GROUP .. group)
    if n > 0 then add(app_in(group), 1, n) end
  end
  for which, kind in ipairs({'e', 'b'}) do
    for _, lane in ipairs({'urgent', 'bulk', 'looks'}) do
      for _, app in ipairs(waiting_apps(kind, lane)) do add(app, which, waiting_of(kind, lane, app)) end
    end
  end
  local answer = {}
  for _, app in ipairs(order) do answer[#answer + 1] = {app, found[app][1], found[app][2]} end
  return answer
end
