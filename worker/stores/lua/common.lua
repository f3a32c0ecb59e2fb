-- Prepended to every script. The keys are fixed names on one Redis; `now` is the server's, so that the fleet has one clock.
local STREAM, OPEN, EXPANDING, DUE = 'carillon:events', 'carillon:open', 'carillon:expanding', 'carillon:due'
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end
-- A command whose arguments may be many: Lua passes on only so many at once. Pairs stay together.
local function bulk(command, key, args)
  for at = 1, #args, 1000 do redis.call(command, key, unpack(args, at, math.min(at + 999, #args))) end
end
-- Changes entries' counts of open units (an expansion, a batch) together; at none left an entry's place in the journal goes.
local Units = {}
Units.__index = Units
local function units() return setmetatable({order = {}, delta = {}}, Units) end
function Units:add(entry, delta)
  if not self.delta[entry] then self.order[#self.order + 1] = entry end
  self.delta[entry] = (self.delta[entry] or 0) + delta
end
function Units:settle()
  local ended = {}
  for _, entry in ipairs(self.order) do
    local delta = self.delta[entry]
    if delta ~= 0 and redis.call('HINCRBY', OPEN, entry, delta) <= 0 then ended[#ended + 1] = entry end
  end
  bulk('HDEL', OPEN, ended)
  bulk('HDEL', 'carillon:tries', ended)
  bulk('XDEL', STREAM, ended)
  return #ended
end
-- Whether entry `a` stands behind entry `b` on the stream.
local function newer(a, b)
  local a_ms, a_n = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_n = string.match(b, '^(%d+)-(%d+)$')
  if not a_ms or not b_ms then return false end
  if a_ms ~= b_ms then return tonumber(a_ms) > tonumber(b_ms) end
  return tonumber(a_n) > tonumber(b_n)
end
-- Reads a counted list of fixed-width records from ARGV: returns the index after it.
local function each(at, width, apply)
  local n = tonumber(ARGV[at])
  for k = 0, n - 1 do apply(at + 1 + k * width) end
  return at + 1 + n * width
end
-- What can be taken now stands in a list of its app; the lane's list has each app with such a list once, in turn.
-- An item is either ready or due, never both: a worker that takes it is given a lease in DUE.
local function make_ready(kind, lane, app, id)
  redis.call('ZREM', DUE, kind .. ':' .. id)
  local turns = 'carillon:ready:' .. kind .. ':' .. lane
  if redis.call('RPUSH', turns .. ':' .. app, id) == 1 then redis.call('RPUSH', turns, app) end
end
-- What was taken stands at the head of its line again.
local function put_back(kind, lane, app, id)
  local turns = 'carillon:ready:' .. kind .. ':' .. lane
  if redis.call('LPUSH', turns .. ':' .. app, id) == 1 then redis.call('RPUSH', turns, app) end
end
-- How many items of a lane wait to be taken.
local function waiting(kind, lane)
  local turns, found = 'carillon:ready:' .. kind .. ':' .. lane, 0
  for _, app in ipairs(redis.call('LRANGE', turns, 0, -1)) do found = found + redis.call('LLEN', turns .. ':' .. app) end
  return found
end
-- Up to `limit` items of a lane, an equal share of each app that waits.
local function take(kind, lane, limit)
  local turns, found = 'carillon:ready:' .. kind .. ':' .. lane, {}
  while #found < limit do
    local app = redis.call('LPOP', turns)
    if not app then break end
    local left = limit - #found
    local share = math.min(left, math.ceil(left / (redis.call('LLEN', turns) + 1)))
    for _, id in ipairs(redis.call('LPOP', turns .. ':' .. app, share) or {}) do found[#found + 1] = {id, app} end
    if redis.call('EXISTS', turns .. ':' .. app) == 1 then redis.call('RPUSH', turns, app) end
  end
  return found
end
-- id, doc, app, lane, devices, entries, delay (0: ready now): its units are added to `open`
local function adds_batch(open)
  return function(i)
    local id, app, lane, delay = ARGV[i], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 6])
    redis.call('HSET', 'carillon:batch:' .. id, 'doc', ARGV[i + 1], 'app', app, 'lane', lane,
      'devices', ARGV[i + 4], 'entries', ARGV[i + 5])
    if delay > 0 then redis.call('ZADD', DUE, now() + delay, 'b:' .. id) else make_ready('b', lane, app, id) end
    for entry in string.gmatch(ARGV[i + 5], '[^,]+') do open:add(entry, 1) end
  end
end
-- app, counter, amount
local function count(i)
  redis.call('HINCRBY', 'carillon:counts:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
-- A counted list of JSON documents for the ledger.
local function accounts(at)
  local documents = {}
  local after = each(at, 1, function(i) documents[#documents + 1] = ARGV[i] end)
  bulk('RPUSH', 'carillon:accounts', documents)
  return after
end
