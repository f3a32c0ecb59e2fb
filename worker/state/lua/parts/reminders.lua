-- REMINDERS has for a conversation of a user (app, channel, thread if any, user, by line breaks) when they are reminded of it, REMINDER
-- which messages they were notified of, and REMINDERS_SENT how often they were reminded.
local function end_reminder(name)
  redis.call('ZREM', REMINDERS, name)
  redis.call('DEL', REMINDER .. name)
  redis.call('HDEL', REMINDERS_SENT, name)
end
-- The user was notified of a message. A reminder that waits is not put off by it.
local function remind_after(name, delay, at, message)
  redis.call('ZADD', REMINDER .. name, 'NX', at, message)
  redis.call('ZREMRANGEBYRANK', REMINDER .. name, 0, -21)
  redis.call('EXPIRE', REMINDER .. name, 777600)
  redis.call('ZADD', REMINDERS, 'NX', string.format('%.3f', now() + delay), name)
end
