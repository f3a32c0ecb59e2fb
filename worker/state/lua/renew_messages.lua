-- The messages are still being expanded; their leases begin anew, but for what another worker has taken on.
-- ARGV: lease: number, messages [entry, state, group, turn]
-- Returns: how many leases.
-- Twice: does the same.
local leases, till = {}, now() + lease
for _, entry, state, group, turn in each(messages) do
  if redis.call('HGET', EXPANDING, entry) == state then
    if group == '' then
      leases[#leases + 1] = till
      leases[#leases + 1] = 'e:' .. entry
    elseif redis.call('HGET', EXPANDING_GROUPS, group) == turn then
      leases[#leases + 1] = till
      leases[#leases + 1] = 'g:' .. group
    end
  end
end
for at = 1, #leases, 1000 do redis.call('ZADD', DUE, 'XX', unpack(leases, at, math.min(at + 999, #leases))) end
return #leases / 2
