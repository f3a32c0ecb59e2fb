-- id, batches to try later, counts, accounts: the batch is done. A second time does nothing.
local key = 'carillon:batch:' .. ARGV[1]
local entries = redis.call('HGET', key, 'entries')
if not entries then return -1 end
local at = each(2, 7, add_batch)
at = each(at, 3, count)
each(at, 1, account)
redis.call('DEL', key)
redis.call('ZREM', DUE, 'b:' .. ARGV[1])
local settled = 0
for entry in string.gmatch(entries, '[^,]+') do settled = settled + settle(entry, -1) end
return settled
