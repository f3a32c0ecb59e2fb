-- lane, (entry, app, group, turn)...: messages that were taken and not expanded stand at the head of their lines again, in this order.
local single, groups = {}, {}
for i = 2, #ARGV, 4 do
  local entry, group = ARGV[i], ARGV[i + 2]
  -- What somebody made ready or expanded meanwhile is not ours any more.
  if group ~= '' then
    if redis.call('HGET', EXPANDING_GROUPS, group) == ARGV[i + 3] and redis.call('LREM', taken_of(group), 1, entry) == 1 then
      put_under(groups, group, entry)
    end
  elseif redis.call('ZREM', DUE, 'e:' .. entry) == 1 then
    single[#single + 1] = i
  end
end
for k = #single, 1, -1 do make_ready(ARGV[1], ARGV[single[k] + 1], ARGV[single[k]], 'LPUSH') end
for _, group in ipairs(groups) do
  add_to_group('LPUSH', group, groups[group])
  done_in_group(group, {})
end
return 1
