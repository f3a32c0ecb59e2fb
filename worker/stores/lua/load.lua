-- How much waits to be taken, of both lanes: (app, messages, batches)... of each app that has anything.
local found, order = {}, {}
for k, kind in ipairs({'e', 'b'}) do
  for _, lane in ipairs({'urgent', 'bulk'}) do
    local turns = 'carillon:ready:' .. kind .. ':' .. lane
    for _, app in ipairs(redis.call('LRANGE', turns, 0, -1)) do
      if not found[app] then
        found[app] = {0, 0}
        order[#order + 1] = app
      end
      found[app][k] = found[app][k] + redis.call('LLEN', turns .. ':' .. app)
    end
  end
end
local answer = {}
for _, app in ipairs(order) do answer[#answer + 1] = {app, found[app][1], found[app][2]} end
return answer
