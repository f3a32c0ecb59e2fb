-- The messages are still being expanded; their leases begin anew, but for what another worker has taken on.
-- ARGV: lease: number, messages [entry, state, group, turn]
-- Returns: how many leases.
-- Twice: does the same.
-- With: second_looks
local leases, looks, till = {}, {}, now() + lease
for _, entry, state, group, turn in each(messages) do
  if state_of(entry) == state then
    if is_second_look(entry) then
      looks[#looks + 1] = till
      looks[#looks + 1] = entry
    elseif group == '' then
      leases[#leases + 1] = till
      leases[#leases + 1] = 'e:' .. entry
    elseif redis.call('HGET', EXPANDING_GROUPS, group) == turn then
      leases[#leases + 1] = till
      leases[#leases + 1] = 'g:' .. group
    end
  end
end
local function renew(key, members)
  for at = 1, #members, 1000 do redis.call('ZADD', key, 'XX', unpack(members, at, math.min(at + 999, #members))) end
end
renew(DUE, leases)
renew(SECOND_LOOKS_DUE, looks)
return (#leases + #looks) / 2
