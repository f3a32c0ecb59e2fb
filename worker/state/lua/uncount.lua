-- Jobs of a batch that are not sent give their badge numbers back, so that the others have the numbers that they would have without them.
-- A badge that was cleared at a later place has forgotten the job. A job that shows a number (`?`) was counted in an earlier batch.
-- KEYS: batch
-- ARGV: dropped [job]
-- Returns: the badge numbers of the batch's jobs.
-- Twice: gives nothing back, and returns the same.
-- With: places
local app, orders, listed, before, known, again =
  unpack(redis.call('HMGET', batch, 'app', 'devices', 'badges', 'before', 'uncounted', 'again'))
if not listed then return '' end
local uncounted, gone = {}, {}
for job in string.gmatch(known or '', '%d+') do uncounted[job] = true end
for _, job in each(dropped) do
  if not uncounted[job] then gone[#gone + 1], gone[job] = job, true end
end
if #gone == 0 then return listed end

-- What was written as it was taken: the numbers, and those that a number which was set replaced.
local numbers, replaced = {}, {}
for number in string.gmatch(listed, '[^,]+') do numbers[#numbers + 1] = tonumber(number) end
for job, number in string.gmatch(before or '', '(%d+):(%d+)') do replaced[job] = tonumber(number) end
-- The jobs of each device that loses any, in their order: {index among the numbers, job, place, mode}.
local jobs_of, affected, place, mode, job, n = {}, {}, nil, nil, -1, 0
for part in string.gmatch(orders, '[^,]+') do
  if string.byte(part) == 64 then
    place, mode = string.match(part, '^@([^/]*)/[^/]*/(.*)$')
  else
    job = job + 1
    if mode ~= '-' then
      n = n + 1
      local name = tostring(job)
      if not jobs_of[part] then jobs_of[part] = {} end
      if not uncounted[name] then table.insert(jobs_of[part], {n, name, place, mode}) end
      if gone[name] then affected[part] = true end
    end
  end
end

local badges = BADGE .. app
for device in pairs(affected) do
  local stored, less = tonumber(redis.call('HGET', badges, device) or 0), 0
  local cleared, jobs = redis.call('HGET', CLEARED .. app, device), jobs_of[device]
  for _, one in ipairs(jobs) do
    one.late = cleared and newer(cleared, one[3])
    if gone[one[2]] and one[4] == '?' and not one.late then less = less + 1 end
  end
  for _, one in ipairs(jobs) do
    local index, name, _, how = unpack(one)
    if one.late then
      numbers[index] = math.min(numbers[index], stored)
    else
      local had = replaced[name]
      if had then replaced[name] = had - less end
      if how == '' and gone[name] then
        less = less + 1
      elseif how ~= '' and how ~= '?' then
        less = gone[name] and had and string.sub(how, 2) - (had - less) or 0
      end
      numbers[index] = math.max(0, numbers[index] - less)
    end
  end
  local left = math.max(0, stored - less)
  if less ~= 0 then redis.call('HSET', badges, device, left) end
  -- Of a batch that was taken again all show the number as it is.
  for _, one in ipairs(again and jobs or {}) do numbers[one[1]] = left end
end

before = {}
for name, number in pairs(replaced) do before[#before + 1] = name .. ':' .. number end
listed = table.concat(numbers, ',')
redis.call('HSET', batch, 'badges', listed, 'before', table.concat(before, ','))
redis.call('HSET', batch, 'uncounted', (known or '') .. table.concat(gone, ',') .. ',')
return listed
