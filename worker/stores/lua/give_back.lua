-- lane, patience, (entry, app)...: messages that were taken and not expanded stand at the head of their lines again, in this order.
local begun, ours = {}, {}
for i = 3, #ARGV, 2 do
  -- What somebody made ready or expanded meanwhile is not ours any more.
  if redis.call('ZREM', DUE, 'e:' .. ARGV[i]) == 1 then
    local app, cursor, place, channel = expansion(redis.call('HGET', EXPANDING, ARGV[i]) or '')
    if app and cursor == '' and channel ~= '' then
      ours[#ours + 1] = {ARGV[i], app, place, channel .. '@' .. app}
    elseif app and cursor == '' then
      ours[#ours + 1] = {ARGV[i], app, place}
    else
      begun[#begun + 1] = i
    end
  end
end
for k = #begun, 1, -1 do put_back(ARGV[1], ARGV[begun[k] + 1], ARGV[begun[k]]) end
return_messages(ours, tonumber(ARGV[2]))
return 1
