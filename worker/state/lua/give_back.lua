-- Messages that were taken and not expanded stand at the head of their lines again, in this order.
-- ARGV: lane, messages [entry, app, group, turn]
-- Returns: 1
-- Twice: does nothing.
-- With: messages, second_looks
local single, looks, groups = {}, {}, {}
for _, entry, app, group, turn in each(messages) do
  -- What somebody made ready or expanded meanwhile is not ours any more.
  if group ~= '' then
    if redis.call('HGET', EXPANDING_GROUPS, group) == turn and redis.call('LREM', TAKEN .. group, 1, entry) == 1 then
      put_under(groups, group, entry)
    end
  elseif is_second_look(entry) then
    if redis.call('ZREM', SECOND_LOOKS_DUE, entry) == 1 then looks[#looks + 1] = {app, entry} end
  elseif redis.call('ZREM', DUE, 'e:' .. entry) == 1 then
    single[#single + 1] = {app, entry}
  end
end
for k = #single, 1, -1 do make_ready(lane, single[k][1], single[k][2], 'LPUSH') end
for k = #looks, 1, -1 do make_ready('looks', looks[k][1], looks[k][2], 'LPUSH') end
for _, group in ipairs(groups) do
  add_to_group('LPUSH', group, groups[group])
  done_in_group(group, {})
end
return 1
