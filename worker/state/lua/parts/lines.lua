-- Batches that can be taken now stand in the line of their lane and way, in the order in which they were expanded (`turn`), which is that
-- of the stream for each channel. Apps come in turn, and of an app its ways. A way that is stopped or over a quota is out of turn until a
-- time in OUT_OF_TURN; its line stays as it is.
local function line_of(lane, way) return LINE .. lane .. ':' .. way end
local function give_turn(lane, app, way)
  if redis.call('RPUSH', TURNS_OF_APP .. lane .. ':' .. app, way) == 1 then redis.call('RPUSH', TURNS .. lane, app) end
end
local function put_in_line(lane, app, way, id, turn)
  redis.call('ZREM', DUE, 'b:' .. id)
  local line = line_of(lane, way)
  if redis.call('ZADD', line, turn or 0, id) == 1 and redis.call('ZCARD', line) == 1 then give_turn(lane, app, way) end
end
