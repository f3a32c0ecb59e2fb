-- Notes the banners that pushes have shown: app, name, and ms of the message. Those of three days before the newest are forgotten, and of
-- an app more than so many.
local MOST_SHOWN = 500000
local function note_shown(shown)
  local newest = {}
  for _, app, name, at in each(shown) do
    redis.call('ZADD', SHOWN .. app, 'GT', at, name)
    newest[app] = math.max(newest[app] or 0, tonumber(at))
  end
  for app, at in pairs(newest) do
    local oldest = math.min(at, now() * 1000) - 259200000
    redis.call('ZREMRANGEBYSCORE', SHOWN .. app, '-inf', string.format('(%.0f', oldest))
    redis.call('ZREMRANGEBYRANK', SHOWN .. app, 0, -MOST_SHOWN - 1)
    redis.call('EXPIRE', SHOWN .. app, 259200)
  end
end
