-- Remembers that somebody else took entries off a stream before their time: how many in all, and when the last (UNIX seconds).
local function note_trimmed(stream, n)
  local known = string.match(redis.call('HGET', TRIMMED, stream) or '', '^%d+') or 0
  redis.call('HSET', TRIMMED, stream, string.format('%d %d', known + n, now()))
end
