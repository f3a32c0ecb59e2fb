-- id, batches to try later, counts, accounts: the batch is done. A second time does nothing.
local key = 'carillon:batch:' .. ARGV[1]
local entries = redis.call('HGET', key, 'entries')
if not entries then return -1 end
local open = units()
local at = each(2, 7, adds_batch(open))
at = each(at, 3, count)
accounts(at)
redis.call('DEL', key)
redis.call('ZREM', DUE, 'b:' .. ARGV[1])
for entry in entries_in(entries) do open:add(entry, -1) end
return open:settle()
