-- Batches that can be taken now stand in the line of their lane and provider, in the order in which they were expanded (`turn`), which
-- is that of the stream for each channel. Apps come in turn, and of an app its providers. A provider that is stopped is out of turn until
-- someone may look at it again, a time in OUT_OF_TURN; its line stays as it is.
local function line_of(lane, provider) return LINE .. lane .. ':' .. provider end
local function give_turn(lane, app, provider)
  if redis.call('RPUSH', TURNS_OF_APP .. lane .. ':' .. app, provider) == 1 then redis.call('RPUSH', TURNS .. lane, app) end
end
local function put_in_line(lane, app, provider, id, turn)
  redis.call('ZREM', DUE, 'b:' .. id)
  local line = line_of(lane, provider)
  if redis.call('ZADD', line, turn or 0, id) == 1 and redis.call('ZCARD', line) == 1 then give_turn(lane, app, provider) end
end
