-- lease, (entry, state, group, turn)...: the messages are still being expanded; their leases begin anew, but for what another worker has
-- taken on.
local leases, till = {}, now() + tonumber(ARGV[1])
for i = 2, #ARGV, 4 do
  local entry, group = ARGV[i], ARGV[i + 2]
  if redis.call('HGET', EXPANDING, entry) == ARGV[i + 1] then
    if group == '' then
      leases[#leases + 1] = till
      leases[#leases + 1] = 'e:' .. entry
    elseif redis.call('HGET', EXPANDING_GROUPS, group) == ARGV[i + 3] then
      leases[#leases + 1] = till
      leases[#leases + 1] = 'g:' .. group
    end
  end
end
for at = 1, #leases, 1000 do redis.call('ZADD', DUE, 'XX', unpack(leases, at, math.min(at + 999, #leases))) end
return #leases / 2
