local function count(app, counter, amount)
  local key = COUNTS .. app
  -- A server's reasons are names of counters, and it may send ever new ones: beyond so many names they count as `other`.
  if redis.call('HINCRBY', key, counter, amount) == tonumber(amount) and redis.call('HLEN', key) > 256 then
    redis.call('HDEL', key, counter)
    redis.call('HINCRBY', key, 'other', amount)
  end
end
-- JSON documents for the ledger.
local function add_accounts(list) bulk('RPUSH', ACCOUNTS, ARGV, list.first, list.last) end
