-- Prepended to every script. The keys are fixed names on one Redis; `now` is the server's, so that the fleet has one clock.
-- Redis lets a script that began with a write which needs no memory write on, also at `maxmemory`: what takes, finishes and
-- deletes must run then, or nothing would ever become free again.
redis.call('DEL', 'carillon:none')
local STREAM, OPEN, EXPANDING, DUE = 'carillon:events', 'carillon:open', 'carillon:expanding', 'carillon:due'
-- The last id that a stream can have: nothing comes behind it.
local LAST_ID = '18446744073709551615-18446744073709551615'
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end
-- A command whose arguments may be many: Lua passes on only so many at once. Pairs stay together.
local function bulk(command, key, args)
  for at = 1, #args, 1000 do redis.call(command, key, unpack(args, at, math.min(at + 999, #args))) end
end
-- A list from its end to its `first` (1): what is put before others one by one stands in its own order then.
local function reversed(list, first)
  local back = {}
  for k = #list, first or 1, -1 do back[#back + 1] = list[k] end
  return back
end
-- Puts a value into the list that `lists` has under this name; the names stand in `lists` too, in the order of their first values.
local function put_under(lists, name, value)
  if not lists[name] then
    lists[name] = {}
    lists[#lists + 1] = name
  end
  table.insert(lists[name], value)
end
-- The stream of an entry, and its id there: `<id>`, or `<id>@<app>` on the app's own stream.
local function on_stream(entry)
  local id, app = string.match(entry, '^([^@]*)@(.*)$')
  if id then return STREAM .. ':' .. app, id end
  return STREAM, entry
end
-- Takes entries off their streams.
local function delete(entries)
  local ids = {}
  for _, entry in ipairs(entries) do
    local stream, id = on_stream(entry)
    ids[stream] = ids[stream] or {}
    table.insert(ids[stream], id)
  end
  for stream, of in pairs(ids) do bulk('XDEL', stream, of) end
end
-- The field `event` of an entry's fields, by its name; nothing where it is missing or there twice.
local function event_of(fields)
  local found
  for i = 1, #fields, 2 do
    if fields[i] == 'event' then
      if found then return nil end
      found = fields[i + 1]
    end
  end
  return found
end
-- An entry's document; nothing when it has left its stream.
local function document_of(entry)
  local stream, id = on_stream(entry)
  local found = redis.call('XRANGE', stream, id, id)[1]
  return found and event_of(found[2])
end
-- Whether an entry is still on its stream.
local function on_its_stream(entry)
  local stream, id = on_stream(entry)
  return redis.call('XRANGE', stream, id, id)[1] ~= nil
end
-- Remembers that somebody else took entries off a stream before their time: how many in all, and when the last (UNIX seconds).
local function note_trimmed(stream, n)
  local known = string.match(redis.call('HGET', 'carillon:trimmed', stream) or '', '^%d+') or 0
  redis.call('HSET', 'carillon:trimmed', stream, string.format('%d %d', known + n, now()))
end
-- A list of entries, separated by line breaks; one of a release before by commas, and has no other stream's entries.
local function entries_in(list)
  return string.gmatch(list, string.find(list, '^[%d,-]*$') and '[^,]+' or '[^\n]+')
end
-- What `EXPANDING` keeps of an entry: app, cursor, its place in the order of intake (empty: of a release before), and the key of its
-- channel (empty: of none, or of a release before).
local function expansion(state) return string.match(state, '^([^\n]*)\n([^\n]*)\n?([^\n]*)\n?(.*)$') end
-- Changes entries' counts of open units (an expansion, a batch) together; at none left an entry's place in the journal goes.
local Units = {}
Units.__index = Units
local function units() return setmetatable({order = {}, delta = {}}, Units) end
function Units:add(entry, delta)
  if not self.delta[entry] then self.order[#self.order + 1] = entry end
  self.delta[entry] = (self.delta[entry] or 0) + delta
end
function Units:apply()
  local ended = {}
  for _, entry in ipairs(self.order) do
    local delta = self.delta[entry]
    if delta ~= 0 and redis.call('HINCRBY', OPEN, entry, delta) <= 0 then ended[#ended + 1] = entry end
  end
  bulk('HDEL', OPEN, ended)
  bulk('HDEL', 'carillon:tries', ended)
  delete(ended)
  return #ended
end
-- Whether place `a` is behind place `b`. Places are numbers beyond Lua's: they compare as text. A release before used the ids of
-- entries, which are older than every place.
local function newer(a, b)
  -- Mostly ids of one shape, whose order is that of the text.
  local dash = #a == #b and string.find(a, '-', 1, true)
  if dash and dash == string.find(b, '-', 1, true) and string.find(a, '^%d') then return a > b end
  local a_ms, a_n = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_n = string.match(b, '^(%d+)-(%d+)$')
  if not a_ms and not b_ms then
    if #a ~= #b then return #a > #b end
    return a > b
  end
  if not a_ms or not b_ms then return not a_ms end
  if a_ms ~= b_ms then return tonumber(a_ms) > tonumber(b_ms) end
  return tonumber(a_n) > tonumber(b_n)
end
-- Reads a counted list of fixed-width records from ARGV: returns the index after it.
local function each(at, width, apply)
  local n = tonumber(ARGV[at])
  for k = 0, n - 1 do apply(at + 1 + k * width) end
  return at + 1 + n * width
end
-- Messages that can be taken now. Apps come in turn: the lane's list has each app once of which anything can be taken. What is in no
-- channel, and the bulk lane, stands in a list of the app, and is leased message by message in DUE.
-- An app's channels are in groups, so that messages of one channel are expanded in their order: a task takes messages of a whole group,
-- and no other task has any of that group until it is done with them (EXPANDING_GROUPS: the turn of that task), or until the group's
-- lease in DUE is over.
local EXPANDING_GROUPS = 'carillon:expanding_groups'
local GROUPS = 32
local function ready_messages(lane, app) return 'carillon:ready:e:' .. lane .. (app and ':' .. app or '') end
local function groups_in_turn(app) return 'carillon:ready:e:groups:' .. app end
local function ready_in(group) return 'carillon:ready:e:group:' .. group end
local function taken_of(group) return 'carillon:taken:' .. group end
local function group_of(channel, app) return tonumber(string.sub(channel, 1, 2), 16) % GROUPS .. '@' .. app end
local function app_in(name) return string.match(name, '@(.*)$') end
local function can_be_taken(lane, app)
  local own = ready_messages(lane, app)
  return redis.call('EXISTS', own, lane == 'urgent' and groups_in_turn(app) or own) > 0
end
local function make_ready(lane, app, entry, command)
  local first = not can_be_taken(lane, app)
  redis.call('ZREM', DUE, 'e:' .. entry)
  redis.call(command or 'RPUSH', ready_messages(lane, app), entry)
  if first then redis.call('RPUSH', ready_messages(lane), app) end
end
local function give_group_turn(group)
  local app = app_in(group)
  if not can_be_taken('urgent', app) then redis.call('RPUSH', ready_messages('urgent'), app) end
  redis.call('RPUSH', groups_in_turn(app), group)
end
-- Messages of the group wait, in this order, behind those that do (RPUSH) or before them (LPUSH). Returns how many can be taken.
local function add_to_group(command, group, entries)
  local first = redis.call('EXISTS', ready_in(group)) == 0
  bulk(command, ready_in(group), command == 'LPUSH' and reversed(entries) or entries)
  if redis.call('HEXISTS', EXPANDING_GROUPS, group) == 1 then return 0 end
  if first then give_group_turn(group) end
  return #entries
end
-- The task that has the group is done with these of its messages. Returns how many wait there and can be taken by now.
local function done_in_group(group, entries)
  if redis.call('LLEN', taken_of(group)) > #entries then
    for _, entry in ipairs(entries) do redis.call('LREM', taken_of(group), 1, entry) end
    if redis.call('EXISTS', taken_of(group)) == 1 then return 0 end
  end
  redis.call('DEL', taken_of(group))
  redis.call('HDEL', EXPANDING_GROUPS, group)
  redis.call('ZREM', DUE, 'g:' .. group)
  local waiting = redis.call('LLEN', ready_in(group))
  if waiting > 0 then give_group_turn(group) end
  return waiting
end
-- Batches that can be taken now stand in the line of their lane and provider, in the order in which they were expanded (`turn`), which
-- is that of the stream for each channel. Apps come in turn, and of an app its providers. A provider that is stopped is out of turn until
-- someone may look at it again, a time in `out_of_turn`; its line stays as it is.
local function turns(lane, app) return 'carillon:turns:' .. lane .. (app and ':' .. app or '') end
local function line_of(lane, provider) return 'carillon:line:' .. lane .. ':' .. provider end
local function out_of_turn(lane) return 'carillon:out_of_turn:' .. lane end
local function give_turn(lane, app, provider)
  if redis.call('RPUSH', turns(lane, app), provider) == 1 then redis.call('RPUSH', turns(lane), app) end
end
local function put_in_line(lane, app, provider, id, turn)
  redis.call('ZREM', DUE, 'b:' .. id)
  local line = line_of(lane, provider)
  if redis.call('ZADD', line, turn or 0, id) == 1 and redis.call('ZCARD', line) == 1 then give_turn(lane, app, provider) end
end
-- The provider's lines have their turns again.
local function back_in_turn(provider)
  for _, lane in ipairs({'urgent', 'bulk'}) do
    if redis.call('ZREM', out_of_turn(lane), provider) == 1 then
      local first = redis.call('ZRANGE', line_of(lane, provider), 0, 0)[1]
      local app = first and redis.call('HGET', 'carillon:batch:' .. first, 'app')
      -- Of one that is no more nobody knows the app: whoever takes it lets it go.
      if first then give_turn(lane, app or '', provider) end
    end
  end
end
-- Fields of a hash, however many.
local function values(key, fields)
  local found = {}
  for at = 1, #fields, 1000 do
    local some = redis.call('HMGET', key, unpack(fields, at, math.min(at + 999, #fields)))
    for k = 1, #some do found[at + k - 1] = some[k] end
  end
  return found
end
-- HOLDERS has for a channel (`<key>@<app>`) a message whose expansion goes on in the bulk lane, or is tried again: later ones of the
-- channel wait in its line.
local HOLDERS = 'carillon:expanding_channels'
local function channel_line(channel) return 'carillon:held:' .. channel end
local function group_of_line(channel) return group_of(channel, app_in(channel)) end
-- These ({place, entry}) wait in the channel's line, for `patience` seconds at most.
local function hold(channel, messages, patience)
  local line = {}
  for _, one in ipairs(messages) do
    line[#line + 1] = 0
    line[#line + 1] = string.rep('0', 20 - #one[1]) .. one[1] .. '/' .. one[2]
  end
  bulk('ZADD', channel_line(channel), line)
  redis.call('ZADD', DUE, 'NX', now() + patience, 'c:' .. channel)
end
local function in_line(member) return string.match(member, '/(.*)$') end
-- Nobody has the channel any more: what stands in its line is the first of its group, in its order. Returns how many can be taken.
local function free_channel(channel)
  redis.call('HDEL', HOLDERS, channel)
  local line = redis.call('ZRANGE', channel_line(channel), 0, -1)
  if #line == 0 then return 0 end
  redis.call('DEL', channel_line(channel))
  redis.call('ZREM', DUE, 'c:' .. channel)
  for k, member in ipairs(line) do line[k] = in_line(member) end
  return add_to_group('LPUSH', group_of_line(channel), line)
end
-- How much can be taken of an app's messages ('e') or batches ('b') in a lane, and the apps of which anything can.
local function waiting_of(kind, lane, app)
  local found = 0
  if kind == 'e' then
    if lane == 'urgent' then
      for _, group in ipairs(redis.call('LRANGE', groups_in_turn(app), 0, -1)) do found = found + redis.call('LLEN', ready_in(group)) end
    end
    return found + redis.call('LLEN', ready_messages(lane, app))
  end
  for _, provider in ipairs(redis.call('LRANGE', turns(lane, app), 0, -1)) do
    found = found + redis.call('ZCARD', line_of(lane, provider))
  end
  return found
end
local function waiting_apps(kind, lane) return redis.call('LRANGE', kind == 'e' and ready_messages(lane) or turns(lane), 0, -1) end
-- The devices in a batch's orders (see `device_orders` in core/batch.py), one for each job.
local function devices_in(orders)
  local found, n = {}, 0
  for device in string.gmatch(orders, '[^,]+') do
    if string.byte(device) ~= 64 then
      n = n + 1
      found[n] = device
    end
  end
  return found
end
-- Of a batch's jobs those that wait for an earlier one of their device and channel, {job, until, its batch}; and those that it has
-- held for long enough. Each waits for the nearest, so that what waits is a line, of which each tells only the next.
local function behind_earlier(id, provider, orders)
  local key, waits, overtaking = 'carillon:later:' .. provider, {}, {}
  if redis.call('EXISTS', key) == 0 then return waits, overtaking end
  local t, job, place, channel, there = now(), -1, '', '', {}
  for part in string.gmatch(orders, '[^,]+') do
    if string.byte(part) == 64 then
      place, channel = string.match(part, '^@(%d+)/([^/]*)/')
    else
      job = job + 1
      if place and channel ~= '' then
        local line, over, held = part .. '/' .. channel .. '/', false, false
        local till = '(' .. line .. string.rep('0', 20 - #place) .. place
        -- The nearest mostly holds it: one is enough to look at then.
        for _, most in ipairs({1, 16}) do
          local found = redis.call('ZREVRANGEBYLEX', key, till, '[' .. line, 'LIMIT', 0, most)
          for _, one in ipairs(found) do
            local stays, batch = string.match(one, '/(%d+)/([^/]*)$')
            if batch ~= id then
              if there[batch] == nil then there[batch] = redis.call('EXISTS', 'carillon:batch:' .. batch) == 1 end
              if not there[batch] then
                redis.call('ZREM', key, one)
              elseif tonumber(stays) > t then
                waits[#waits + 1] = {job, tonumber(stays), batch}
                over, held = false, true
                break
              else
                over = true
              end
            end
          end
          if held or #found < most then break end
        end
        if over then overtaking[#overtaking + 1] = job end
      end
    end
  end
  return waits, overtaking
end
-- A batch that was taken has its devices (`sending`: the last batch taken for each) until it is done or handed back. A later one with
-- one of these devices waits for it (`waits`), and stands among its followers.
local function waits_of(id) return 'carillon:waits:' .. id end
local function followers_of(id) return 'carillon:followers:' .. id end
local function follow(id, before)
  redis.call('SADD', waits_of(id), before)
  redis.call('RPUSH', followers_of(before), id)
end
-- The follower has one batch less before it. What waits for none can be taken, and counts in `freed` for its lane.
local function let_go(follower, before, freed)
  if redis.call('SREM', waits_of(follower), before) == 1 and redis.call('EXISTS', waits_of(follower)) == 1 then return end
  local batch = redis.call('HMGET', 'carillon:batch:' .. follower, 'lane', 'app', 'provider', 'leased', 'turn')
  -- Whoever has it takes care of it, and what is ready is ready.
  if not batch[1] or batch[4] or redis.call('ZREM', DUE, 'b:' .. follower) == 0 then return end
  put_in_line(batch[1], batch[2], batch[3], follower, batch[5])
  freed[batch[1]] = freed[batch[1]] + 1
end
local function none_freed() return {urgent = 0, bulk = 0} end
local function told(freed) return {freed.urgent, freed.bulk} end
-- Hands a batch back as if it had not been taken: into its line (0), or to be taken after `delay` seconds. So are those that wait for
-- it, and for these: what is taken next is the first of the line. Returns how many of them there are, by lane.
local function hand_back(id, delay)
  local returned, before, sending = none_freed(), {}, nil
  local function give_back(id, delay)
    local key = 'carillon:batch:' .. id
    local batch = redis.call('HMGET', key, 'lane', 'app', 'provider', 'devices', 'turn')
    if not batch[1] then return end
    redis.call('HDEL', key, 'leased', 'claimed')
    for _, one in ipairs(redis.call('SMEMBERS', waits_of(id))) do
      before[one] = true
      redis.call('LREM', followers_of(one), 0, id)
    end
    redis.call('DEL', waits_of(id))
    if delay > 0 then
      redis.call('ZADD', DUE, now() + delay, 'b:' .. id)
    else
      put_in_line(batch[1], batch[2], batch[3], id, batch[5])
    end
    sending = 'carillon:sending:' .. batch[3]
    local devices, ours = devices_in(batch[4]), {}
    for k, holder in ipairs(values(sending, devices)) do
      if holder == id then ours[#ours + 1] = devices[k] end
    end
    bulk('HDEL', sending, ours)
    for _, follower in ipairs(redis.call('LRANGE', followers_of(id), 0, -1)) do
      if redis.call('SREM', waits_of(follower), id) == 1 then
        redis.call('LREM', followers_of(id), 1, follower)
        local lane, leased = unpack(redis.call('HMGET', 'carillon:batch:' .. follower, 'lane', 'leased'))
        if not leased then
          if lane then returned[lane] = returned[lane] + 1 end
          give_back(follower, 0)
        end
      end
    end
  end
  give_back(id, delay)
  -- The devices are again those of whoever still has them, the last one first.
  local still = {}
  for one in pairs(before) do
    local batch = redis.call('HMGET', 'carillon:batch:' .. one, 'claimed', 'turn', 'devices')
    if batch[1] then still[#still + 1] = {one, tonumber(batch[2] or 0), batch[3]} end
  end
  table.sort(still, function(a, b) return a[2] > b[2] end)
  for _, one in ipairs(still) do
    local devices, theirs = devices_in(one[3]), {}
    for k, holder in pairs(values(sending, devices)) do
      if not holder then
        theirs[#theirs + 1] = devices[k]
        theirs[#theirs + 1] = one[1]
      end
    end
    bulk('HSET', sending, theirs)
  end
  return returned
end
-- id, doc, app, lane, devices, entries, delay (0: ready now), provider, lines of what is put off with it, the batch that it waits for,
-- and whether it takes over devices of the batch that it was a part of (1 or 0): its units are added to `open`. Its `turn` is
-- that of the batch that it was a part of, or the next one.
local function adds_batch(open, turn)
  return function(i)
    local turn = turn or redis.call('INCR', 'carillon:turn')
    local id, app, lane, delay = ARGV[i], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 6])
    local provider, lines, before = ARGV[i + 7], ARGV[i + 8], ARGV[i + 9]
    local key = 'carillon:batch:' .. id
    redis.call('HSET', key, 'doc', ARGV[i + 1], 'app', app, 'lane', lane, 'devices', ARGV[i + 4], 'entries', ARGV[i + 5],
      'provider', provider, 'turn', turn)
    if lines ~= '' then
      redis.call('HSET', key, 'lines', lines)
      local later = {}
      for line in string.gmatch(lines, '[^,]+') do
        later[#later + 1] = 0
        later[#later + 1] = line
      end
      bulk('ZADD', 'carillon:later:' .. provider, later)
    end
    if before ~= '' then
      if redis.call('EXISTS', 'carillon:batch:' .. before) == 1 then
        if ARGV[i + 10] == '0' then redis.call('RPUSH', followers_of(before), id) end
      else
        delay = 0
      end
    end
    if delay > 0 then redis.call('ZADD', DUE, now() + delay, 'b:' .. id) else put_in_line(lane, app, provider, id, turn) end
    for entry in entries_in(ARGV[i + 5]) do open:add(entry, 1) end
  end
end
-- app, counter, amount
local function count(i)
  local key, field = 'carillon:counts:' .. ARGV[i], ARGV[i + 1]
  -- A server's reasons are names of counters, and it may send ever new ones: beyond so many names they count as `other`.
  if redis.call('HINCRBY', key, field, ARGV[i + 2]) == tonumber(ARGV[i + 2]) and redis.call('HLEN', key) > 256 then
    redis.call('HDEL', key, field)
    redis.call('HINCRBY', key, 'other', ARGV[i + 2])
  end
end
-- A counted list of JSON documents for the ledger.
local function accounts(at)
  local documents = {}
  local after = each(at, 1, function(i) documents[#documents + 1] = ARGV[i] end)
  bulk('RPUSH', 'carillon:accounts', documents)
  return after
end
