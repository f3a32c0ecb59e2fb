-- With: messages
-- EXPANDING_CHANNELS has for a channel (`<key>@<app>`) a message whose expansion goes on in the bulk lane, or is tried again: later ones
-- of the channel wait in its line.
local function group_of_line(channel) return group_of(channel, app_in(channel)) end
-- These ({place, entry}) wait in the channel's line, for `patience` seconds at most.
local function hold(channel, messages, patience)
  local line = {}
  for _, one in ipairs(messages) do
    line[#line + 1] = 0
    line[#line + 1] = string.rep('0', 20 - #one[1]) .. one[1] .. '/' .. one[2]
  end
  bulk('ZADD', CHANNEL_LINE .. channel, line)
  redis.call('ZADD', DUE, 'NX', now() + patience, 'c:' .. channel)
end
local function in_line(member) return string.match(member, '/(.*)$') end
-- Nobody has the channel any more: what stands in its line is the first of its group, in its order. Returns how many can be taken.
local function free_channel(channel)
  redis.call('HDEL', EXPANDING_CHANNELS, channel)
  local line = redis.call('ZRANGE', CHANNEL_LINE .. channel, 0, -1)
  if #line == 0 then return 0 end
  redis.call('DEL', CHANNEL_LINE .. channel)
  redis.call('ZREM', DUE, 'c:' .. channel)
  for k, member in ipairs(line) do line[k] = in_line(member) end
  return add_to_group('LPUSH', group_of_line(channel), line)
end
