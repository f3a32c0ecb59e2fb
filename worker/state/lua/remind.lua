-- What is due is reminded of. Takes all, or, when another worker was first with any, nothing. `due` is the time that was read; without a
-- `later` the reminder ends, else that is its next time. Messages up to `read` (ms) are forgotten.
-- ARGV: reminders [name, due, later, times, read], batches [id, document, app, lane, devices, entries, delay, way, lines, behind,
--   takes_over, ahead], counts [app, counter, amount], accounts [document]
-- Returns: those with which another was first.
-- Twice: does nothing, and returns all.
-- With: batches, reminders, totals
local stale = {}
for _, name, due in each(reminders) do
  if tonumber(redis.call('ZSCORE', REMINDERS, name) or 0) ~= tonumber(due) then stale[#stale + 1] = name end
end
if #stale > 0 then return stale end

for _, name, _, later, times, read in each(reminders) do
  if later == '' then
    end_reminder(name)
  else
    redis.call('ZADD', REMINDERS, 'XX', later, name)
    redis.call('ZREMRANGEBYSCORE', REMINDER .. name, '-inf', read)
    redis.call('HSET', REMINDERS_SENT, name, times)
  end
end
local open = units()
for i in each(batches) do add_batch(open, nil, unpack(ARGV, i, i + 10)) end
for _, app, counter, amount in each(counts) do count(app, counter, amount) end
add_accounts(accounts)
open:apply()
return stale
