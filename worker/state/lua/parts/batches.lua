-- With: lines, units
-- What is kept of a batch, and its entries' units. Behind the way come other fields, and their values. Returns its turn.
local function store_batch(open, turn, id, document, app, lane, devices, entries, way, ...)
  turn = turn or redis.call('INCR', TURN)
  redis.call('HSET', BATCH .. id, 'doc', document, 'app', app, 'lane', lane, 'devices', devices, 'entries', entries,
    'provider', way, 'turn', turn, ...)
  open:add_all(entries_in(entries), 1)
  return turn
end
-- Adds a batch: its entries' units to `open`, and the batch to its line, or to DUE where it is to be taken after `delay` seconds. Its
-- `turn` is that of the batch that it was a part of, or nil: the next one. `devices`, `lines`: see core/batch.py. It waits for `behind`,
-- where that is a batch yet; with `takes_over` (1 or 0) it was a part of that one. With `ahead` (1 or 0) its turn is 0: before all others.
local function add_batch(open, turn, id, document, app, lane, devices, entries, delay, way, lines, behind, takes_over)
  delay = tonumber(delay)
  turn = store_batch(open, turn, id, document, app, lane, devices, entries, way)
  if lines ~= '' then
    redis.call('HSET', BATCH .. id, 'lines', lines)
    local later = {}
    for line in string.gmatch(lines, '[^,]+') do
      later[#later + 1] = 0
      later[#later + 1] = line
    end
    bulk('ZADD', LATER .. way, later)
  end
  if behind ~= '' then
    if redis.call('EXISTS', BATCH .. behind) == 1 then
      if takes_over == '0' then redis.call('RPUSH', FOLLOWERS .. behind, id) end
    else
      delay = 0
    end
  end
  if delay > 0 then redis.call('ZADD', DUE, now() + delay, 'b:' .. id) else put_in_line(lane, app, way, id, turn) end
end
