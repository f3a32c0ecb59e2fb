-- KEYS: the stream, the outbox's fence. ARGV: holder, longest backlog, percentage of memory, how many apps, the
-- apps, then row and document of each event in their order.
-- Answers 'stale' when another relay has taken over, how many events of an app wait unread when these are too many, below
-- zero the percentage of memory that is used when that is too much, else 'moved'.
-- The rows of the last batch are remembered: its deletion in Postgres may not have been committed, and then it comes again.
-- Not among KEYS, which the relay's user would have to be allowed to write.
local PRESSURE = 'carillon:pressure'
if redis.call('HGET', KEYS[2], 'holder') ~= ARGV[1] then return 'stale' end
local last = 4 + tonumber(ARGV[4])
local percent = tonumber(redis.call('HGET', PRESSURE, 'redis_percent') or 0)
if percent >= tonumber(ARGV[3]) then return -percent end
for i = 5, last do
  local unread = tonumber(redis.call('HGET', PRESSURE, ARGV[i]) or 0)
  if unread >= tonumber(ARGV[2]) then return unread end
end
local before, seen, again = redis.call('HGET', KEYS[2], 'rows') or '', {}, false
for row in string.gmatch(before, '[^,]+') do seen[row] = true end
local rows = {}
for i = last + 1, #ARGV, 2 do
  if seen[ARGV[i]] then
    again = true
  else
    redis.call('XADD', KEYS[1], '*', 'event', ARGV[i + 1])
    rows[#rows + 1] = ARGV[i]
  end
end
-- A batch that was moved before may come again in pieces: it is forgotten with the first batch that has none of it.
if again then rows[#rows + 1] = before end
redis.call('HSET', KEYS[2], 'rows', table.concat(rows, ','))
return 'moved'
