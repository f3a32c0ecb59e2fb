-- lease, (entry, app, cursor)...: the messages are still being expanded; their leases begin anew, but for what another worker has taken on.
local leases, till = {}, now() + tonumber(ARGV[1])
for i = 2, #ARGV, 3 do
  local app, cursor = expansion(redis.call('HGET', EXPANDING, ARGV[i]) or '')
  if app == ARGV[i + 1] and cursor == ARGV[i + 2] then
    leases[#leases + 1] = till
    leases[#leases + 1] = 'e:' .. ARGV[i]
  end
end
for at = 1, #leases, 1000 do redis.call('ZADD', DUE, 'XX', unpack(leases, at, math.min(at + 999, #leases))) end
return #leases / 2
