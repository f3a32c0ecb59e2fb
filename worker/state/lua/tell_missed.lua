-- Users hear of what they missed, or later. Takes all, or, when another worker was first with any, nothing. `counted` is how many
-- messages were counted as the digest was read; without a `due` its counts go, else it is put off, for what `looked` (1 or '') says.
-- `badges` are numbers on icons that are shown now, with the times at which they were due.
-- ARGV: digests [app, user, counted, due, ends, looked], badges [app, user, due], batches [id, document, app, lane, devices, entries,
--   delay, way, lines, behind, takes_over, ahead], counts [app, counter, amount], accounts [document]
-- Returns: app, line break, user of those with which another was first.
-- Twice: does nothing, and returns those who have heard of it.
-- With: batches, totals
local stale = {}
for _, app, user, counted in each(digests) do
  if (redis.call('HGET', DIGEST .. app .. ':' .. user, '\ncounted') or '') ~= counted then
    stale[#stale + 1] = app .. '\n' .. user
  end
end
for _, app, user, due in each(badges) do
  local member = app .. '\n' .. user
  if tonumber(redis.call('ZSCORE', SILENT_BADGES, member) or 0) ~= tonumber(due) then stale[#stale + 1] = member end
end
if #stale > 0 then return stale end

for _, app, user, _, due, ends, looked in each(digests) do
  local key, member = DIGEST .. app .. ':' .. user, app .. '\n' .. user
  if due == '' then
    redis.call('DEL', key)
    redis.call('ZREM', DIGESTS, member)
  else
    redis.call('HSET', key, '\nend', ends)
    if looked == '1' then redis.call('HSET', key, '\nlooked', 1) end
    redis.call('ZADD', DIGESTS, due, member)
  end
end
for _, app, user in each(badges) do redis.call('ZREM', SILENT_BADGES, app .. '\n' .. user) end
local open = units()
for i in each(batches) do add_batch(open, nil, unpack(ARGV, i, i + 10)) end
for _, app, counter, amount in each(counts) do count(app, counter, amount) end
add_accounts(accounts)
open:apply()
return stale
