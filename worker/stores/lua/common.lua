-- Prepended to every script. The keys are fixed names on one Redis; `now` is the server's, so that the fleet has one clock.
local STREAM, OPEN, EXPANDING, DUE = 'carillon:events', 'carillon:open', 'carillon:expanding', 'carillon:due'
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end
-- An entry's count of open units (its expansion, its batches) changes; at none left its journal entry goes.
local function settle(entry, delta)
  if redis.call('HINCRBY', OPEN, entry, delta) <= 0 then
    redis.call('HDEL', OPEN, entry)
    redis.call('HDEL', 'carillon:tries', entry)
    redis.call('XDEL', STREAM, entry)
    return 1
  end
  return 0
end
-- Reads a counted list of fixed-width records from ARGV: returns the index after it.
local function each(at, width, apply)
  local n = tonumber(ARGV[at])
  for k = 0, n - 1 do apply(at + 1 + k * width) end
  return at + 1 + n * width
end
-- id, doc, app, lane, devices, entries, delay
local function add_batch(i)
  local id = ARGV[i]
  redis.call('HSET', 'carillon:batch:' .. id, 'doc', ARGV[i + 1], 'app', ARGV[i + 2], 'lane', ARGV[i + 3],
    'devices', ARGV[i + 4], 'entries', ARGV[i + 5])
  redis.call('ZADD', DUE, now() + tonumber(ARGV[i + 6]), 'b:' .. id)
  for entry in string.gmatch(ARGV[i + 5], '[^,]+') do redis.call('HINCRBY', OPEN, entry, 1) end
end
-- app, counter, amount
local function count(i)
  redis.call('HINCRBY', 'carillon:counts:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
-- one JSON document for the ledger
local function account(i)
  redis.call('RPUSH', 'carillon:accounts', ARGV[i])
end
