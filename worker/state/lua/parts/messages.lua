-- With: lists
-- Messages that can be taken now. Apps come in turn: the lane's list has each app once of which anything can be taken. What is in no
-- channel, and the bulk lane, stands in a list of the app, and is leased message by message in DUE.
-- An app's channels are in groups, so that messages of one channel are expanded in their order: a task takes messages of a whole group,
-- and no other task has any of that group until it is done with them (EXPANDING_GROUPS: the turn of that task), or until the group's
-- lease in DUE is over.
local GROUPS = 32
local function group_of(channel, app) return tonumber(string.sub(channel, 1, 2), 16) % GROUPS .. '@' .. app end
local function app_in(name) return string.match(name, '@(.*)$') end
local function can_be_taken(lane, app)
  local own = READY_OF_APP .. lane .. ':' .. app
  return redis.call('EXISTS', own, lane == 'urgent' and GROUPS_IN_TURN .. app or own) > 0
end
local function make_ready(lane, app, entry, command)
  local first = not can_be_taken(lane, app)
  redis.call('ZREM', DUE, 'e:' .. entry)
  redis.call(command or 'RPUSH', READY_OF_APP .. lane .. ':' .. app, entry)
  if first then redis.call('RPUSH', READY .. lane, app) end
end
local function give_group_turn(group)
  local app = app_in(group)
  if not can_be_taken('urgent', app) then redis.call('RPUSH', READY .. 'urgent', app) end
  redis.call('RPUSH', GROUPS_IN_TURN .. app, group)
end
-- Messages of the group wait, in this order, behind those that do (RPUSH) or before them (LPUSH). Returns how many can be taken.
local function add_to_group(command, group, entries)
  local line = READY_IN_GROUP .. group
  local first = redis.call('EXISTS', line) == 0
  bulk(command, line, command == 'LPUSH' and reversed(entries) or entries)
  if redis.call('HEXISTS', EXPANDING_GROUPS, group) == 1 then return 0 end
  if first then give_group_turn(group) end
  return #entries
end
-- The task that has these groups is done with these of their messages, {group, entries} of each. Returns how many wait there and can be
-- taken by now.
local function done_in_groups(all)
  local free, leases, waiting = {}, {}, 0
  for _, of in ipairs(all) do
    local group, entries = of[1], of[2]
    local taken = TAKEN .. group
    local left = redis.call('LLEN', taken)
    if left > #entries then
      for _, entry in ipairs(entries) do left = left - redis.call('LREM', taken, 1, entry) end
    else
      left = 0
      redis.call('DEL', taken)
    end
    if left == 0 then free[#free + 1], leases[#leases + 1] = group, 'g:' .. group end
  end
  bulk('HDEL', EXPANDING_GROUPS, free)
  bulk('ZREM', DUE, leases)
  for _, group in ipairs(free) do
    local n = redis.call('LLEN', READY_IN_GROUP .. group)
    if n > 0 then give_group_turn(group) end
    waiting = waiting + n
  end
  return waiting
end
local function done_in_group(group, entries) return done_in_groups({{group, entries}}) end
