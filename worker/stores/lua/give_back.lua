-- lane, (entry, app)...: messages that were taken and not expanded stand at the head of their lines again, in this order.
for i = #ARGV - 1, 2, -2 do
  local entry, app = ARGV[i], ARGV[i + 1]
  -- What somebody made ready or expanded meanwhile is not ours any more.
  if redis.call('ZREM', DUE, 'e:' .. entry) == 1 then put_back('e', ARGV[1], app, entry) end
end
return 1
