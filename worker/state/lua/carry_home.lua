-- Takes what a message of another partition, `source`, leaves for users here, of which nothing is pushed: as expand.lua does for its own.
-- Notes come in the order of their numbers.
-- ARGV: source, number: number, missed [app, user, conversation, line, called, ends, due], badges [app, device, place, number],
--   silent [app, user, due]
-- Returns: 1, or 0 where it was taken before.
-- Twice: does nothing.
-- With: missed
if tonumber(redis.call('HGET', CARRIED, source) or 0) >= number then return 0 end
for i in each(missed) do count_missed(unpack(ARGV, i, i + 6)) end
for i in each(badges) do count_unsent(unpack(ARGV, i, i + 3)) end
for _, app, user, due in each(silent) do redis.call('ZADD', SILENT_BADGES, 'NX', due, app .. '\n' .. user) end
redis.call('HSET', CARRIED, source, string.format('%.0f', number))
return 1
