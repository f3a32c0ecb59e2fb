-- KEYS: the stream, the outbox's fence. ARGV: holder, longest backlog, percentage of memory, then row and document of each event in their order.
-- Answers 'stale' when another relay has taken over, the backlog's length when it is too long, below zero the percentage of
-- memory that is used when that is too much, else 'moved'.
-- The rows of the last batch are remembered: its deletion in Postgres may not have been committed, and then it comes again.
if redis.call('HGET', KEYS[2], 'holder') ~= ARGV[1] then return 'stale' end
local backlog = redis.call('XLEN', KEYS[1])
if backlog >= tonumber(ARGV[2]) then return backlog end
local memory = redis.pcall('INFO', 'memory')
if type(memory) == 'string' then
  local used, most = string.match(memory, 'used_memory:(%d+)'), tonumber(string.match(memory, 'maxmemory:(%d+)'))
  if most and most > 0 and used / most * 100 >= tonumber(ARGV[3]) then return -math.min(100, math.floor(used / most * 100)) end
end
local before, seen, again = redis.call('HGET', KEYS[2], 'rows') or '', {}, false
for row in string.gmatch(before, '[^,]+') do seen[row] = true end
local rows = {}
for i = 4, #ARGV, 2 do
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
