-- Puts the documents of an outbox's rows on the stream, in their order. The rows of the last batch are remembered: its deletion in
-- Postgres may not have been committed, and then it comes again.
-- KEYS: stream, fence
-- ARGV: holder, backlog: number, full: number, more: number, apps [app], rows [row, app, document]
-- Returns: 'stale' when another relay has taken over, how many events of an app wait unread when these are too many, below zero the
--   percentage of memory that is used when that is too much, else 'moved'.
-- Twice: adds nothing.
-- With: nothing
-- With an app in its row, a document goes on the app's own stream. `more`: the rows are of the same batch as those of the last call.
-- PRESSURE is not among KEYS, which the relay's user would have to be allowed to write.
if redis.call('HGET', fence, 'holder') ~= holder then return 'stale' end
local percent = tonumber(redis.call('HGET', PRESSURE, 'redis_percent') or 0)
if percent >= full then return -percent end
for _, app in each(apps) do
  local unread = tonumber(redis.call('HGET', PRESSURE, app) or 0)
  if unread >= backlog then return unread end
end
local before, seen, again = redis.call('HGET', fence, 'rows') or '', {}, false
for row in string.gmatch(before, '[^,]+') do seen[row] = true end
local moved = {}
for _, row, app, document in each(rows) do
  if seen[row] then
    again = true
  else
    redis.call('XADD', app == '' and stream or stream .. ':' .. app, '*', 'event', document)
    moved[#moved + 1] = row
  end
end
-- A batch that was moved before may come again in pieces: it is forgotten with the first batch that has none of it.
if again or more == 1 then moved[#moved + 1] = before end
redis.call('HSET', fence, 'rows', table.concat(moved, ','))
return 'moved'
