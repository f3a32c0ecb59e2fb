-- How much waits to be taken, of both lanes: (app, messages, batches)... of each app that has anything.
local found, order = {}, {}
-- Messages of a group that a task has wait for it.
for _, group in ipairs(redis.call('HKEYS', EXPANDING_GROUPS)) do
  local waiting, app = redis.call('LLEN', ready_in(group)), app_in(group)
  if waiting > 0 then
    if not found[app] then
      found[app] = {0, 0}
      order[#order + 1] = app
    end
    found[app][1] = found[app][1] + waiting
  end
end
for k, kind in ipairs({'e', 'b'}) do
  for _, lane in ipairs({'urgent', 'bulk'}) do
    for _, app in ipairs(waiting_apps(kind, lane)) do
      if not found[app] then
        found[app] = {0, 0}
        order[#order + 1] = app
      end
      found[app][k] = found[app][k] + waiting_of(kind, lane, app)
    end
  end
end
local answer = {}
for _, app in ipairs(order) do answer[#answer + 1] = {app, found[app][1], found[app][2]} end
return answer
