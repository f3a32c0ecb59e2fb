-- How much waits to be taken, of both lanes: (app, messages, batches)... of each app that has anything.
local found, order = {}, {}
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
