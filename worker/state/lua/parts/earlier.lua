-- Of a batch's jobs those that wait for an earlier one of their device and channel, {job, until, its batch}; and those that it has
-- held for long enough. Each waits for the nearest, so that what waits is a line, of which each tells only the next.
local function behind_earlier(id, way, orders)
  local key, waits, overtaking = LATER .. way, {}, {}
  if redis.call('EXISTS', key) == 0 then return waits, overtaking end
  local t, job, place, channel, there, before = now(), -1, '', '', {}, {}
  for part in string.gmatch(orders, '[^,]+') do
    if string.byte(part) == 64 then
      place, channel = string.match(part, '^@(%d+)/([^/]*)/')
    else
      job = job + 1
      if place and channel ~= '' then
        local line, over, held, own = part .. '/' .. channel .. '/', false, nil, nil
        local till = '(' .. line .. string.rep('0', 20 - #place) .. place
        -- The nearest mostly holds it: one is enough to look at then.
        for _, most in ipairs({1, 16}) do
          local found = redis.call('ZREVRANGEBYLEX', key, till, '[' .. line, 'LIMIT', 0, most)
          for _, one in ipairs(found) do
            local stays, batch = string.match(one, '/(%d+)/([^/]*)$')
            own = batch == id and before[line]
            if own then
              -- What holds the batch's job before it holds it too, however many of them there are.
              held, over = own.held, over or own.over
              break
            elseif batch ~= id then
              if there[batch] == nil then there[batch] = redis.call('EXISTS', BATCH .. batch) == 1 end
              if not there[batch] then
                redis.call('ZREM', key, one)
              elseif tonumber(stays) > t then
                held = {tonumber(stays), batch}
                break
              else
                over = true
              end
            end
          end
          if held or own or #found < most then break end
        end
        before[line] = {held = held, over = over}
        if held then
          waits[#waits + 1] = {job, held[1], held[2]}
        elseif over then
          overtaking[#overtaking + 1] = job
        end
      end
    end
  end
  return waits, overtaking
end
