-- Users have read a channel. One clearing goes to a user's devices in `pause` seconds: those that come meanwhile wait, and the next one is
-- for the newest message of all. Whose turn it is sets the badge numbers, where they are known, and forgets the banner.
-- `known`: when what is shown was (ms), or '', where another partition has it; '?' where it is here.
-- ARGV: pause: number, readings [app, user, shown, by, until_ms, unread, devices, known]
-- Returns: {needed, wait, until, differing} of each: whether anything is shown or counted that should not be, the seconds to wait, the
--   newest message seen, and the devices that had another number.
-- Twice: returns the same, as long as nobody else had a turn.
local t, answers = now(), {}
for _, app, user, shown, by, until_ms, unread, devices, known in each(readings) do
  local key, banners, badges = CLEARING .. app .. ':' .. user, SHOWN .. app, BADGE .. app
  local differing, all = {}, {}
  for device in string.gmatch(devices, '%d+') do
    all[#all + 1] = device
    local number = redis.call('HGET', badges, device)
    if unread ~= '' and (number or '0') ~= unread then differing[#differing + 1] = device end
  end
  local ends, last, sent, newest = unpack(redis.call('HMGET', key, 'ends', 'by', 'until', 'newest:' .. shown))
  local till = string.format('%.0f', math.max(tonumber(until_ms), tonumber(newest or 0)))
  local banner = known == '?' and redis.call('ZSCORE', banners, shown) or known ~= '?' and known ~= '' and known
  if last == by then
    answers[#answers + 1] = {1, '0', sent, unread ~= '' and all or {}}
  elseif not banner and #differing == 0 then
    answers[#answers + 1] = {0, '0', till, {}}
  elseif ends and tonumber(ends) > t then
    redis.call('HSET', key, 'newest:' .. shown, till)
    answers[#answers + 1] = {1, string.format('%.3f', ends - t), till, differing}
  else
    redis.call('HSET', key, 'ends', string.format('%.3f', t + pause), 'by', by, 'until', till)
    redis.call('HDEL', key, 'newest:' .. shown)
    redis.call('EXPIRE', key, 10 * pause)
    if known == '?' and banner and tonumber(banner) <= tonumber(till) then redis.call('ZREM', banners, shown) end
    for _, device in ipairs(differing) do redis.call('HSET', badges, device, unread) end
    answers[#answers + 1] = {1, '0', till, differing}
  end
end
return answers
